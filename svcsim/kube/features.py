"""Which parts of the Service layer a version of Kubernetes has: one table, `data/features.toml`, with the source of each line.

>>> [feature.name for feature in features() if feature.kinds == ("Ingress",) and not feature.paths]
['ingress']
>>> feature_named("mode-ipvs").lack("1.8.0-alpha.3")
'exists from Kubernetes 1.8.0-beta.0 on, not in 1.8.0-alpha.3'
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:-(alpha|beta|rc)\.(\d+))?.*")
_STAGES = {"alpha": 0, "beta": 1, "rc": 2}
RELEASED = (3, 0)
_STEP = re.compile(r'"([^"]+)"|([^.\[\]"]+)|(\[\])')
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class KubernetesVersion:
    """A version; a bare `1.8` is the last patch of its minor, a pre-release comes before its release."""

    minor: tuple[int, int]
    patch: int
    stage: tuple[int, int] = RELEASED

    @classmethod
    def parse(cls, text: str) -> KubernetesVersion:
        """The version that a text names, such as `1.31`, `v1.8.0-beta.0`; ValueError if it names none."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError(f"not a version of Kubernetes: {text!r}")
        major, minor, patch, stage, number = match.groups()
        return cls(
            (int(major), int(minor)), 1_000 if patch is None else int(patch), (_STAGES[stage], int(number)) if stage else RELEASED
        )

    def has(self, since: str) -> bool:
        """Whether what came with a version is there. What came with a minor is there in its pre-releases too."""
        other = KubernetesVersion.parse(since)
        return self.minor >= other.minor if other.patch == 1_000 else self >= other


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of the table; see the head of the data file."""

    name: str
    kinds: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    since: str
    source: str
    alpha: str = ""
    until: str = ""
    deprecated: str = ""
    gate: str = ""
    values: tuple[Any, ...] = ()
    several: bool = False
    differing: str = ""
    where: tuple[tuple[tuple[str, ...], Any], ...] = ()
    unchecked: str = ""

    def lack(self, text: str) -> str:
        """Why a version does not have it, as the end of a sentence; empty if it does. ValueError for a text that is none."""
        version = KubernetesVersion.parse(text)
        if self.until and version.has(self.until):
            return f"was removed in Kubernetes {self.until}, so {text} does not have it"
        if version.has(self.since):
            return ""
        if self.alpha and version.has(self.alpha):
            return f"is off by default in {text} and on from Kubernetes {self.since} on (feature gate {self.gate})"
        return f"exists from Kubernetes {self.alpha or self.since} on, not in {text}"

    def is_deprecated_in(self, text: str) -> bool:
        """Whether a version advises against it."""
        return bool(self.deprecated) and KubernetesVersion.parse(text).has(self.deprecated)

    def found_in(self, data: object) -> Iterator[tuple[Path, Any]]:
        """Where an object's data uses it, with the value; at the object itself if it is the kind."""
        if any(value not in [found for _, found in _at(data, steps)] for steps, value in self.where):
            return
        if not self.paths:
            yield (), None
        for steps in self.paths:
            for path, value in _at(data, steps):
                if value is not None and self._is_meant(value):
                    yield path, value

    def _is_meant(self, value: Any) -> bool:
        if self.values and value not in self.values:
            return False
        if self.differing:
            return isinstance(value, list) and len({_item_of(item, self.differing) for item in value}) > 1
        return not self.several or len(value.split(",") if isinstance(value, str) else value) > 1


def _at(data: object, steps: tuple[str, ...], walked: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not steps:
        yield walked, data
    elif steps[0] == "[]":
        for i, item in enumerate(data if isinstance(data, list) else ()):
            yield from _at(item, steps[1:], (*walked, i))
    elif isinstance(data, Mapping) and steps[0] in data:
        yield from _at(data[steps[0]], steps[1:], (*walked, steps[0]))


def _item_of(item: object, key: str) -> str:
    """A list's item by one of its keys, as text, empty where the key is left out; the protocol of a port is TCP then."""
    value = item.get(key) if isinstance(item, Mapping) else None
    return str(value) if value is not None else "TCP" if key == "protocol" else ""


def _steps(path: str) -> tuple[str, ...]:
    return tuple(quoted or name or item for quoted, name, item in _STEP.findall(path))


@functools.cache
def features() -> tuple[Feature, ...]:
    """The whole table."""
    text = files("svcsim.kube").joinpath("data/features.toml").read_text(encoding="utf-8")
    return tuple(
        Feature(
            name=name, kinds=tuple(entry["kind"]), paths=tuple(map(_steps, entry.get("path", ()))), since=entry["since"],
            source=entry["source"],
            alpha=entry.get("alpha", ""), until=entry.get("until", ""),
            deprecated=entry.get("deprecated", ""), gate=entry.get("gate", ""),
            values=tuple(entry.get("values", ())), several=entry.get("several", False), differing=entry.get("differing", ""),
            where=tuple((_steps(path), value) for path, value in entry.get("where", {}).items()),
            unchecked=entry.get("unchecked", ""),
        )
        for name, entry in tomllib.loads(text).items()
    )


def feature_named(name: str) -> Feature:
    """The line of that name; KeyError if there is none."""
    return {feature.name: feature for feature in features()}[name]
