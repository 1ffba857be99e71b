# SPDX-License-Identifier: GPL-2.0-or-later
"""vireod with libvirt's own clients: virsh's whole sessions against it and against libvirtd, the same XML, a restart."""
import re
import shutil
import subprocess
import time

import pytest

from conftest import BUILD
from peer import VIRSH_ENV, Libvirtd, Vireod, have_libvirt

pytestmark = pytest.mark.skipif(not have_libvirt(), reason="needs root, libvirt's clients and libvirtd")

EXAMPLE = """<domain type='{type}'>
  <name>{name}</name>
  <memory unit='KiB'>{memory}</memory>
  <vcpu placement='static' current='1'>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-2.9'>hvm</type>
    <boot dev='hd'/>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'/>
    <interface type='user'>
      <mac address='52:54:00:11:22:33'/>
      <model type='virtio'/>
    </interface>
    <graphics type='vnc' port='-1' autoport='yes'/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    d = Vireod(BUILD, tmp_path_factory.mktemp("v"))
    yield d
    d.stop()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    d = Libvirtd(tmp_path_factory.mktemp("l") / "o")
    yield d
    d.stop()


def example(folder, name="v1", kind="qemu", memory=131072):
    disk = folder / f"{name}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    xml = folder / f"{name}.xml"
    xml.write_text(EXAMPLE.format(type=kind, name=name, memory=memory, disk=disk))
    return xml


def normal(text, folder):
    """Without what differs between two machines: folders, times, ids that are drawn."""
    text = text.replace(str(folder), "DIR")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000", "TIME", text)
    text = re.sub(r"(CPU time:|CPU:|cpu_time|Allocation:|Physical:|Available:) .*", r"\1 N", text)
    text = re.sub(r"52:54:00:[0-9a-f:]{8}", "MAC", text)
    text = re.sub(r"<(creationTime|atime|mtime|ctime|btime)>.*?</", r"<\1>T</", text)
    # how often progress is printed depends on how often virsh looks
    text = re.sub(r"(Block \w+: \[ *[0-9.]+ %\]\n?)+", "PROGRESS", text)
    return re.sub(r"vnet\d+|/dev/pts/\d+", "DEV", text)


# The life of a domain; DIR is each daemon's own folder.
SESSION = """
start v1
dominfo v1
domstate v1 --reason
vcpucount v1
domblklist v1
domblkinfo v1 vda
vcpupin v1
emulatorpin v1
setmem v1 100M --live
setvcpus v1 2 --live
setvcpus v1 3
attach-disk v1 DIR/e.qcow2 vdb --subdriver qcow2 --config
domblklist v1
snapshot-create-as v1 s1
snapshot-create-as v1 s2 desc
snapshot-list v1
snapshot-list v1 --tree
snapshot-current v1 --name
snapshot-parent v1 s2
snapshot-delete v1 s2
snapshot-delete v1 s1
snapshot-create-as v1 ext --disk-only --diskspec vda,file=DIR/ext.qcow2
domblklist v1
blockcommit v1 vda --active --pivot --verbose --wait
domblklist v1
snapshot-delete v1 ext --metadata
blockcopy v1 vda --dest DIR/copy.qcow2 --format qcow2 --wait --pivot --transient-job
domblklist v1
blockresize v1 vda 80M
blkdeviotune v1 vda --total-iops-sec 100
blkdeviotune v1 vda
schedinfo v1
memtune v1 --config
send-key v1 KEY_A
inject-nmi v1
domfsinfo v1
qemu-agent-command v1 {}
desc v1 hello
desc v1
metadata v1 http://x.org/ --key a --set <b/>
metadata v1 http://x.org/
metadata v1 http://y.org/
list --title
suspend v1
domstate v1 --reason
resume v1
save v1 DIR/save
list --all
restore DIR/save
managedsave v1
list --all --managed-save
start v1
dump v1 DIR/core --memory-only
reset v1
domrename v1 v3
destroy v1
undefine v1
start v1
list --all
pool-define-as p dir --target DIR/pool
pool-build p
pool-start p
vol-create-as p a.raw 1M
vol-create-as p b.qcow2 1M --format qcow2
vol-create-as p b.qcow2 1M
vol-list p
vol-clone a.raw c.raw --pool p
vol-resize c.raw 2M --pool p
vol-info c.raw p
vol-delete c.raw p
pool-destroy p
pool-undefine p
pool-info p
net-info nothing
secret-list
secret-dumpxml 11111111-2222-3333-4444-555555555555
nodedev-dumpxml nothing
iface-dumpxml nothing
nwfilter-dumpxml nothing
""".strip().splitlines()


def run_session(daemon, folder):
    folder.mkdir(exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "e.qcow2", "16M"], check=True)
    out = [daemon.virsh("define", str(example(folder)))]
    for line in SESSION:
        out.append((line, *daemon.virsh(*line.replace("DIR", str(folder)).split())))
    return [tuple(normal(str(x), folder) for x in entry) for entry in out]


def test_virsh_session_is_as_with_libvirtd(ours, oracle, tmp_path):
    mine, theirs = run_session(ours, tmp_path / "a"), run_session(oracle, tmp_path / "b")
    assert len(mine) == len(theirs)
    different = [(a, b) for a, b in zip(mine, theirs) if a != b]
    assert not different, "\n\n".join(f"vireod: {a}\nlibvirtd: {b}" for a, b in different)


@pytest.mark.skipif(not shutil.which("virt-install"), reason="needs virt-install")
@pytest.mark.parametrize("options", [
    "--osinfo debian11 --graphics none",
    "--osinfo win10 --graphics vnc",
    "--osinfo generic --machine pc --graphics spice --sound ac97 --channel unix,target_type=virtio,name=org.qemu.guest_agent.0",
    "--osinfo generic --controller scsi,model=virtio-scsi --rng /dev/urandom --watchdog default --panic default --vsock cid.auto=yes",
])
def test_definitions_are_completed_as_by_libvirtd(ours, oracle, tmp_path, options):
    xml = subprocess.run(["virt-install", "--connect", oracle.uri, "--virt-type", "qemu", "--name", "w", "--memory", "512",
                          "--vcpus", "2,maxvcpus=4", "--network", "user", "--check", "all=off", "--print-xml", "--import",
                          "--disk", "none", *options.split()], capture_output=True, text=True, check=True).stdout
    (tmp_path / "w.xml").write_text(xml)
    seen = []
    for daemon in (ours, oracle):
        daemon.virsh("define", str(tmp_path / "w.xml"), check=True)
        seen.append(normal(daemon.virsh("dumpxml", "w")[1], tmp_path))
        daemon.virsh("undefine", "w", check=True)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("old,new", [
    ("<name>v1</name>", ""), ("type='qemu'", "type='nonsense'"), (">131072<", ">lots<"),
    ("bus='virtio'", "bus='nonsense'"), ("type='vnc'", "type='nonsense'"), ("<domain", "<dominion"),
    (">hvm<", ">nonsense<"),
])
def test_bad_definitions_get_libvirts_error(ours, oracle, tmp_path, old, new):
    good = example(tmp_path)
    bad = tmp_path / "bad.xml"
    bad.write_text(good.read_text().replace(old, new))
    mine, theirs = ours.virsh("define", str(bad)), oracle.virsh("define", str(bad))
    assert mine[0] == theirs[0] == 1
    assert mine[1] == theirs[1]


def test_kill_leaves_domains_running(tmp_path):
    d = Vireod(BUILD, tmp_path)
    try:
        d.virsh("define", str(example(tmp_path, "k")), check=True)
        d.virsh("start", "k", check=True)
        d.virsh("snapshot-create-as", "k", "before", check=True)
        pid = d.virsh("qemu-monitor-command", "k", "--hmp", "info", "status")[1]
        assert "running" in pid
        d.kill()
        d.start()
        assert "running" in d.virsh("domstate", "k", check=True)[1]
        assert "before" in d.virsh("snapshot-list", "k", check=True)[1]
        assert "running" in d.virsh("qemu-monitor-command", "k", "--hmp", "info", "status", check=True)[1]
        d.virsh("suspend", "k", check=True)
        d.kill()
        d.start()
        assert "paused" in d.virsh("domstate", "k", check=True)[1]
        d.virsh("destroy", "k", check=True)
        d.kill()
        d.start()
        assert "shut off" in d.virsh("domstate", "k", check=True)[1]
        d.virsh("undefine", "k", "--snapshots-metadata", check=True)
    finally:
        d.stop()


def test_type_kvm_runs_without_kvm(ours, tmp_path):
    ours.virsh("define", str(example(tmp_path, "kvm", "kvm")), check=True)
    ours.virsh("start", "kvm", check=True)
    assert "type='kvm'" in ours.virsh("dumpxml", "kvm", check=True)[1]
    ours.virsh("destroy", "kvm", check=True)
    ours.virsh("undefine", "kvm", check=True)


def test_read_only_socket_changes_nothing(ours, tmp_path):
    uri = f"qemu+unix:///system?socket={ours.socket}-ro"
    done = subprocess.run(["virsh", "-r", "-c", uri, "define", str(example(tmp_path, "ro"))], capture_output=True, text=True)
    assert done.returncode == 1 and "read only" in done.stderr
    assert subprocess.run(["virsh", "-r", "-c", uri, "list", "--all"], capture_output=True).returncode == 0


def test_test_driver_answers_as_libvirts_own(ours):
    def ask(uri, *args):
        done = subprocess.run(["virsh", "-c", uri, *args], capture_output=True, text=True)
        return done.returncode, re.sub(r"CPU time: .*", "", done.stdout + done.stderr)
    mine = f"test+unix:///default?socket={ours.socket}"
    for args in (["list", "--all"], ["dumpxml", "test"], ["net-list", "--all"], ["pool-list", "--all"], ["nodeinfo"],
                 ["pool-dumpxml", "default-pool"], ["vcpucount", "test"], ["iface-list"], ["schedinfo", "test"],
                 ["domstate", "nothing"], ["version"], ["freecell"]):
        assert ask(mine, *args) == ask("test:///default", *args), args


PYTHON = """
import libvirt, sys, threading, time
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=lambda: [libvirt.virEventRunDefaultImpl() for _ in iter(int, 1)], daemon=True).start()
c = libvirt.open(sys.argv[1])
c.setKeepAlive(5, 3)
seen = []
c.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda c, d, e, x, o: seen.append((e, x)), None)
d = c.defineXML(open(sys.argv[2]).read())
d.create()
assert d.info()[0] == 1 and d.isActive()
assert c.getAllDomainStats()[0][1]["state.state"] == 1
d.suspend(); d.resume(); d.destroy(); d.undefine()
time.sleep(0.5)
assert seen == [(0, 0), (4, 0), (2, 0), (3, 0), (4, 0), (5, 1), (1, 0)], seen
try:
    c.lookupByName("nothing")
except libvirt.libvirtError as e:
    assert e.get_error_code() == 42 and e.get_error_domain() == 10
print("ok")
"""


def test_python_binding_with_events(ours, tmp_path):
    done = subprocess.run(["/usr/bin/python3", "-c", PYTHON, ours.uri, str(example(tmp_path, "py"))], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr


def test_stopped_reader_costs_only_itself(ours):
    stuck = subprocess.Popen(["virsh", "-c", ours.uri, "event", "--all", "--loop"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        stuck.send_signal(19)  # SIGSTOP
        for _ in range(20):
            assert ours.virsh("list")[0] == 0
    finally:
        stuck.send_signal(18)
        stuck.terminate()
        stuck.wait()


def test_vireo_prints_what_virsh_prints(ours, tmp_path):
    """The same commands by both, on the same daemon: output, messages and exit status."""
    xml = example(tmp_path, "both")
    session = [["list", "--all"], ["define", str(xml)], ["define", "/nothing"], ["list", "--all"], ["start", "both"],
               ["start", "both"], ["list"], ["domstate", "both"], ["suspend", "both"], ["resume", "both"],
               ["dumpxml", "both"], ["dumpxml", "both", "--inactive"], ["autostart", "both"],
               ["autostart", "both", "--disable"], ["destroy", "both"], ["destroy", "both"], ["domstate", "nothing"],
               ["list", "--all", "--name"], ["undefine", "both"]]
    seen = []
    for program in (["virsh", "-c", ours.uri], [str(BUILD / "vireo")]):
        out = []
        for words in session:
            env = dict(VIRSH_ENV, VIREO_URI=ours.uri)
            done = subprocess.run([*program, *words], env=env, capture_output=True, text=True)
            out.append((words, done.returncode, normal(done.stdout, tmp_path), done.stderr))
        seen.append(out)
    for a, b in zip(*seen):
        # Each start takes the next id.
        assert re.sub(r"id='\d+'|\\n \d+ ", "ID", repr(a)) == re.sub(r"id='\d+'|\\n \d+ ", "ID", repr(b))


def test_tcp_clients(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "vireod.conf").write_text(
        'listen_tcp = 1\nauth_tcp = "none"\ntcp_port = "26519"\nlisten_addr = "127.0.0.1"\n')
    d = Vireod(BUILD, tmp_path, "--listen")
    try:
        done = subprocess.run(["virsh", "-c", "qemu+tcp://127.0.0.1:26519/system", "list", "--all"], capture_output=True)
        assert done.returncode == 0, done.stderr
    finally:
        d.stop()


def test_administration(ours):
    uri = f"libvirtd+unix:///system?socket={ours.socket}-admin"
    done = subprocess.run(["virt-admin", "-c", uri, "srv-list"], capture_output=True, text=True)
    assert done.returncode == 0 and "libvirtd" in done.stdout, done.stderr
