# SPDX-License-Identifier: GPL-2.0-or-later
"""A private vireod, and Debian's libvirtd beside it as the oracle, each with its own folders and sockets."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

VIRSH_ENV = dict(os.environ, LC_ALL="C")


class Daemon:
    """Something that virsh can talk to."""

    def virsh(self, *args, check=False, timeout=120):
        done = subprocess.run(["virsh", "-c", self.uri, *args], env=VIRSH_ENV, capture_output=True, text=True,
                              timeout=timeout)
        if check:
            assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.returncode, done.stdout + done.stderr


class Vireod(Daemon):
    def __init__(self, build, root, *options):
        self.build, self.root, self.options = build, pathlib.Path(root), options
        self.socket = self.root / "sock"
        self.uri = f"qemu+unix:///system?socket={self.socket}"
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.log = open(self.root / "vireod.log", "ab")
        self.process = subprocess.Popen([self.build / "vireod", "--root", self.root, "--socket", self.socket, *self.options],
                                        stderr=self.log, stdout=self.log)
        for _ in range(300):
            if self.socket.exists():
                return
            assert self.process.poll() is None, (self.root / "vireod.log").read_text()
            time.sleep(0.05)
        raise AssertionError("vireod does not listen")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        for line in self.virsh("list", "--name")[1].split():
            self.virsh("destroy", line)
        self.process.terminate()
        self.process.wait(20)


class Libvirtd(Daemon):
    """Debian's, in mount and network namespaces of its own, without cgroups and security labels."""

    SETUP = """ip link set lo up
mount -t tmpfs none /run
mkdir -p /run/libvirt /run/lock /var/lib/libvirt /var/cache/libvirt /etc/libvirt
mount --bind $O/run /run/libvirt; mount --bind $O/lib /var/lib/libvirt
mount --bind $O/cache /var/cache/libvirt; mount --bind $O/etc /etc/libvirt
umount -l -a -t cgroup,cgroup2
virtlogd & echo $! > $O/virtlogd.pid
exec libvirtd"""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        for name in ("run", "lib", "cache", "etc"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/qemu.conf").write_text(
            'security_driver = "none"\nuser = "root"\ngroup = "root"\nnamespaces = []\n'
            "dynamic_ownership = 0\ncgroup_controllers = []\n")
        (self.root / "etc/libvirtd.conf").write_text('unix_sock_group = "root"\nauth_unix_rw = "none"\n')
        self.uri = f"qemu+unix:///system?socket={self.root}/run/libvirt-sock"
        self.process = subprocess.Popen(["unshare", "-m", "-n", "--propagation", "private", "sh", "-c", self.SETUP],
                                        env=dict(os.environ, O=str(self.root)), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for _ in range(300):
            if self.virsh("uri")[0] == 0:
                return
            time.sleep(0.1)
        raise AssertionError("libvirtd does not answer")

    def stop(self):
        for line in self.virsh("list", "--name")[1].split():
            self.virsh("destroy", line)
        self.process.terminate()
        self.process.wait(20)
        pid = self.root / "virtlogd.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)


def have_libvirt():
    return os.geteuid() == 0 and all(shutil.which(p) for p in ("virsh", "libvirtd", "virtlogd", "unshare", "qemu-system-x86_64"))
