# SPDX-License-Identifier: GPL-2.0-or-later
# Shared by the QEMU specs. QEMU, MACHINE, CPU, ACCEL, BUS, KERNEL_KIND can be overridden.
: "${QEMU:=qemu-system-x86_64}" "${CPU:=max}" "${ACCEL:=tcg}" "${BUS:=pci}"
TYPE=emulator
BINARY=$QEMU
base() {
	ARGV=("$QEMU" -M "$MACHINE" -accel "$ACCEL" -cpu "$CPU" -nodefaults -no-user-config
		-display none -no-reboot -m "${MEM:-1024}" -smp "${SMP:-1}")
}
argv_boot() {
	base
	ARGV+=(-serial stdio -kernel "$KERNEL" -initrd "$INITRD" -append "$APPEND")
	if [ -n "$DISK" ]; then
		ARGV+=(-drive "id=d0,file=$DISK,format=raw,if=none,cache=${DISKCACHE:-writeback}"
			-device "virtio-blk-$BUS,drive=d0")
	fi
	if [ "$NET" = 1 ]; then
		ARGV+=(-netdev user,id=n0 -device "virtio-net-$BUS,netdev=n0")
	fi
}
argv_bios() { base; ARGV+=(-serial stdio -bios "$BIOS"); }
argv_qmp() { base; ARGV+=(-S -qmp "unix:$SOCK,server=on,wait=off"); }
