"""Reading the pages of docs/: sections, tables, examples, and the anchors that GitHub makes of headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_HEADING = re.compile(r"^(#+) (.+)$")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Section:
    """A heading without its marks, what stands below it up to the next heading, and the rows of its tables."""

    title: str
    text: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str) -> list[Section]:
    """The sections of a page in order; what stands in fenced blocks is no heading."""
    found: list[Section] = [Section("")]
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        match = None if fenced else _HEADING.match(line)
        if match:
            found.append(Section(match.group(2)))
            continue
        section = found[-1]
        section.text += line + "\n"
        if not fenced and line.startswith("|") and not line.startswith("|---"):
            section.rows.append(tuple(cell.strip() for cell in line.strip("|").split(" | ")))
    return found


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for section in sections(text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", section.title).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(name if not number else f"{name}-{number}")
    return found
