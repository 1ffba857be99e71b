# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo run: a virtual machine from one command, with the host's kernel and programs."""
import subprocess

import pexpect
import pytest
from conftest import BUILD, times

VIREO = str(BUILD / "vireo")
pytestmark = pytest.mark.skipif(not (BUILD / "vireo-system-x86_64").exists(), reason="no emulator in this build")


def run(*args, timeout=120, **kw):
    return subprocess.run([VIREO, "run", "--timeout", str(timeout - 10), *args], capture_output=True, timeout=timeout, **kw)


def test_shell_on_a_terminal():
    c = pexpect.spawn(VIREO, ["run", "--timeout", "90"], timeout=80, encoding="latin1")
    c.expect("# ")
    c.sendline("echo ma''rk; uname -s; stty size")
    c.expect("mark\r\n.*Linux")
    c.setwinsize(33, 111)
    c.sendline("sleep 1; stty size")
    c.expect("33 111")
    c.sendline("exit 7")
    c.expect(pexpect.EOF)
    c.close()
    assert c.exitstatus == 7


@pytest.mark.parametrize("cpus", [1, 2])
def test_exit_status_and_output_are_the_commands(cpus):
    done = run("--cpus", str(cpus), "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert b"err\n" in done.stderr


def test_input_reaches_the_command_byte_by_byte():
    data = bytes(range(256)) * 64
    done = run("--net", "none", "--", "cat", input=data)
    assert (done.returncode, done.stdout) == (0, data)


def test_the_hosts_files_are_seen_and_kept(tmp_path):
    (tmp_path / "in").write_text("hello")
    done = run("--net", "none", "--", "sh", "-c", "cat in && echo changed >in && cat in && pwd", cwd=tmp_path)
    assert done.stdout.decode() == f"hellochanged\n{tmp_path}\n"
    assert (tmp_path / "in").read_text() == "hello"


def test_rw_folders_write_through(tmp_path):
    done = run("--net", "none", "--rw", str(tmp_path), "--", "sh", "-c", f"echo new >{tmp_path}/out")
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "new\n"


def test_python_of_the_host_computes():
    done = run("--net", "none", "--", "/usr/bin/python3", "-c", "import zlib; print(zlib.crc32(b'vireo' * 100000))")
    import zlib
    assert done.stdout.decode().strip() == str(zlib.crc32(b"vireo" * 100000))


def test_many_boots():
    for i in range(times(2, 100)):
        done = run("--net", "none", "--", "true")
        assert done.returncode == 0, f"boot {i}: {done.stderr.decode()}"


def test_a_guest_that_hangs_is_ended():
    done = subprocess.run([VIREO, "run", "--net", "none", "--timeout", "8", "--", "sleep", "1000"], capture_output=True, timeout=60)
    assert done.returncode == 124
    assert b"--timeout" in done.stderr


def test_a_panic_is_told():
    done = run("--net", "none", "--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 10")
    assert done.returncode == 125
    assert b"Kernel panic" in done.stderr


@pytest.mark.parametrize("args, word", [
    (["--kernel", "/no/such/kernel"], b"/no/such/kernel"),
    (["--kernel", "/etc/passwd"], b"/etc/passwd"),
    (["--memory", "1M"], b"64M"),
    (["--cpuss", "2"], b"did you mean '--cpus'"),
    (["-p", "80"], b"HOSTPORT:GUESTPORT"),
    (["--disk", "/no/such/disk"], b"/no/such/disk"),
    (["--share", "/etc/passwd"], b"not a folder"),
])
def test_bad_input_is_one_clear_line(args, word):
    done = subprocess.run([VIREO, "run", *args], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert word in done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr
