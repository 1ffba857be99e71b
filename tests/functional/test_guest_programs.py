# SPDX-License-Identifier: GPL-2.0-or-later
"""Compilers and test suites of Debian inside the guest, on an ext4 image of its own.

VIREO_ROOT_IMAGE names an image made by tests/guest/mkroot.sh; with VIREO_SOAK=1 one is made.
"""
import hashlib
import http.server
import os
import pathlib
import subprocess
import threading

import pytest

MKROOT = pathlib.Path(__file__).parent.parent / "guest" / "mkroot.sh"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if "VIREO_ROOT_IMAGE" in os.environ:
        return os.environ["VIREO_ROOT_IMAGE"]
    if not os.environ.get("VIREO_SOAK"):
        pytest.skip("no VIREO_ROOT_IMAGE; made with VIREO_SOAK=1")
    path = tmp_path_factory.mktemp("root") / "root.img"
    subprocess.run([MKROOT, path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return str(path)


@pytest.fixture
def guest(build, image):
    def run(script, *options, timeout=580):
        return subprocess.run([build / "vireo", "run", "--quiet", "--accel", "vireo", "--rootfs", image, "--memory", "2G",
                               *options, "--", "/bin/sh", "-c", script],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)
    return run


def test_gcc(guest):
    done = guest("""cd /tmp && printf '#include <stdio.h>\\n#include <math.h>\\nint main(int c, char **v)"""
                 """{ double s = 0; for (int i = 1; i < 100000; i++) s += sin(i) / i; printf("%%.12f\\\\n", s); return c + 41; }' > a.c"""
                 """ && gcc -O2 -o a a.c -lm && ./a""")
    assert done.returncode == 42, done.stdout + done.stderr
    host = subprocess.run(["python3", "-c", "import math; print('%.12f' % sum(math.sin(i) / i for i in range(1, 100000)))"],
                          capture_output=True, text=True, check=True).stdout
    assert abs(float(done.stdout) - float(host)) < 1e-10


@pytest.mark.parametrize("module", ["test_math", "test_struct", "test_zlib", "test_threading", "test_json"])
def test_python(guest, module):
    done = guest(f"python3 -m test -v {module} 2>&1 | tail -30; exit 0", "--cpus", "2")
    assert "result: SUCCESS" in done.stdout, done.stdout + done.stderr


def test_sha256_of_1_gib(guest):
    done = guest("head -c 1073741824 /dev/zero | sha256sum", "--cpus", "2")
    want = hashlib.sha256()
    for _ in range(1024):
        want.update(bytes(1 << 20))
    assert done.stdout == f"{want.hexdigest()}  -\n", done.stdout + done.stderr


def test_openssl(guest):
    """openssl checks itself with known answers, then encrypts what only the right key gives back."""
    done = guest("openssl speed -seconds 1 -evp aes-256-gcm 2>&1 | tail -1; openssl speed -seconds 1 rsa2048 2>&1 | tail -1;"
                 "head -c 3000000 /dev/urandom > /tmp/a; sha256sum < /tmp/a;"
                 "openssl enc -aes-256-cbc -pbkdf2 -k x -in /tmp/a -out /tmp/b && "
                 "openssl enc -d -aes-256-cbc -pbkdf2 -k x -in /tmp/b | sha256sum; "
                 "openssl genrsa -out /tmp/k 2048 2>/dev/null && openssl dgst -sha256 -sign /tmp/k -out /tmp/s /tmp/a && "
                 "openssl rsa -in /tmp/k -pubout -out /tmp/p 2>/dev/null && openssl dgst -sha256 -verify /tmp/p -signature /tmp/s /tmp/a")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(("AES-256-GCM", "aes-256-gcm")) and "rsa 2048 bits" in lines[1], done.stdout + done.stderr
    assert lines[2] == lines[3] and lines[4] == "Verified OK"


def test_network(guest, tmp_path):
    """DHCP by Debian's client, a name, and a file over HTTP from the host."""
    data = os.urandom(5 << 20)
    (tmp_path / "file").write_bytes(data)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = guest(f"ip addr flush dev eth0; dhclient -1 eth0 >/dev/null 2>&1; ip -4 -o addr show eth0 | grep -o '10.0.2.[0-9]*/';"
                 f"cat /etc/resolv.conf | grep -c nameserver; curl -s http://10.0.2.2:{server.server_port}/file | sha256sum",
                 "--net", "user")
    server.shutdown()
    assert done.stdout.splitlines() == ["10.0.2.15/", "1", hashlib.sha256(data).hexdigest() + "  -"], done.stdout + done.stderr
