#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every test and prints one closing line, "N passed, N failed, N skipped".

Three parts: meson's tests (unit, lint, fuzz corpus) in the normal build, the same unit and fuzz
tests under ASan and UBSan, and the functional tests with pytest. --soak runs the long forms:
VIREO_SOAK=1 is what a test looks at to choose its counts.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def meson(self, build, *args):
        """Runs `meson test` there and counts its own log."""
        log = build / "meson-logs" / "testlog.json"
        log.unlink(missing_ok=True)
        done = subprocess.run(["meson", "test", "-C", build, "--print-errorlogs", *args], cwd=TOP)
        if not log.exists():
            self.failed += done.returncode != 0
            return
        for line in log.read_text().splitlines():
            result = json.loads(line)["result"]
            if result in ("OK", "EXPECTEDFAIL"):
                self.passed += 1
            elif result == "SKIP":
                self.skipped += 1
            else:
                self.failed += 1

    def pytest(self, build, *args):
        env = dict(os.environ, VIREO_BUILD=str(build))
        folder = TOP / "tests" / "functional"
        done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *args, folder],
                              cwd=TOP, env=env, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
        self.passed += counts.get("passed", 0)
        self.failed += counts.get("failed", 0) + counts.get("error", 0)
        self.skipped += counts.get("skipped", 0)
        if done.returncode not in (0, 1, 5):
            self.failed += 1


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=pathlib.Path, required=True, help="normal build folder")
    ap.add_argument("--sanitize", type=pathlib.Path, help="build folder with sanitizers")
    ap.add_argument("--soak", action="store_true", help="long forms")
    ap.add_argument("-k", dest="only", help="functional tests that match this expression only")
    opts = ap.parse_args()
    if opts.soak:
        os.environ["VIREO_SOAK"] = "1"
    tally = Tally()
    if not opts.only:
        tally.meson(opts.build.resolve())
        if opts.sanitize:
            tally.meson(opts.sanitize.resolve(), "--suite", "unit", "--suite", "fuzz", "--timeout-multiplier", "4")
    tally.pytest(opts.build.resolve(), *(["-k", opts.only] if opts.only else []))
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
