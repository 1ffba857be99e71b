# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots, checkpoints and backups of vireod: what the disks hold afterwards, and the answers that libvirtd gives."""
import pathlib
import re
import subprocess

import pytest

from conftest import BUILD
from peer import Libvirtd, Vireod, have_libvirt

pytestmark = pytest.mark.skipif(not have_libvirt(), reason="needs root, libvirt's clients and libvirtd")

XML = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='KiB'>32768</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='{dir}/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file'><driver name='qemu' type='{second}'/><source file='{dir}/{name}-b.img'/><target dev='vdb' bus='virtio'/></disk>
  </devices>
</domain>
"""


@pytest.fixture
def ours(tmp_path):
    (tmp_path / "v").mkdir()
    d = Vireod(BUILD, tmp_path / "v")
    yield d
    d.stop()


class Guest:
    """A domain whose disks are written and read through its emulator, as a guest would."""

    def __init__(self, daemon, folder, name, second="raw"):
        self.daemon, self.folder, self.name = daemon, folder, name
        for file, kind in ((f"{name}.qcow2", "qcow2"), (f"{name}-b.img", second)):
            subprocess.run(["qemu-img", "create", "-q", "-f", kind, folder / file, "8M"], check=True)
        (folder / f"{name}.xml").write_text(XML.format(name=name, dir=folder, second=second))
        self.ok("define", folder / f"{name}.xml", domain=False)

    def ok(self, command, *args, domain=True):
        return self.daemon.virsh(command, *([self.name] if domain else []), *map(str, args), check=True)[1]

    def log(self):
        return next(pathlib.Path(self.daemon.root).rglob(f"qemu/{self.name}.log"))

    def io(self, command, disk="vda"):
        before = len(self.log().read_bytes())
        alias = {"vda": "virtio-disk0", "vdb": "virtio-disk1"}[disk]
        out = self.ok("qemu-monitor-command", "--hmp", f"qemu-io -d /machine/peripheral/{alias}/virtio-backend \"{command}\"")
        # the result is printed by the emulator, into the domain's log
        said = self.log().read_bytes()[before:].decode()
        assert out.strip() == "" and "65536/65536" in said and "verification failed" not in said, (command, out, said)

    def write(self, byte, at=0):
        for disk in ("vda", "vdb"):
            self.io(f"write -P {byte} {at}k 64k", disk)

    def holds(self, byte, at=0):
        for disk in ("vda", "vdb"):
            self.io(f"read -P {byte} {at}k 64k", disk)

    def files(self):
        return sorted(p.name for p in self.folder.iterdir() if p.name.startswith(self.name) and p.suffix != ".xml")


def test_external_snapshots_are_gone_back_to_and_merged(ours, tmp_path):
    g = Guest(ours, tmp_path, "e")
    g.ok("start")
    g.write(1)
    g.ok("snapshot-create-as", "s1", "--memspec", f"file={tmp_path}/e.mem")
    g.write(2)
    g.ok("snapshot-create-as", "s2", "--disk-only")
    g.write(3)
    assert [line.split()[1].rsplit(".", 1)[1] for line in g.ok("domblklist").splitlines()[2:4]] == ["s2", "s2"]
    # back to the memory and disks of s1, running
    g.ok("snapshot-revert", "s1")
    assert "running (from snapshot)" in g.ok("domstate", "--reason")
    g.holds(1)
    g.write(4)
    # s2 is on a branch of its own; its disks still hold what they did
    g.ok("snapshot-revert", "s2", "--running")
    g.holds(2)
    g.ok("snapshot-revert", "s2", "--paused")
    g.holds(2)
    g.write(5)
    # deleting merges: first under the running disk, then the running one itself
    g.ok("snapshot-delete", "s1")
    g.holds(5)
    assert not (tmp_path / "e.mem").exists()
    g.ok("snapshot-delete", "s2")
    g.holds(5)
    assert g.files() == ["e-b.img", "e.qcow2"]
    assert g.ok("snapshot-list", "--name").strip() == ""


def test_external_snapshots_without_a_run(ours, tmp_path):
    g = Guest(ours, tmp_path, "o")
    for byte in (1, 2, 3):
        g.ok("start")
        g.write(byte)
        g.ok("destroy")
        g.ok("snapshot-create-as", f"s{byte}", "--disk-only")
    g.ok("start")
    g.write(4)
    g.ok("destroy")
    g.ok("snapshot-revert", "s2")
    g.ok("start")
    g.holds(2)
    g.ok("destroy")
    code, text = ours.virsh("snapshot-delete", "o", "s2")
    assert code == 1 and "branches part" in text
    g.ok("snapshot-delete", "s3")
    g.ok("snapshot-delete", "s1")
    g.ok("snapshot-delete", "s2")
    g.ok("start")
    g.holds(2)
    assert g.files() == ["o-b.img", "o.qcow2"]


def test_children_and_restart(ours, tmp_path):
    g = Guest(ours, tmp_path, "c", "qcow2")
    g.ok("start")
    g.write(1)
    g.ok("snapshot-create-as", "i1")
    g.write(2)
    g.ok("snapshot-create-as", "e2", "--disk-only")
    g.ok("snapshot-create-as", "e3", "--disk-only")
    g.write(3)
    code, text = ours.virsh("snapshot-revert", "c", "i1")
    assert code == 1 and "stands on" in text
    ours.kill()
    ours.start()
    assert g.ok("snapshot-current", "--name").strip() == "e3"
    assert g.ok("snapshot-list", "--name", "--roots").split() == ["i1"]
    assert g.ok("snapshot-list", "--name", "--leaves").split() == ["e3"]
    assert g.ok("snapshot-list", "--name", "--from", "i1", "--descendants").split() == ["e2", "e3"]
    g.ok("snapshot-delete", "e2", "--children")
    g.holds(3)
    g.ok("snapshot-revert", "i1")
    g.holds(1)
    g.ok("snapshot-delete", "i1")
    assert g.files() == ["c-b.img", "c.qcow2"]


def test_redefining_keeps_the_tree(ours, tmp_path):
    g = Guest(ours, tmp_path, "r", "qcow2")
    for name in ("a", "b"):
        g.ok("snapshot-create-as", name)
    (tmp_path / "b.xml").write_text(g.ok("snapshot-dumpxml", "b"))
    g.ok("snapshot-delete", "b", "--metadata")
    assert g.ok("snapshot-list", "--name").split() == ["a"]
    g.ok("snapshot-create", tmp_path / "b.xml", "--redefine", "--current")
    assert g.ok("snapshot-parent", "b").strip() == "a"
    assert g.ok("snapshot-current", "--name").strip() == "b"
    (tmp_path / "b.xml").write_text((tmp_path / "b.xml").read_text().replace("<name>a</name>", "<name>b</name>"))
    code, text = ours.virsh("snapshot-create", "r", str(tmp_path / "b.xml"), "--redefine")
    assert code == 1 and "own parent" in text


def test_incremental_backup_holds_what_changed(ours, tmp_path):
    g = Guest(ours, tmp_path, "k", "qcow2")
    g.ok("start")
    g.write(1)
    backup = "<domainbackup><disks>{}</disks></domainbackup>"
    disks = "".join(f"<disk name='{d}' type='file'><target file='{tmp_path}/full-{d}'/></disk>" for d in ("vda", "vdb"))
    (tmp_path / "full.xml").write_text(backup.format(disks))
    (tmp_path / "c1.xml").write_text("<domaincheckpoint><name>c1</name></domaincheckpoint>")
    g.ok("backup-begin", tmp_path / "full.xml", tmp_path / "c1.xml")
    wait_job(g)
    g.write(2, at=128)
    assert "size='65536'" in g.ok("checkpoint-dumpxml", "c1", "--size")
    ours.kill()
    ours.start()
    (tmp_path / "inc.xml").write_text(
        f"<domainbackup><incremental>c1</incremental><disks><disk name='vda'><target file='{tmp_path}/inc'/></disk></disks></domainbackup>")
    g.ok("backup-begin", tmp_path / "inc.xml")
    wait_job(g)
    g.ok("checkpoint-delete", "c1")
    g.ok("destroy")
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", tmp_path / "full-vda", "-F", "qcow2", tmp_path / "inc"], check=True)
    done = subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", tmp_path / "inc", tmp_path / "k.qcow2"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    g.ok("undefine")


def wait_job(guest):
    for _ in range(100):
        if "None" in guest.ok("domjobinfo"):
            assert "Completed" in guest.ok("domjobinfo", "--completed")
            return
    raise AssertionError("the job does not end")


# Answers that do not depend on what only vireod can do; DIR is each daemon's own folder.
SESSION = """
start a
snapshot-create-as a m1 --memspec file=DIR/a.mem
domblklist a
snapshot-create-as a d3 --disk-only --atomic --quiesce
snapshot-create-as a d3 --disk-only --atomic
snapshot-list a --tree
snapshot-info a d3
snapshot-delete a m1
snapshot-list a --tree
snapshot-delete a d3
domblklist a
snapshot-create-as a x --memspec file=DIR/x.mem,snapshot=external --diskspec vda,snapshot=internal
snapshot-create-as a x --disk-only --diskspec vda,snapshot=internal
snapshot-create-as a x --memspec snapshot=internal --diskspec vda,snapshot=external
snapshot-create-as a x --diskspec vdx,snapshot=external
checkpoint-create-as a k1
checkpoint-create-as a k1
checkpoint-create-as a k2 --description hi --diskspec vdb,checkpoint=no
checkpoint-dumpxml a k2 --no-domain
checkpoint-list a --name
checkpoint-list a --tree
checkpoint-info a k2
checkpoint-parent a k1
checkpoint-delete a nothing
checkpoint-delete a k1
checkpoint-list a --name --roots
backup-dumpxml a
snapshot-create-as a h1 --halt
domstate a --reason
checkpoint-create-as a k3
checkpoint-delete a k2
checkpoint-delete a k2 --metadata
snapshot-revert a h1
domstate a --reason
destroy a
undefine a
undefine a --snapshots-metadata
""".strip().splitlines()


def test_answers_are_libvirtds(ours, tmp_path):
    oracle = Libvirtd(tmp_path / "l")
    try:
        seen = []
        for name, daemon in (("m", ours), ("t", oracle)):
            folder = tmp_path / name
            folder.mkdir()
            Guest(daemon, folder, "a", "qcow2")
            out = [(line, daemon.virsh(*line.replace("DIR", str(folder)).split())) for line in SESSION]
            seen.append([(line, code, re.sub(r"<creationTime>\d+|-{10,}", "", text.replace(str(folder), "DIR"))) for line, (code, text) in out])
        different = [(a, b) for a, b in zip(*seen) if a != b]
        assert not different, "\n\n".join(f"vireod: {a}\nlibvirtd: {b}" for a, b in different)
    finally:
        oracle.stop()
