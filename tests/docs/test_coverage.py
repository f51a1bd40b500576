"""docs/coverage.md names code, scenarios and tests that exist, for every statement."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split("|")]
    for line in (ROOT / "docs" / "coverage.md").read_text().splitlines() if re.match(r"\| [SU]\d+ ", line)
]


def test_every_statement_has_its_row_once_in_order() -> None:
    assert [row[0] for row in ROWS] == [*(f"S{number}" for number in range(1, 23)), *(f"U{number}" for number in range(1, 6))]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_row_names_exists(row: list[str]) -> None:
    _, _, code, scenarios, tests = row
    for cell in (code, tests):
        names = re.findall(r"`([^`]+)`", cell)
        assert names
        assert [name for name in names if not (ROOT / name).exists()] == []
    names = re.findall(r"`([^`]+)`", scenarios)
    assert names
    assert [name for name in names if not (ROOT / "scenarios" / f"{name}.yaml").is_file()] == []


def test_the_packages_and_the_layout_are_those_that_were_asked_for() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[><=]", name)[0] for name in dependencies} >= {"simpy", "networkx", "numpy", "matplotlib", "click"}
    for name in ("svcsim", "scenarios", "notebooks", "tests", "pyproject.toml", "README.md"):
        assert (ROOT / name).exists()
