"""Text to documents, by the events of PyYAML's parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from svcsim.errors import InputError, Problem
from svcsim.yamlsource.building import Builder, Stopped
from svcsim.yamlsource.places import Document
from svcsim.yamlsource.scalars import NULL
from svcsim.yamlsource.text import read

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def load(path: str | Path, minor: list[Problem] | None = None) -> list[Document]:
    """All documents of a YAML or JSON file that are not empty; see `read` and `parse` for the errors."""
    source = read(path)
    return parse(source.text, source.name, minor)


def _is_tab(text: str, line: int, column: int) -> bool:
    """Whether a tab stands at that place, with nothing but blanks before it."""
    lines = text.split("\n")
    found = lines[line] if line < len(lines) else ""
    return found[column : column + 1] == "\t" and not found[:column].strip()


_BRACKETED = re.compile(r"[\w./-]+\[[\w*]+\]", re.ASCII)


def _bracketed(text: str, line: int, column: int) -> str:
    """The plain value with brackets, as `deployment/web[1]`, that was written up to that place; empty if there is none."""
    lines = text.split("\n")
    found = lines[line] if line < len(lines) else ""
    return next((match.group() for match in _BRACKETED.finditer(found) if match.start() < column <= match.end()), "")


def parse(text: str, name: str, minor: list[Problem] | None = None) -> list[Document]:
    """All documents of a text that are not empty. InputError with every mistake that could be told apart; never another error.

    Mistakes that leave the structure intact, such as a number too large or a key that stands twice, are added to the list
    `minor` if there is one, so that the caller can go on to find others; otherwise they raise as all do.
    """
    if text.lstrip()[:1] in {"{", "["}:
        text = _SURROGATES.sub(_joined, text)
    builder = Builder(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is not None and _is_tab(text, mark.line, mark.column):
            message = "a tab cannot indent; use spaces"
        elif mark is not None and (written := _bracketed(text, mark.line, mark.column)):
            message = f"a value with brackets stands in quotes here: '{written}'"
        builder.broken(place, f"not valid YAML: {message}")
    except yaml.YAMLError as error:
        builder.broken((1, 1), f"not valid YAML: {str(error).splitlines()[0]}")
    except Stopped:
        builder.whole = False
    if builder.problems and (minor is None or not builder.whole):
        raise InputError(builder.problems)
    if minor is not None:
        minor += builder.problems
    if not builder.documents:
        raise InputError([Problem(name, 1, 1, "", "the file is empty")])
    return builder.documents


def scalar(text: str) -> object:
    """What a value on the command line means: `4` a number, `true` a boolean, `[a, b]` a list, `null` nothing, all else text."""
    if text.strip() in NULL:
        return None
    try:
        documents = parse(text, "value")
    except InputError:
        return text
    return documents[0].root if len(documents) == 1 else text


def _joined(match: re.Match[str]) -> str:
    high, low = int(match.group(1), 16), int(match.group(2), 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def mappings(documents: list[Document]) -> Iterator[Document]:
    """The documents whose root is a mapping; InputError with all others."""
    wrong = [document.problem((), "a mapping is expected here") for document in documents if not isinstance(document.root, dict)]
    if wrong:
        raise InputError(wrong)
    yield from documents
