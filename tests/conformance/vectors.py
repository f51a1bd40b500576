"""Finding and reading vectors: one folder a kind, one JSON file a case (also .json.gz and .json.xz)."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

SUFFIXES = (".json", ".json.gz", ".json.xz")


class VectorError(Exception):
    """A vector, or a folder of vectors, that is not as the format says."""


class MissingFieldError(KeyError):
    """A field that a vector must have and has not."""

    def __init__(self, field: str, present: Iterable[str]) -> None:
        super().__init__(field)
        self.field = field
        self.present = sorted(map(str, present))

    def __str__(self) -> str:
        return f"the vector lacks the field {self.field!r}; there are: {', '.join(self.present) or 'none'}"


class Fields(dict):
    """A JSON object whose missing fields are named when they are asked for."""

    def __missing__(self, field: str) -> NoReturn:
        raise MissingFieldError(field, self)


@dataclass(frozen=True)
class Case:
    """One vector: its kind, its name within the kind and its file."""

    kind: str
    name: str
    path: Path

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"


def _name(path: Path, folder: Path) -> str | None:
    relative = path.relative_to(folder).as_posix()
    for suffix in SUFFIXES:
        if relative.endswith(suffix):
            return relative.removesuffix(suffix)
    return None


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def find_cases(directory: Path, known: Iterable[str]) -> list[Case]:
    """All cases under a folder of kinds (or in that of one kind), sorted; VectorError for unknown kinds."""
    known = set(known)
    if not directory.is_dir():
        raise VectorError(f"no folder of vectors: {directory}")
    entries = sorted(entry for entry in directory.iterdir() if not _is_hidden(entry))
    stray = [entry.name for entry in entries if entry.is_file() and _name(entry, directory) is not None]
    if stray and directory.name in known:
        folders = [directory]
    elif stray:
        raise VectorError(f"{directory}: vectors stand outside the folder of a kind: {', '.join(stray)}")
    else:
        folders = [entry for entry in entries if entry.is_dir()]
    if unknown := [folder.name for folder in folders if folder.name not in known]:
        raise VectorError(
            f"{directory}: unknown kind of vectors: {', '.join(unknown)} (known: {', '.join(sorted(known))})"
        )
    cases: dict[str, Case] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = _name(path, folder) if path.is_file() and not _is_hidden(path) else None
            if name is None:
                continue
            case = Case(folder.name, name, path)
            if case.id in cases:
                raise VectorError(f"two files for {case.id}: {cases[case.id].path} and {path}")
            cases[case.id] = case
    if not cases:
        raise VectorError(f"no vectors under {directory}")
    return list(cases.values())


def _object(pairs: list[tuple[str, object]]) -> Fields:
    fields = Fields(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise VectorError(f"the field {twice!r} stands twice in one object")
    return fields


def _constant(text: str) -> NoReturn:
    raise VectorError(f"{text} is not a JSON number")


def load(path: Path) -> Fields:
    """The vector in a file; VectorError, naming the file, when it cannot be read as one JSON object."""
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
        elif path.name.endswith(".xz"):
            data = lzma.decompress(data)
        vector = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise VectorError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise VectorError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    except (OSError, EOFError, lzma.LZMAError, RecursionError, VectorError) as error:
        raise VectorError(f"{path}: {error}") from None
    if not isinstance(vector, Fields):
        raise VectorError(f"{path}: a vector is a JSON object, not {type(vector).__name__}")
    return vector
