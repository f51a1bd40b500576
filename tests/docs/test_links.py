"""Links of README.md and docs/ lead somewhere: to a file that there is, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
_LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


def links(path: Path) -> list[str]:
    """The targets of a page's links, those in fenced blocks left out."""
    return _LINK.findall(re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_each_link_leads_to_a_file_and_a_heading_that_there_are(path: Path) -> None:
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_names_every_page_of_the_folder() -> None:
    index = DOCS / "README.md"
    assert {path.name for path in DOCS.glob("*.md")} - {index.name} <= set(links(index))
