"""docs/model.md: each statement names the tests that hold it, and these tests exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT, page, sections

TESTS = ROOT / "tests"
STATEMENTS = [
    (section.title, row)
    for section in sections(page("model.md"))
    for row in section.rows
    if row[-1] != "test" and len(row) in {len(head) for head in section.rows if head[-1] == "test"}
]
"""The rows of the tables whose last column is `test`; a table of measured figures has more columns."""


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_the_page_states_many_things_in_every_section() -> None:
    by_section = {section.title: len([1 for title, _ in STATEMENTS if title == section.title])
                  for section in sections(page("model.md"))[2:]}
    assert len(by_section) >= 10
    assert min(by_section.values()) >= 5
    assert sum(by_section.values()) >= 70


@pytest.mark.parametrize("row", [row for _, row in STATEMENTS], ids=lambda row: row[0][:60])
def test_each_statement_names_tests_that_there_are(row: tuple[str, ...]) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[-1])
    assert named, "a statement without a test"
    for path, name in named:
        assert (TESTS / path).is_file(), path
        assert name in names_in(path), f"{path} has no {name}"
