# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command of README's tour runs and succeeds."""
import re
import subprocess

import pytest
from conftest import BUILD, TOP


def tour():
    text = (TOP / "README.md").read_text().split("## Five-minute tour")[1]
    return [line.split("#")[0].strip() for line in re.findall(r"^    (build/.*)$", text, re.M)]


@pytest.mark.parametrize("command", tour())
def test_tour(command):
    command = command.replace("build/", str(BUILD) + "/", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout
