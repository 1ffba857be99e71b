# SPDX-License-Identifier: GPL-2.0-or-later
"""The small guest of tests/guest/mkmini.sh: a shell on the serial port, and QMP beside it."""
import json
import socket
import subprocess
import tempfile
import time

import pexpect


class Qmp:
    """A QMP session; events are kept in .events as they come."""

    def __init__(self, path):
        deadline = time.time() + 20
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.sock.makefile("rw")
        self.greeting = json.loads(self.file.readline())
        self.events = []
        self.ask("qmp_capabilities")

    def ask(self, command, **args):
        """The whole answer. Underscores of names become dashes."""
        return self.raw(command, {k.replace("_", "-"): v for k, v in args.items()})

    def raw(self, command, args):
        """The same with arguments whose names have underscores."""
        self.file.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                return answer
            self.events.append(answer)

    def __call__(self, command, **args):
        answer = self.ask(command, **args)
        assert "return" in answer, (command, answer)
        return answer["return"]

    def event(self, name, timeout=30):
        """Waits for an event, which is taken out of .events."""
        deadline = time.time() + timeout
        while True:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e["data"] if "data" in e else {}
            assert time.time() < deadline, (name, self.events)
            self.sock.settimeout(max(0.1, deadline - time.time()))
            line = json.loads(self.file.readline())
            self.sock.settimeout(None)
            self.events.append(line)


class Mini:
    """with Mini(binary, folder, "-M", "q35", ...) as guest: guest("ls /sys/class/net")"""

    def __init__(self, binary, folder, *args, append=""):
        self.dir = tempfile.TemporaryDirectory()
        self.path = f"{self.dir.name}/qmp"
        self.child = pexpect.spawn(
            str(binary),
            ["-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-chardev", "stdio,id=con",
             "-serial", "chardev:con", "-qmp", f"unix:{self.path},server=on,wait=off",
             "-kernel", f"{folder}/vmlinuz", "-initrd", f"{folder}/initrd.img",
             "-append", f"console=ttyS0 rdinit=/init quiet panic=-1 {append}", *map(str, args)],
            timeout=120, encoding="utf-8", codec_errors="replace", echo=False)
        self.qmp_session = None

    def __enter__(self):
        self.child.expect("mini# ")
        self.child.sendline("stty -echo")
        self.child.expect("mini# ")
        return self

    def __exit__(self, *error):
        self.child.close(force=True)
        self.dir.cleanup()

    @property
    def qmp(self):
        if self.qmp_session is None:
            self.qmp_session = Qmp(self.path)
        return self.qmp_session

    def __call__(self, command, timeout=120):
        self.child.sendline(command)
        self.child.expect("mini# ", timeout=timeout)
        return self.child.before.replace("\r", "").strip()

    def until(self, command, word, timeout=30):
        """Repeats a command until its output has the word."""
        deadline = time.time() + timeout
        while word not in (text := self(command)):
            assert time.time() < deadline, text
            time.sleep(0.2)
        return text

    def poweroff(self):
        self.child.sendline("poweroff -f")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0, self.child.signalstatus


def make(script, folder):
    subprocess.run([script, folder], check=True, stdout=subprocess.DEVNULL)
    return folder
