# SPDX-License-Identifier: GPL-2.0-or-later
"""What the functional tests share: where the programs are, and how long a test may be."""
import os
import pathlib

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VIREO_BUILD", TOP / "build"))
SOAK = bool(os.environ.get("VIREO_SOAK"))


@pytest.fixture
def build():
    """The build folder under test."""
    return BUILD


def times(short, soak):
    """The count of a repeated test: short in `make test`, soak in `make soak`."""
    return soak if SOAK else short
