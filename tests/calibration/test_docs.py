"""The documentation names every entry that a profile has."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.calibration.entries import COMMON, MODES, PER_MODE
from svcsim.calibration.profile import load_profile

TEXT = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*COMMON, *PER_MODE, *MODES])
def test_every_entry_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_the_header_shown_is_the_shipped_profiles() -> None:
    assert load_profile().describe("iptables") in TEXT
