# SPDX-License-Identifier: GPL-2.0-or-later
# Real programs from the Debian root file system; the same script in the guest and on the host.
# Wants: BW (the bw program), CHROOT (command prefix that enters the root), T (seconds)
a() { n=$1; shift; $BW -t $T -c app.$n run/s -- $CHROOT "$@"; }
a python-start /usr/bin/python3 -c pass
a python-bench /usr/bin/python3 /bench/pybench.py
a gcc-O2 /usr/bin/gcc -O2 -c /bench/branch.c -o /tmp/x.o
a gcc-hello /usr/bin/gcc /bench/hello.c -o /tmp/hello
a apt-gencaches /usr/bin/apt-cache -o Dir::Cache=/tmp/aptcache gencaches
a dpkg-l /usr/bin/dpkg -l
a sh-100forks /bin/sh -c 'i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done'
a tar-gzip /bin/sh -c 'tar cf - /usr/lib/python3.11/asyncio /usr/lib/python3.11/email | gzip -6 >/dev/null'
a find /usr/bin/find /usr -xdev -type f -size +1M
