"""Reading a profile's TOML text: entries, headings and inheritance, every mistake with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from svcsim.calibration.entries import BASES, COMMON, MODES, PER_MODE, Basis, Entry, units_of, value_mistake
from svcsim.errors import InputError, Problem
from svcsim.spelling import nearest

_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([\w.\"'-]+)\s*=")
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_FIELDS = ("value", "unit", "spread", "basis", "source", "inferred")
_NEEDED = ("value", "unit", "basis", "source")
_HEADING = ("name", "title", "base", "iptables_backend")
_BACKENDS = ("legacy", "nft")

Backend = Literal["legacy", "nft"]


@dataclass(slots=True)
class RawProfile:
    """What one file says, before a base and inheritance fill in the rest."""

    name: str | None
    title: str | None
    base: str | None
    backend: Backend | None
    inherits: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)


class ProfileReader:
    """Reads one text; `problems` collects every mistake, `raw` is what could be read."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._lines = dict(_places(text))
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = _PLACE.search(str(error))
            line, column = (int(place.group(1)), int(place.group(2))) if place else (1, 1)
            message = _PLACE.sub("", str(error)).strip()
            raise InputError([Problem(file, line, column, "", f"is not TOML: {message}")]) from None
        except RecursionError:
            raise InputError([Problem(file, 1, 1, "", "is nested too deeply")]) from None
        self.raw = self._heading(data.pop("profile", {}))
        for group, content in data.items():
            if group == "modes":
                self._modes(content)
            else:
                self._group(group, content, [path for path in COMMON if path.startswith(f"{group}.")])

    def problem(self, path: str, message: str) -> None:
        """Note a mistake at the place of a path."""
        at = path
        while at and at not in self._lines:
            at = at.rpartition(".")[0]
        self.problems.append(Problem(self.file, self._lines.get(at, 1), 1, path, message))

    def _heading(self, data: object) -> RawProfile:
        raw = RawProfile(None, None, None, None)
        if not isinstance(data, dict):
            self.problem("profile", "a table is expected")
            return raw
        for key, value in data.items():
            path = f"profile.{key}"
            if key not in _HEADING:
                self.problem(path, f"no such field{nearest(key, _HEADING)}")
            elif not isinstance(value, str) or not value:
                self.problem(path, "a string is expected")
            elif key == "iptables_backend":
                if value in _BACKENDS:
                    raw.backend = cast(Backend, value)
                else:
                    self.problem(path, f"{value!r} is no back end of iptables{nearest(value, _BACKENDS)}")
            else:
                setattr(raw, key, value)
        if raw.name is None:
            self.problem("profile.name", "a profile has a name")
        return raw

    def _modes(self, content: object) -> None:
        if not isinstance(content, dict):
            self.problem("modes", "a table of modes is expected")
            return
        for mode, table in content.items():
            path = f"modes.{mode}"
            if mode not in MODES:
                self.problem(path, f"no such mode{nearest(mode, MODES)}")
            elif isinstance(table, dict):
                parent = table.pop("inherits", None)
                if isinstance(parent, str) and parent in MODES and parent != mode:
                    self.raw.inherits[mode] = parent
                elif parent is not None:
                    self.problem(f"{path}.inherits", f"another mode is expected{nearest(str(parent), MODES)}")
                self._group(path, table, [f"{path}.{name}" for name in PER_MODE])
            else:
                self.problem(path, "a table of entries is expected")

    def _group(self, group: str, content: object, allowed: list[str]) -> None:
        if not allowed:
            groups = {path.partition(".")[0] for path in COMMON} | {"modes", "profile"}
            self.problem(group, f"no such group{nearest(group, groups)}")
        elif not isinstance(content, dict):
            self.problem(group, "a table of entries is expected")
        else:
            for name, table in content.items():
                path = f"{group}.{name}"
                if path not in allowed:
                    self.problem(path, f"no such entry{nearest(name, [one.rpartition('.')[2] for one in allowed])}")
                elif not isinstance(table, dict):
                    self.problem(path, "a table with value, unit, basis and source is expected")
                else:
                    self._entry(path, table)

    def _entry(self, path: str, table: Mapping[str, Any]) -> None:
        before = len(self.problems)
        for key in table:
            if key not in _FIELDS:
                self.problem(f"{path}.{key}", f"no such field{nearest(key, _FIELDS)}")
        for key in _NEEDED:
            if key not in table:
                self.problem(path, f"{key} is missing")
        if len(self.problems) > before:
            return
        value, unit, basis = table["value"], table["unit"], table["basis"]
        units = units_of(path)
        if unit not in units:
            self.problem(f"{path}.unit", f"{str(unit)[:20]!r} is not a unit of this entry (valid: {', '.join(units)})")
        mistake = value_mistake(path, value)
        if mistake:
            self.problem(f"{path}.value", mistake)
        if basis not in BASES:
            self.problem(f"{path}.basis", f"{str(basis)[:20]!r} is no basis{nearest(str(basis), BASES)}")
        texts = (table["source"], table.get("inferred", ""))
        if not all(isinstance(text, str) for text in texts) or not texts[0]:
            self.problem(path, "source and inferred are strings, and a source says where the value comes from")
        spread = self._spread(path, table.get("spread"))
        if len(self.problems) == before:
            self.raw.entries[path] = Entry(path, float(value), unit, spread, cast(Basis, basis), *texts)

    def _spread(self, path: str, spread: object) -> tuple[float, float] | None:
        if spread is None or spread == "exact":
            return None
        if isinstance(spread, list) and len(spread) == 2 and not any(value_mistake("", end) for end in spread):
            low, high = spread
            if low <= high:
                return float(low), float(high)
        self.problem(f"{path}.spread", "two numbers, the lower first, or \"exact\" are expected")
        return None


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Paths of tables and keys with the line where each stands first; good enough for messages."""
    header = ""
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        match = _HEADER.match(line)
        if match:
            header = path = match.group(1).strip().replace('"', "")
        else:
            match = _KEY.match(line)
            if match is None:
                continue
            key = match.group(1).replace('"', "")
            path = f"{header}.{key}" if header else key
        while path and path not in seen:
            seen.add(path)
            yield path, number
            path = path.rpartition(".")[0]
