# SPDX-License-Identifier: GPL-2.0-or-later
"""The repository's own promises: files that README and the packaging rely on."""
from conftest import TOP


def test_licences_are_there():
    assert "GNU GENERAL PUBLIC LICENSE" in (TOP / "COPYING").read_text()
    assert "LESSER GENERAL PUBLIC LICENSE" in (TOP / "COPYING.LESSER").read_text()
