#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mkdisk.sh OUT [KERNEL-PACKAGE] - a Debian 12 disk image made with mmdebstrap that boots by GRUB
# from SeaBIOS (MBR) and from OVMF (EFI system partition), to a login prompt on the serial port.
# root has no password. Needs no root when mmdebstrap does not; no loop devices.
set -eu
out=$1
kernel=${2:-linux-image-cloud-amd64}
work=$(mktemp -d "${TMPDIR:-/tmp}/mkdisk.XXXXXX")
trap 'rm -rf "$work"' EXIT

packages=$kernel,systemd-sysv,udev,kmod,pciutils,usbutils,dmidecode,iproute2,ifupdown,isc-dhcp-client,netcat-openbsd,e2fsprogs,python3-minimal,acpid,acpi-support-base,fio
mmdebstrap --variant=minbase --include="$packages" \
    --customize-hook='echo vireo > "$1/etc/hostname"' \
    --customize-hook='chroot "$1" passwd -d root' \
    --customize-hook='echo "LABEL=vireo-root / ext4 errors=remount-ro 0 1" > "$1/etc/fstab"' \
    --customize-hook='ln -sf /lib/systemd/system/serial-getty@.service "$1/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"' \
    --customize-hook='sed -i "s/^#*MODULES=.*/MODULES=most/" "$1/etc/initramfs-tools/initramfs.conf"; chroot "$1" update-initramfs -u' \
    --customize-hook='cd "$1" && ln -s boot/vmlinuz-* vmlinuz && ln -s boot/initrd.img-* initrd.img || true' \
    --aptopt='Acquire::Languages "none"' \
    bookworm "$work/root.tar" "${MIRROR:-/etc/apt/sources.list.d/debian.sources}"

mkdir "$work/root"
tar -C "$work/root" -xf "$work/root.tar" --exclude='./dev/*'
mkdir -p "$work/root/boot/grub"
cat > "$work/root/boot/grub/grub.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
search --no-floppy --label vireo-root --set root
menuentry Debian {
    linux /vmlinuz root=LABEL=vireo-root ro console=tty0 console=ttyS0
    initrd /initrd.img
}
CFG
cat > "$work/embed.cfg" <<'CFG'
search --no-floppy --label vireo-root --set root
set prefix=($root)/boot/grub
configfile /boot/grub/grub.cfg
CFG
modules="part_msdos ext2 fat normal linux configfile search search_label serial terminal echo halt reboot"
grub-mkimage -O i386-pc -o "$work/core.img" -p /boot/grub -c "$work/embed.cfg" biosdisk $modules
grub-mkimage -O x86_64-efi -o "$work/bootx64.efi" -p /boot/grub -c "$work/embed.cfg" $modules efi_gop

truncate -s 64M "$work/esp.img"
mkfs.vfat -n ESP "$work/esp.img" > /dev/null
mmd -i "$work/esp.img" ::/EFI ::/EFI/BOOT
mcopy -i "$work/esp.img" "$work/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
truncate -s 1900M "$work/rootfs.img"
mke2fs -q -t ext4 -L vireo-root -d "$work/root" "$work/rootfs.img"

truncate -s 2048M "$work/disk.img"
printf 'label: dos\nstart=2048,size=131072,type=ef\nstart=133120,type=83,bootable\n' |
    sfdisk -q "$work/disk.img"
dd if="$work/esp.img" of="$work/disk.img" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/rootfs.img" of="$work/disk.img" bs=1M seek=65 conv=notrunc,sparse status=none
dd if=/usr/lib/grub/i386-pc/boot.img of="$work/disk.img" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$work/disk.img" bs=512 seek=1 conv=notrunc status=none
mv "$work/disk.img" "$out"
