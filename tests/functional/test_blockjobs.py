# SPDX-License-Identifier: GPL-2.0-or-later
"""Block jobs, snapshots, bitmaps and limits by QMP, in the order in which libvirt 9.0 uses them, on a disk
that a guest writes to; the results are checked with Debian's qemu-img."""
import json
import subprocess
import time

import pytest
from test_devices import mini, start  # noqa: F401 (fixtures)

MIB = 1 << 20


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    return path


def blockdev(node, driver, **opts):
    return json.dumps({"driver": driver, "node-name": node, **opts})


@pytest.fixture
def guest(start, base):  # noqa: F811
    with start("-M", "q35", "-blockdev", blockdev("s1", "file", filename=str(base)),
               "-blockdev", blockdev("f1", "qcow2", file="s1", backing=None),
               "-device", "virtio-blk-pci,drive=f1,id=disk") as g:
        yield g


def write(guest, what, megabytes=4):
    guest(f"dd if=/dev/urandom of=/tmp/{what} bs=1M count={megabytes} 2>/dev/null")
    guest(f"dd if=/tmp/{what} of=/dev/vda bs=1M seek=$((0x{what[0]} - 0xa)) conv=notrunc oflag=direct 2>/dev/null")


def disk_sum(guest):
    guest("echo 3 > /proc/sys/vm/drop_caches")
    return guest("md5sum < /dev/vda | cut -c1-32")


def image_sum(path, *chain):
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    done = subprocess.run(["md5sum", raw], check=True, capture_output=True, text=True)
    raw.unlink()
    return done.stdout[:32]


def settle(qmp, job, state):
    deadline = time.time() + 60
    while True:
        now = {j["id"]: j for j in qmp("query-jobs")}[job]
        if now["status"] == state:
            assert "error" not in now, now
            return
        assert time.time() < deadline and "error" not in now, now
        time.sleep(0.05)


def end(qmp, job):
    settle(qmp, job, "concluded")
    qmp("job-dismiss", id=job)


def snapshot(qmp, folder, name, node, below):
    """As libvirt: storage, blockdev-create, format, transaction."""
    path = folder / f"{name}.qcow2"
    path.write_bytes(b"")
    qmp("blockdev-add", driver="file", filename=str(path), **{"node-name": f"s{name}"})
    qmp("blockdev-create", job_id=f"create-{name}",
        options={"driver": "qcow2", "file": f"s{name}", "size": 64 * MIB, "backing-file": str(below), "backing-fmt": "qcow2"})
    end(qmp, f"create-{name}")
    qmp("blockdev-add", driver="qcow2", file=f"s{name}", backing=None, **{"node-name": f"f{name}"})
    qmp("transaction", actions=[{"type": "blockdev-snapshot", "data": {"node": node, "overlay": f"f{name}"}}])
    return path


def test_snapshot_and_active_commit(guest, base, tmp_path):
    qmp = guest.qmp
    write(guest, "a")
    top = snapshot(qmp, tmp_path, "2", "f1", base)
    write(guest, "c")
    before = disk_sum(guest)
    stats = qmp("query-blockstats")[0]
    assert stats["node-name"] == "f2" and stats["stats"]["wr_bytes"] >= 8 * MIB and stats["stats"]["rd_operations"] > 0
    assert json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", top], check=True,
                                     capture_output=True).stdout)["backing-filename"] == str(base)
    qmp("block-commit", job_id="c", device="f2", base_node="f1", auto_finalize=True, auto_dismiss=False)
    assert qmp.event("BLOCK_JOB_READY")["device"] == "c"
    write(guest, "b")  # while it follows
    before = disk_sum(guest)
    assert qmp("query-block-jobs")[0]["ready"]
    qmp("job-complete", id="c")
    end(qmp, "c")
    assert qmp("query-block")[0]["inserted"]["node-name"] == "f1"
    qmp("blockdev-del", node_name="f2")
    qmp("blockdev-del", node_name="s2")
    assert disk_sum(guest) == before
    write(guest, "d")
    after = disk_sum(guest)
    guest.poweroff()
    assert image_sum(base) == after


def test_stream_and_middle_commit(guest, base, tmp_path):
    qmp = guest.qmp
    write(guest, "a")
    two = snapshot(qmp, tmp_path, "2", "f1", base)
    write(guest, "b")
    three = snapshot(qmp, tmp_path, "3", "f2", two)
    write(guest, "c")
    before = disk_sum(guest)
    qmp("block-commit", job_id="m", device="f3", top_node="f2", base_node="f1", backing_file=str(base),
        auto_dismiss=False)
    end(qmp, "m")
    assert disk_sum(guest) == before
    qmp("block-stream", job_id="p", device="f3", auto_dismiss=False)
    end(qmp, "p")
    assert disk_sum(guest) == before
    guest.poweroff()
    base.unlink()  # the top needs nobody any more
    assert image_sum(three) == before


def test_mirror_backup_and_bitmaps(guest, base, tmp_path):
    qmp = guest.qmp
    write(guest, "a")
    full, incremental, copy = (tmp_path / f"{n}.qcow2" for n in ("full", "incremental", "copy"))
    for name, path in (("full", full), ("copy", copy)):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
        qmp("blockdev-add", driver="qcow2", file={"driver": "file", "filename": str(path)}, **{"node-name": name})
    at_backup = disk_sum(guest)
    qmp("transaction", actions=[
        {"type": "block-dirty-bitmap-add", "data": {"node": "f1", "name": "b0"}},
        {"type": "blockdev-backup", "data": {"job-id": "bk", "device": "f1", "target": "full", "sync": "full",
                                             "speed": 8 * MIB, "auto-dismiss": False}}])
    write(guest, "b")  # the backup must not see this
    end(qmp, "bk")
    bitmap = qmp("query-block")[0]["inserted"]["dirty-bitmaps"][0]
    assert bitmap["name"] == "b0" and 4 * MIB <= bitmap["count"] < 6 * MIB
    qmp("blockdev-del", node_name="full")
    assert image_sum(full) == at_backup
    assert "error" in qmp.ask("transaction", actions=[
        {"type": "block-dirty-bitmap-add", "data": {"node": "f1", "name": "b1"}}, {"type": "abort", "data": {}}])
    assert [b["name"] for b in qmp("query-block")[0]["inserted"]["dirty-bitmaps"]] == ["b0"]
    before = disk_sum(guest)
    qmp("drive-backup", job_id="inc", device="f1", target=str(incremental), format="qcow2", sync="incremental",
        bitmap="b0", auto_dismiss=False)
    end(qmp, "inc")
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", full, "-F", "qcow2", incremental], check=True)
    assert image_sum(incremental) == before
    qmp("block-dirty-bitmap-remove", node="f1", name="b0")
    qmp("blockdev-mirror", job_id="mi", device="f1", target="copy", sync="full", auto_dismiss=False)
    qmp.event("BLOCK_JOB_READY")
    write(guest, "c")
    qmp("job-complete", id="mi")
    end(qmp, "mi")
    assert qmp("query-block")[0]["inserted"]["node-name"] == "copy"
    write(guest, "d")
    after = disk_sum(guest)
    guest.poweroff()
    assert image_sum(copy) == after and image_sum(base) != after


def test_resize_limits_and_media(guest, tmp_path):
    qmp = guest.qmp
    qmp("block_resize", node_name="f1", size=96 * MIB)
    guest.until("cat /sys/block/vda/size", str(96 * MIB // 512))
    limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    qmp.raw("block_set_io_throttle", {"id": "disk", **limits, "bps": 4 * MIB})
    begin = time.time()
    guest("dd if=/dev/vda of=/dev/null bs=1M count=12 iflag=direct 2>/dev/null")
    assert time.time() - begin > 2
    assert qmp("query-block")[0]["inserted"]["bps"] == 4 * MIB
    qmp.raw("block_set_io_throttle", {"id": "disk", **limits})
    guest.poweroff()


def test_cdrom_changes(start, tmp_path):  # noqa: F811
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 4096)
    with start("-M", "q35", "-drive", f"if=none,id=cd,media=cdrom,readonly=on,format=raw,file={tmp_path}/one",
               "-device", "ide-cd,drive=cd,id=cdrom") as g:
        assert g("head -c 3 /dev/sr0") == "one"
        g.qmp("blockdev-change-medium", id="cdrom", filename=str(tmp_path / "two"), format="raw")
        assert not g.qmp.event("DEVICE_TRAY_MOVED")["tray-open"] or not g.qmp.event("DEVICE_TRAY_MOVED")["tray-open"]
        assert g("sleep 2; head -c 3 /dev/sr0") == "two"
        g.qmp("eject", id="cdrom", force=True)
        assert "tray_open" in g.qmp("query-block")[0] and "inserted" not in g.qmp("query-block")[0]
        g.poweroff()


def test_nbd_export(guest, base, tmp_path):
    qmp = guest.qmp
    write(guest, "a")
    qmp("block-dirty-bitmap-add", node="f1", name="b0")
    write(guest, "b")
    qmp("nbd-server-start", addr={"type": "unix", "data": {"path": f"{tmp_path}/nbd"}})
    qmp("block-export-add", type="nbd", id="e1", node_name="f1", name="disk", bitmaps=["b0"])
    assert qmp("query-block-exports")[0]["id"] == "e1"
    assert "error" in qmp.ask("nbd-server-start", addr={"type": "inet", "data": {"host": "::", "port": "0"}})
    uri = f"nbd+unix:///disk?socket={tmp_path}/nbd"
    out = tmp_path / "copy.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", uri, out], check=True)
    done = subprocess.run(["md5sum", out], check=True, capture_output=True, text=True)
    assert done.stdout[:32] == disk_sum(guest)
    qmp("block-export-del", id="e1")
    assert qmp.event("BLOCK_EXPORT_DELETED")["id"] == "e1"
    qmp("nbd-server-stop")
    guest.poweroff()
