# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo beside virsh, on the same daemon: the same commands, output, messages and exit status, over all groups."""
import os
import re
import subprocess

import pexpect
import pytest

from conftest import BUILD
from peer import VIRSH_ENV, Vireod, have_libvirt

pytestmark = pytest.mark.skipif(not have_libvirt(), reason="needs root, libvirt's clients and libvirtd")

XML = """<domain type='qemu'>
  <name>v1</name>
  <uuid>6a1f9e1c-0d5f-4c53-9d66-6d7f6c3b0001</uuid>
  <title>a title</title>
  <memory unit='KiB'>65536</memory>
  <vcpu placement='static' current='1'>2</vcpu>
  <iothreads>1</iothreads>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='DIR/v1.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
    <interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
    <serial type='pty'/>
    <graphics type='vnc' port='-1' autoport='yes'/>
  </devices>
</domain>
"""
NET = "<network><name>n1</name><bridge name='vtn1'/><ip address='192.168.177.1' netmask='255.255.255.0'><dhcp><range start='192.168.177.10' end='192.168.177.20'/></dhcp></ip></network>"
SECRET = "<secret ephemeral='no' private='no'><uuid>11111111-2222-3333-4444-555555555555</uuid><usage type='volume'><volume>/x</volume></usage></secret>"

SESSION = """
uri
hostname
nodeinfo
nodecpumap
nodecpumap --pretty
capabilities
domcapabilities
cpu-models x86_64
maxvcpus
freecell
freepages --all
nodememstats
nodesevinfo
sysinfo
define DIR/v1.xml
define /nothing
define DIR/v1.xml --validate
list
list --all
list --all --name
list --all --uuid
list --all --uuid --name
list --all --title
list --inactive
list --all --id
list --nonsense
list nonsense
nonsense
dominfo v1
dominfo
dominfo nothing
domid v1
domname 6a1f9e1c-0d5f-4c53-9d66-6d7f6c3b0001
domuuid v1
domstate v1
dumpxml v1
dumpxml v1 --inactive --security-info
dumpxml v1 --xpath //disk
dumpxml v1 --xpath //disk --wrap
desc v1
desc v1 some words
desc v1
desc v1 --title
desc v1 new title --title
metadata v1 http://x.org/ --key a --set <b/>
metadata v1 http://x.org/
metadata v1 http://x.org/ --remove
metadata v1 http://x.org/
vcpucount v1
vcpucount v1 --maximum --config
vcpuinfo v1
setvcpus v1 2 --config
setvcpus v1 0
setvcpus v1 many
setmem v1 32M --config
setmaxmem v1 64M --config
domblklist v1
domblklist v1 --details
domiflist v1
iothreadinfo v1
iothreadadd v1 2 --config
iothreaddel v1 2 --config
memtune v1
blkiotune v1
numatune v1
schedinfo v1
autostart v1
autostart v1 --disable
start v1
start v1
list
domid v1
domstate v1 --reason
domcontrol v1
vcpuinfo v1 --pretty
vcpupin v1
vcpupin v1 0 0
vcpupin v1 0
emulatorpin v1
emulatorpin v1 0
domblkinfo v1 vda
domblkinfo v1 vda --human
domblkinfo v1 --all
domblkerror v1
domiflist v1
domif-getlink v1 52:54:00:11:22:33
domif-setlink v1 52:54:00:11:22:33 down
domif-getlink v1 52:54:00:11:22:33
domif-setlink v1 52:54:00:11:22:33 sideways
vncdisplay v1
domdisplay v1
domdisplay v1 --type spice
ttyconsole v1
suspend v1
resume v1
setmem v1 48M --live
setmem v1 --size 1Z
send-key v1 KEY_A KEY_B
send-key v1 KEY_NOTHING
send-key v1 --codeset xt 30
inject-nmi v1
qemu-monitor-command v1 {"execute":"query-status"}
qemu-monitor-command v1 --hmp info status
qemu-monitor-command v1 query-nothing
qemu-agent-command v1 {}
domfsinfo v1
domtime v1
guestinfo v1
domhostname v1
blkdeviotune v1 vda --total-iops-sec 100
blkdeviotune v1 vda
blockresize v1 vda 20M
attach-disk v1 DIR/e.qcow2 vdb --subdriver qcow2
attach-disk v1 DIR/e.qcow2 vdc --subdriver qcow2 --print-xml --cache none --serial abc --targetbus virtio
attach-disk v1 DIR/e.qcow2 vdb --subdriver qcow2
detach-disk v1 vdq
attach-interface v1 network default --model virtio --mac 52:54:00:00:00:09 --print-xml
attach-interface v1 nonsense default
change-media v1 hdc DIR/cd.iso --insert
change-media v1 hdc --eject --force
change-media v1 vda --eject
domblklist v1
domjobinfo v1
domjobabort v1
snapshot-create-as v1 s1 first
snapshot-create-as v1 s2 --description second --disk-only --diskspec vda,file=DIR/v1.s2
snapshot-create-as v1 s3 --print-xml --memspec file=/x,snapshot=external --diskspec vda,snapshot=no
snapshot-list v1 --name
snapshot-list v1 --tree
snapshot-list v1 --parent
snapshot-list v1 --roots
snapshot-list v1 --tree --name
snapshot-info v1 s2
snapshot-info v1
snapshot-info v1 nothing
snapshot-parent v1 s2
snapshot-parent v1 s1
snapshot-current v1 --name
snapshot-delete v1 s2
snapshot-revert v1 s1
snapshot-delete v1 s1
snapshot-current v1
checkpoint-create-as v1 c1
checkpoint-create-as v1 c2 --diskspec vda,bitmap=b2
checkpoint-list v1 --name
checkpoint-list v1 --tree
checkpoint-info v1 c2
checkpoint-parent v1 c2
checkpoint-dumpxml v1 c1 --no-domain
checkpoint-delete v1 c1 --children
backup-dumpxml v1
save v1 DIR/save
save v1 DIR/save
save-image-dumpxml DIR/save --xpath //name
restore DIR/save
managedsave v1
list --all --managed-save
managedsave-dumpxml v1 --xpath //uuid
managedsave-remove v1
managedsave-remove v1
start v1 --paused
dump v1 DIR/core --memory-only
destroy v1
destroy v1
shutdown v1
domrename v1 v2
undefine v2
undefine v2
pool-define-as p dir --target DIR/pool
pool-define-as q dir --target DIR/pool --print-xml
pool-build p
pool-start p
pool-autostart p
pool-info p
pool-info p --bytes
pool-list
pool-list --all --details
pool-list --all --name
pool-uuid nothing
vol-create-as p a.raw 1M
vol-create-as p b.qcow2 1M --format qcow2
vol-create-as p b.qcow2 1M
vol-create-as p c 1M --print-xml
vol-list p
vol-list p --details
vol-info a.raw --pool p
vol-info a.raw p --bytes
vol-path a.raw p
vol-key a.raw p
vol-name DIR/pool/a.raw
vol-pool DIR/pool/a.raw
vol-upload a.raw DIR/v1.xml --pool p
vol-download a.raw DIR/down --pool p
vol-clone a.raw c.raw --pool p
vol-resize c.raw 2M --pool p
vol-resize c.raw 1M --pool p --delta
vol-wipe c.raw --pool p
vol-dumpxml b.qcow2 p --xpath //format
vol-delete c.raw p
vol-delete nothing p
vol-delete nothing
pool-refresh p
pool-dumpxml p --xpath //path
pool-destroy p
pool-undefine p
net-define DIR/n1.xml
net-list --all
net-list --all --name
net-info n1
net-autostart n1
net-dumpxml n1 --xpath //ip
net-update n1 add ip-dhcp-host "<host mac='52:54:00:00:00:01' ip='192.168.177.11'/>" --config
net-update n1 add nonsense "<a/>"
net-dhcp-leases n1
net-port-list n1
net-undefine n1
net-undefine n1
secret-define DIR/secret.xml
secret-list
secret-set-value 11111111-2222-3333-4444-555555555555 --base64 aGVsbG8=
secret-get-value 11111111-2222-3333-4444-555555555555
secret-get-value 11111111-2222-3333-4444-555555555555 --plain
secret-dumpxml 11111111-2222-3333-4444-555555555555
secret-undefine 11111111-2222-3333-4444-555555555555
nwfilter-list
nwfilter-binding-list
nwfilter-dumpxml nothing
nodedev-list --cap net
nodedev-list --tree
nodedev-info computer
nodedev-dumpxml nothing
iface-list --all
iface-mac lo
iface-dumpxml lo
iface-dumpxml nothing
event --list
event nothing
net-event --list
echo a b --shell
echo --xml <a>
echo --shell it's
pwd
migrate v1
migrate-getspeed nothing
""".strip().splitlines()


@pytest.fixture
def daemon(tmp_path):
    (tmp_path / "d").mkdir()
    d = Vireod(BUILD, tmp_path / "d")
    yield d
    d.stop()


def normal(text):
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( \+0000)?", "TIME", text)
    text = re.sub(r"(Time:|CPU time:|total *:|free *:|buffers *:|cached *:|Total:|Allocation:|Available:|\d+KiB:) .*", r"\1 N", text)
    text = re.sub(r"/dev/pts/\d+|vnet\d+|id='\d+'|pid='\d+'", "DEV", text)
    text = re.sub(r"(?m)^( |Id: +)\d+( +)(v1|$)", r"\1ID\3", text)
    text = re.sub(r"(?m)^\d+$", "ID", text)
    text = re.sub(r"(?m)^CPU: +\d+", "CPU", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"<(creationTime|atime|mtime|ctime|btime)>.*?</", r"<\1>T</", text)
    text = re.sub(r"\"id\":\"libvirt-\d+\"|libvirt-\d+", "QMP", text)
    text = re.sub(r"-{5,}", "----", re.sub(r" +", " ", text))
    return re.sub(r"[0-9.]+ (GiB|MiB|KiB|B)\b", "SIZE", text)


def words(line, folder):
    parts = re.findall(r'"[^"]*"|\S+', line.replace("DIR", str(folder)))
    return [p[1:-1] if p.startswith('"') else p for p in parts]


def session(program, folder):
    folder.mkdir()
    (folder / "v1.xml").write_text(XML.replace("DIR", str(folder)))
    (folder / "n1.xml").write_text(NET)
    (folder / "secret.xml").write_text(SECRET)
    (folder / "cd.iso").write_bytes(b"\0" * 65536)
    for name in ("v1", "e"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / f"{name}.qcow2", "16M"], check=True)
    out = []
    for line in SESSION:
        done = subprocess.run([*program, *words(line, folder)], capture_output=True, text=True, env=VIRSH_ENV, timeout=60)
        out.append((line, done.returncode, *(normal(s.replace(str(folder), "DIR")) for s in (done.stdout, done.stderr))))
    return out


def test_every_group_answers_as_virsh(daemon, tmp_path):
    theirs = session(["virsh", "-c", daemon.uri], tmp_path / "a")
    mine = session([str(BUILD / "vireo"), "-c", daemon.uri], tmp_path / "b")
    # the one word that names the program
    different = [(a, b) for a, b in zip(mine, theirs) if a != b and not a[0].startswith(("nonsense",))]
    assert not different, f"{len(different)} of {len(mine)}\n" + "\n\n".join(f"vireo: {a}\nvirsh: {b}" for a, b in different)


def test_every_command_and_option_of_virsh_is_there():
    """Names, and which options are switches and which take a value, by both programs' own help."""
    def commands(program):
        text = subprocess.run([program, "help"], capture_output=True, text=True).stdout
        return set(re.findall(r"^    ([a-z0-9-]+) ", text, re.M))

    def options(program, command):
        text = subprocess.run([program, "help", command], capture_output=True, text=True).stdout
        found = set()
        for line in text.partition("OPTIONS")[2].splitlines():
            m = re.match(r" +\[?--([\w-]+)\]?( <)?", line)
            if m:
                found.add((m[1], bool(m[2])))
        return found
    mine = str(BUILD / "vireo")
    missing = commands("virsh") - commands(mine)
    assert not missing
    for command in sorted(commands("virsh")):
        assert not options("virsh", command) - options(mine, command), command


def test_shell_with_history_and_completion(daemon, tmp_path):
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path), TERM="xterm", LC_ALL="C", INPUTRC="/dev/null")
    sh = pexpect.spawn(str(BUILD / "vireo"), ["-c", daemon.uri], env=env, encoding="utf-8", timeout=20)
    sh.expect("vireo # ")
    sh.send("domsta\t\t\t")
    sh.expect("domstate +domstats")
    sh.sendcontrol("u")
    sh.send("snapshot-create-a\t--desc\t")
    sh.expect("snapshot-create-as +--description")
    sh.sendcontrol("u")
    sh.sendline("echo one; echo two")
    sh.expect("one\r\ntwo")
    sh.sendline("domstate nothing")
    sh.expect("failed to get domain")
    sh.send("\x1b[A\x1b[A\r")
    sh.expect("two")
    sh.sendline("quit")
    sh.expect(pexpect.EOF)
    sh.close()
    assert sh.exitstatus == 0
    assert "echo one; echo two" in (tmp_path / "vireo/history").read_text()


def test_lines_from_a_pipe_and_one_argument(daemon):
    run = lambda *args, **kw: subprocess.run([BUILD / "vireo", "-c", daemon.uri, *args], capture_output=True, text=True, **kw)  # noqa: E731
    assert run(input="echo a\necho 'b  c'; echo d\n").stdout.split("\n") == ["a", "b  c", "d", ""]
    assert run("echo a; echo b").stdout == "a\nb\n"
    assert run("-q", "echo", "a").stdout == "a"
    assert run("start").returncode == 1


PROGRAM = """
#include <stdio.h>
#include <vireo/vireo.h>
int main(int argc, char **argv)
{
    struct vireo_connect *c;
    struct vireo_connect_list_all_domains_ret *list;
    struct vireo_domain_lookup_by_name_ret *none;
    if (argc != 2 || vireo_connect_open(argv[1], 0, &c) < 0 || vireo_connect_list_all_domains(c, 1, 3, &list) < 0) {
        return 1;
    }
    printf("%u\\n", list->n_domains);
    vireo_free(list);
    if (vireo_domain_lookup_by_name(c, "nothing", &none) == 0) {
        return 2;
    }
    printf("%d %s\\n", vireo_last_error()->code, vireo_last_error()->message);
    vireo_connect_close(c);
    return 0;
}
"""


def test_programs_use_the_library(daemon, tmp_path):
    (tmp_path / "p.c").write_text(PROGRAM)
    top = BUILD.parent
    subprocess.run(["cc", "-Wall", "-Werror", "-o", tmp_path / "p", tmp_path / "p.c", f"-I{top}/include", f"-I{BUILD}/include",
                    f"-L{BUILD}/src/client", "-lvireo", f"-Wl,-rpath,{BUILD}/src/client"], check=True)
    done = subprocess.run([tmp_path / "p", daemon.uri], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[1].startswith("42 Domain not found"), done
