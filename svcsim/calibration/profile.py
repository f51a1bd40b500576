"""Cost profiles: the primitive costs of one kernel on one machine, each with its basis and source.

A profile is a TOML file: shipped by name (`linux-6.18-measured`) or the user's own by path. A user's file may say
`base = "linux-6.18-measured"` in `[profile]` and give only what was measured anew; a mode may inherit another's entries.
Every mistake is an `InputError` with file and line.

>>> load_profile().entry("kernel.neighbour_timeout").base_value
3060000000.0
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from svcsim.calibration.entries import BASES, COMMON, MODES, PER_MODE, Basis, Entry, units_of, value_mistake
from svcsim.calibration.reader import Backend, ProfileReader, RawProfile
from svcsim.errors import InputError, Problem, UsageError
from svcsim.spelling import nearest

DEFAULT_PROFILE = "linux-6.18-measured"
_FOLDER = Path(__file__).with_name("profiles")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?)\s*([A-Za-z]+|1)?")


@dataclass(frozen=True, slots=True)
class Profile:
    """All entries by path; those that a mode inherits are resolved. `overridden` names the ones that a user replaced."""

    name: str
    title: str
    iptables_backend: Backend
    entries: Mapping[str, Entry]
    overridden: tuple[str, ...] = ()

    def entry(self, path: str) -> Entry:
        """The entry at a path such as `path.forward` or `modes.ipvs.first_packet`; `UsageError` if there is none."""
        entry = self.entries.get(path)
        if entry is None:
            raise UsageError(f"profile {self.name} has no entry {path!r}{nearest(path, self.entries)}")
        return entry

    def mode_key(self, mode: str, backend: str | None = None, *, comments: bool = True) -> str:
        """The profile's name of a proxy mode: `iptables` by back end (the profile's own by default) and comments.

        >>> load_profile().mode_key("iptables"), load_profile().mode_key("iptables", "nft")
        ('iptables', 'iptables-nft')
        """
        if mode == "iptables":
            if (backend or self.iptables_backend) == "nft":
                return "iptables-nft"
            return "iptables" if comments else "iptables-without-comments"
        if mode not in MODES:
            raise UsageError(f"no costs are known for proxy mode {mode!r}{nearest(mode, MODES)}")
        return mode

    def entries_of(self, mode_key: str) -> list[Entry]:
        """The entries that take part in a run of this mode, in the profile's order."""
        others = ("modes.",) if mode_key == "userspace" else ("modes.", "userspace.")
        prefix = f"modes.{mode_key}."
        return [entry for path, entry in self.entries.items() if path.startswith(prefix) or not path.startswith(others)]

    def bases(self, mode_key: str) -> dict[Basis, int]:
        """How many entries of each basis take part in a run of this mode."""
        counts = Counter(entry.basis for entry in self.entries_of(mode_key))
        return {basis: counts[basis] for basis in BASES if counts[basis]}

    def describe(self, mode_key: str) -> str:
        """One line for the run's header: the profile, and how many of its entries are not measured.

        >>> load_profile().describe("nftables").split(" costs, ")[0]
        'linux-6.18-measured: 55'
        """
        counts = self.bases(mode_key)
        total = sum(counts.values())
        kinds = ", ".join(f"{number} {basis}" for basis, number in counts.items() if basis != "measured")
        text = f"{self.name}: {total} costs, {total - counts.get('measured', 0)} not measured"
        text = f"{text} ({kinds})" if kinds else text
        return f"{text}, {len(self.overridden)} overridden" if self.overridden else text

    def with_overrides(self, overrides: Mapping[str, float | str]) -> Profile:
        """The same profile with other values: bare numbers in the entry's own unit, or text such as `9.5 ns`.

        They count as assumed. A mode's entry is overridden for that mode alone, also where another inherits it. Raises
        `UsageError` for a path that does not exist or a value that cannot be.
        """
        if not overrides:
            return self
        entries = dict(self.entries)
        for path, value in overrides.items():
            entry = self.entry(path)
            number, unit = quantity(path, value, entry.unit)
            inferred = f"instead of {entry.value:g} {entry.unit}"
            entries[path] = replace(
                entry, value=number, unit=unit, spread=None, basis="assumed", source="override", inferred=inferred
            )
        return replace(self, entries=entries, overridden=tuple(sorted({*self.overridden, *overrides})))


def shipped_profiles() -> list[str]:
    """Names of the profiles that come with svcsim."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load_profile(name_or_path: str | Path | None = None, overrides: Mapping[str, float | str] | None = None) -> Profile:
    """A profile by its name, or from a user's file (a `Path`, or text that ends with .toml); the default without either.

    Raises `UsageError` for a name that is not shipped, `InputError` for every mistake in a file.
    """
    if name_or_path is None:
        profile = _shipped(DEFAULT_PROFILE)
    elif isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        profile = _from_file(Path(name_or_path))
    else:
        profile = _shipped(name_or_path)
    return profile.with_overrides(overrides or {})


def quantity(path: str, value: float | str, unit: str) -> tuple[float, str]:
    """The number and unit that a user gives an entry: `9.5` in the entry's unit, or `9.5ns`; `UsageError` if it cannot be."""
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
        units = units_of(path)
        if match is None or (match.group(2) or unit) not in units:
            raise UsageError(f"cost {path}: a number with a unit is expected ({', '.join(units)}), not {value[:40]!r}")
        value, unit = float(match.group(1)), match.group(2) or unit
    mistake = value_mistake(path, value)
    if mistake:
        raise UsageError(f"cost {path}: {mistake}")
    return float(value), unit


def parse_profile(text: str, file: str) -> Profile:
    """The profile that a TOML text describes; `file` is its name in error messages."""
    reader = ProfileReader(text, file)
    raw = reader.raw
    base: RawProfile | None = None
    if raw.base is not None:
        if raw.base in shipped_profiles():
            base = _raw(raw.base)
        else:
            reader.problem("profile.base", f"{raw.base!r} is no profile of svcsim{nearest(raw.base, shipped_profiles())}")
    entries = {**(base.entries if base else {}), **raw.entries}
    inherits = {**(base.inherits if base else {}), **raw.inherits}
    if not reader.problems:
        entries = _in_order(entries, inherits)
        wanted = [*COMMON, *(f"modes.{mode}.{name}" for mode in MODES for name in PER_MODE)]
        for path in wanted:
            if path not in entries:
                reader.problem(path, f'is missing (with base = "{DEFAULT_PROFILE}" in [profile] it is that profile\'s)')
    if reader.problems:
        raise InputError(reader.problems)
    name = raw.name or ""
    backend = raw.backend or (base.backend if base else None) or "legacy"
    return Profile(name, raw.title or name, backend, entries)


def _in_order(given: Mapping[str, Entry], inherits: Mapping[str, str]) -> dict[str, Entry]:
    """All entries in the order of the schema; a mode has what it inherits, at its own path."""
    entries = {path: given[path] for path in COMMON if path in given}
    for mode in MODES:
        for name in PER_MODE:
            source: str | None = mode
            visited: set[str] = set()
            while source is not None and source not in visited and f"modes.{source}.{name}" not in given:
                visited.add(source)
                source = inherits.get(source)
            entry = given.get(f"modes.{source}.{name}")
            if entry is not None:
                entries[f"modes.{mode}.{name}"] = replace(entry, path=f"modes.{mode}.{name}")
    return entries


@lru_cache(maxsize=8)
def _shipped(name: str) -> Profile:
    return parse_profile(_shipped_text(name), f"{name}.toml")


def _raw(name: str) -> RawProfile:
    return ProfileReader(_shipped_text(name), f"{name}.toml").raw


def _shipped_text(name: str) -> str:
    known = shipped_profiles()
    if name not in known:
        raise UsageError(f"no cost profile {name!r}{nearest(name, known)}; a file of your own ends with .toml")
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def _from_file(path: Path) -> Profile:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError:
        raise InputError([Problem(str(path), 1, 1, "", "is not UTF-8 text")]) from None
    return parse_profile(text, str(path))
