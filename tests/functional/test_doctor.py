# SPDX-License-Identifier: GPL-2.0-or-later
"""vireo doctor: which engine, why, what is missing."""
import os
import subprocess

import pytest
from conftest import BUILD


@pytest.mark.skipif(not (BUILD / "vireo-system-x86_64").exists(), reason="no emulator in this build")
def test_everything_is_there():
    done = subprocess.run([BUILD / "vireo", "doctor"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "Virtual machines run here" in done.stdout


def test_missing_emulator_is_told(tmp_path):
    (tmp_path / "vireo").write_bytes((BUILD / "vireo").read_bytes())
    (tmp_path / "vireo").chmod(0o755)
    done = subprocess.run([tmp_path / "vireo", "doctor"], capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, LD_LIBRARY_PATH=str(BUILD / "src" / "client")))
    assert done.returncode == 1
    assert "MISSING" in done.stdout and "vireo-system-x86_64" in done.stdout
