# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the guest (as PID 1's child, or as PID 1 for bench=debian) under busybox sh.
B=/bin/busybox
for w in $($B cat /proc/cmdline); do
	case $w in
	bench=*) list=${w#bench=} ;;
	bt=*) T=${w#bt=} ;;
	bport=*) PORT=${w#bport=} ;;
	bhost=*) HOSTIP=${w#bhost=} ;;
	esac
done
: "${T:=2}" "${HOSTIP:=10.0.2.2}"
case $list in
*disk*|*net*|*app*|*debian*)
	for m in $($B cat /modules/order); do $B insmod /modules/$m 2>/dev/null; done
	n=0
	while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do $B usleep 20000; n=$((n+1)); done ;;
esac
if [ "$list" = debian ]; then
	$B mount -t ext4 /dev/vda /mnt || { echo FAIL mount; exec $B sleep 5; }
	for d in /proc /sys /tmp; do $B umount $d; done
	$B mount --move /dev /mnt/dev
	exec $B switch_root /mnt /sbin/init
fi
echo "BENCH-INFO clocksource $($B cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "BENCH-INFO kernel $($B uname -r)"
for v in /sys/devices/system/cpu/vulnerabilities/*; do
	x=$($B cat $v); case $x in "Not affected") ;; *) echo "BENCH-INFO vuln ${v##*/}: $x" ;; esac
done
for g in $(echo "$list" | $B tr '+,' '  '); do
	case $g in
	net*)
		$B ip link set lo up
		$B ip addr add 10.0.2.15/24 dev eth0
		$B ip link set eth0 up
		$B usleep 300000
		/bin/bw -t $T -H $HOSTIP -p ${PORT:-0} $g ;;
	disk*) /bin/bw -t $T -b /dev/vda $g ;;
	app)
		$B mount -t ext4 -o ro,noload /dev/vda /mnt || echo "FAIL app mount"
		$B mount -t proc proc /mnt/proc
		$B mount -t devtmpfs dev /mnt/dev
		$B mount -t tmpfs tmp /mnt/tmp
		BW=/bin/bw CHROOT="$B chroot /mnt" T=$T $B sh /apps.sh ;;
	*) /bin/bw -t $T -d /tmp $g ;;
	esac
done
echo "BENCH-INFO clocksource-at-end $($B cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
