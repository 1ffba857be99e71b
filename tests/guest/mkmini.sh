#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mkmini.sh DIR - DIR/vmlinuz and DIR/initrd.img: Debian's kernel for real hardware with the drivers of
# the devices that the emulator has, and busybox on the serial port. A guest that is up in seconds.
set -eu
dir=$1
mkdir -p "$dir"
cd "$dir"
package=$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p' | head -1)
[ "$(id -u)" != 0 ] || options='-o APT::Sandbox::User=root'
apt-get ${options:-} -qq download "$package"
dpkg-deb -x "$package"_*.deb root
version=$(ls root/lib/modules)
cp root/boot/vmlinuz-* vmlinuz
depmod -b root "$version" 2>/dev/null

modules="uhci_hcd ehci_pci xhci_pci usb_storage uas usbhid hid_generic usbmouse usbkbd evdev sd_mod sr_mod sg
virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net virtio_balloon virtio_input virtio_console virtio_gpu virtio_rng
9pnet_virtio vmw_vsock_virtio_transport
ahci ata_piix ata_generic nvme e1000 e1000e ext4 vfat nls_ascii i6300esb pvpanic_mmio pvpanic_pci vmgenid bochs
psmouse atkbd parport_pc lp ppdev acpiphp button crc32c_generic isofs loop"
mkdir -p tree/bin tree/dev tree/proc tree/sys tree/mnt tree/tmp
for m in $modules; do
    modprobe -d root -S "$version" --show-depends "$m" 2>/dev/null | sed -n 's/^insmod //p'
done | sort -u | while read -r path; do
    mkdir -p "tree/lib/modules/$version/$(dirname "${path#root/lib/modules/$version/}")"
    cp "$path" "tree/lib/modules/$version/${path#root/lib/modules/$version/}"
done
cp root/lib/modules/"$version"/modules.builtin root/lib/modules/"$version"/modules.order "tree/lib/modules/$version"
depmod -b tree "$version"
cp /bin/busybox tree/bin/busybox
cat > tree/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo /bin/modprobe > /proc/sys/kernel/modprobe
for pass in 1 2 3; do # a bus, what is on it, what that is made of
    for alias in $(find /sys/devices -name modalias -exec cat {} + | sort -u); do
        modprobe -b -q "$alias" 2>/dev/null
    done
done
for m in evdev sd_mod sr_mod sg usbhid hid_generic usb_storage crc32c_generic ext4; do modprobe -q $m; done
export PS1='mini# ' HOME=/ TERM=dumb
dmesg -n 1
echo mini-is-up
setsid sh -c 'exec sh -l -i </dev/ttyS0 >/dev/ttyS0 2>&1'
echo shell-ended $?; dmesg | tail -3; poweroff -f
INIT
chmod +x tree/init
(cd tree && find . | cpio --quiet -o -H newc) | gzip -1 > initrd.img
rm -rf root tree "$package"_*.deb
