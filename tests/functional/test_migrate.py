# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration between two vireods, each in a network namespace of its own, with one folder as shared storage."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BUILD
from peer import VIRSH_ENV, have_libvirt

pytestmark = pytest.mark.skipif(not have_libvirt() or not shutil.which("ip"), reason="needs root, libvirt's clients and ip")

XML = """<domain type='qemu'>
  <name>m</name>
  <memory unit='KiB'>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file'><driver name='qemu' type='qcow2' cache='none'/><source file='{dir}/m.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <serial type='pty'/>
  </devices>
</domain>
"""
UUIDS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")


class Host:
    """A network namespace with a vireod in it, reached over TCP, TLS and its socket."""

    def __init__(self, folder, number, pki):
        self.folder, self.number = folder, number
        self.name, self.address = f"vireo-mig{number}", f"10.77.0.{number}"
        self.socket = folder / "sock"
        (folder / "etc").mkdir(parents=True)
        (folder / "etc/vireod.conf").write_text(
            f'listen_tcp = 1\nlisten_tls = 1\nauth_tcp = "none"\nhost_uuid = "{UUIDS[number - 1]}"\nmigration_host = "{self.address}"\n'
            f'pki_dir = "{pki}"\nmigrate_tls_x509_cert_dir = "{pki}/qemu"\n')
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        self.uri = f"qemu+unix:///system?socket={self.socket}"
        self.tcp = f"qemu+tcp://{self.address}/system"
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(["ip", "netns", "exec", self.name, BUILD / "vireod", "--root", self.folder, "--socket",
                                         self.socket, "--listen"], stdout=self.log, stderr=self.log)
        for _ in range(200):
            if self.socket.exists():
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log.txt").read_text())

    def virsh(self, *args, check=True):
        done = subprocess.run(["ip", "netns", "exec", self.name, "virsh", "-c", self.uri, *map(str, args)], env=VIRSH_ENV,
                              capture_output=True, text=True, timeout=120)
        if check:
            assert done.returncode == 0, (args, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def stop(self):
        for name in self.virsh("list", "--name", check=False).split():
            self.virsh("destroy", name, check=False)
        self.process.terminate()
        self.process.wait(20)
        run("ip", "netns", "del", self.name)


def run(*args):
    subprocess.run([str(a) for a in args], check=True, capture_output=True)


def make_pki(folder):
    """One authority; a certificate for each address, in libvirt's layout and in QEMU's."""
    for sub in ("CA", "libvirt/private", "qemu"):
        (folder / sub).mkdir(parents=True)
    conf = folder / "all.cnf"
    conf.write_text("subjectAltName=IP:10.77.0.1,IP:10.77.0.2\nextendedKeyUsage=serverAuth,clientAuth\n")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority", "-keyout",
        folder / "ca.key", "-out", folder / "CA/cacert.pem")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=host", "-keyout", folder / "key.pem", "-out", folder / "csr.pem")
    run("openssl", "x509", "-req", "-in", folder / "csr.pem", "-CA", folder / "CA/cacert.pem", "-CAkey", folder / "ca.key",
        "-CAcreateserial", "-days", "30", "-extfile", conf, "-out", folder / "cert.pem")
    for who in ("server", "client"):
        shutil.copy(folder / "cert.pem", folder / f"libvirt/{who}cert.pem")
        shutil.copy(folder / "key.pem", folder / f"libvirt/private/{who}key.pem")
        shutil.copy(folder / "cert.pem", folder / f"qemu/{who}-cert.pem")
        shutil.copy(folder / "key.pem", folder / f"qemu/{who}-key.pem")
    shutil.copy(folder / "CA/cacert.pem", folder / "qemu/ca-cert.pem")
    # as a client's pkipath wants it
    for name, source in (("cacert", "CA/cacert"), ("clientcert", "cert"), ("clientkey", "key")):
        shutil.copy(folder / f"{source}.pem", folder / f"{name}.pem")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mig")
    make_pki(folder / "pki")
    made = []
    try:
        for number in (1, 2):
            made.append(Host(folder / str(number), number, folder / "pki"))
        run("ip", "link", "add", "vmig1", "netns", made[0].name, "type", "veth", "peer", "name", "vmig2", "netns", made[1].name)
        for h in made:
            run("ip", "-n", h.name, "addr", "add", f"{h.address}/24", "dev", f"vmig{h.number}")
            run("ip", "-n", h.name, "link", "set", f"vmig{h.number}", "up")
        yield made
    finally:
        for h in made:
            h.stop()


@pytest.fixture
def domain(hosts, tmp_path):
    """A domain that runs on the first host and is gone from both at the end."""
    run("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "m.qcow2", "16M")
    (tmp_path / "m.xml").write_text(XML.format(dir=tmp_path))
    hosts[0].virsh("define", tmp_path / "m.xml")
    hosts[0].virsh("start", "m")
    yield "m"
    for h in hosts:
        h.virsh("destroy", "m", check=False)
        h.virsh("undefine", "m", check=False)


def state(host):
    return host.virsh("domstate", "m", "--reason", check=False).strip()


@pytest.mark.parametrize("how", ["direct", "p2p", "p2p-tls", "encrypted", "postcopy", "parallel"])
def test_moves_live(hosts, domain, how, tmp_path):
    a, b = hosts
    pki = a.folder.parent / "pki"
    target = f"qemu+tls://{b.address}/system?pkipath={pki}" if how == "p2p-tls" else b.tcp
    options = {"direct": [], "p2p": ["--p2p"], "p2p-tls": ["--p2p"], "encrypted": ["--p2p", "--tls"],
               "postcopy": ["--p2p", "--postcopy", "--postcopy-after-precopy"], "parallel": ["--p2p", "--parallel"]}[how]
    a.virsh("migrate", "--live", "--unsafe", "--verbose", *options, "m", target)
    assert state(b) == "running (migrated)"
    assert state(a) == "shut off (migrated)"
    assert "running" in b.virsh("qemu-monitor-command", "m", "--hmp", "info status")
    assert b.virsh("list", "--transient", "--name").split() == ["m"]
    # and back, to stay there
    b.virsh("migrate", "--live", "--unsafe", "--p2p", "--persistent", "m", a.tcp)
    assert state(a) == "running (migrated)"
    assert "no domain" in b.virsh("dominfo", "m", check=False) or "failed to get" in b.virsh("dominfo", "m", check=False)
    a.virsh("suspend", "m")
    a.virsh("migrate", "--live", "--unsafe", "--undefinesource", "--persistent", "m", b.tcp)
    assert state(b).startswith("paused")
    assert "failed to get domain" in a.virsh("dominfo", "m", check=False)


def test_what_cannot_move_stays(hosts, domain, tmp_path):
    a, b = hosts
    assert "without shared storage is unsafe" in a.virsh("migrate", "--live", "m", b.tcp, check=False)
    assert "same host" in a.virsh("migrate", "--live", "--unsafe", "--p2p", "m", a.tcp, check=False) or state(a).startswith("running")
    assert "Failed to connect" in a.virsh("migrate", "--live", "--unsafe", "--p2p", "m", "qemu+tcp://10.77.0.9:1/system", check=False)
    # nobody listens where the stream shall go
    text = a.virsh("migrate", "--live", "--unsafe", "--p2p", "m", b.tcp, "tcp:10.77.0.9:4000", check=False)
    assert "error" in text
    assert state(a).startswith("running")
    assert b.virsh("list", "--all", "--name").strip() == ""


def test_cancel_leaves_it_running_here(hosts, domain):
    a, b = hosts
    a.virsh("migrate-setspeed", "m", "1")
    assert a.virsh("migrate-getspeed", "m").strip() == "1"
    a.virsh("migrate-setmaxdowntime", "m", "50")
    assert a.virsh("migrate-getmaxdowntime", "m").strip() == "50"
    # a guest whose memory does not compress to nothing
    a.virsh("qemu-monitor-command", "m", "--hmp", "stop")
    moving = subprocess.Popen(["ip", "netns", "exec", a.name, "virsh", "-c", a.uri, "migrate", "--live", "--unsafe", "--p2p", "m", b.tcp],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=VIRSH_ENV)
    cancelled = False
    for _ in range(200):
        if "Migration out" in a.virsh("domjobinfo", "m", check=False):
            cancelled = "error" not in a.virsh("domjobabort", "m", check=False)
            break
    out = moving.communicate(timeout=60)[0]
    if cancelled and moving.returncode:
        assert "canceled by client" in out
        assert b.virsh("list", "--all", "--name").strip() == ""
        assert state(a).startswith(("running", "paused"))


def test_offline(hosts, domain):
    a, b = hosts
    a.virsh("destroy", "m")
    a.virsh("migrate", "--offline", "--persistent", "--undefinesource", "m", b.tcp)
    assert state(b).startswith("shut off")
    assert "failed to get domain" in a.virsh("dominfo", "m", check=False)


def test_client_death_ends_the_half_moved(hosts, domain, tmp_path):
    """The destination forgets a domain whose mover went away before it arrived."""
    a, b = hosts
    a.virsh("migrate-setspeed", "m", "1")
    moving = subprocess.Popen(["ip", "netns", "exec", a.name, "virsh", "-c", a.uri, "migrate", "--live", "--unsafe", "m", b.tcp],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=VIRSH_ENV)
    for _ in range(100):
        if b.virsh("list", "--name").strip():
            break
    moving.send_signal(signal.SIGKILL)
    moving.wait()
    for _ in range(100):
        if b.virsh("list", "--all", "--name").strip() == "" or state(b).startswith("running"):
            return
        time.sleep(0.1)
    raise AssertionError(state(b))
