"""The scenarios that svcsim ships as examples: what each asks, and its files.

They stand in `scenarios/` of the repository and in `svcsim/examples/` of an installation.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from svcsim.errors import UsageError
from svcsim.spelling import nearest

_INSTALLED = Path(__file__).parents[1] / "examples"
_REPOSITORY = Path(__file__).parents[2] / "scenarios"


@dataclass(frozen=True, slots=True)
class Example:
    """A shipped scenario."""

    name: str
    """Its path below the folder, without the suffix: `failover`, `types/nodeport-local`."""
    path: Path

    @property
    def question(self) -> str:
        """The first sentence of its first comment: what it asks."""
        words: list[str] = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#") or (words and not line.strip("# ")):
                break
            words.append(line.strip("# "))
        text = " ".join(words)
        ends = [place for sign in "?." if (place := text.find(sign + " ")) >= 0]
        return text[: min(ends) + 1] if ends else text


def folder() -> Path:
    """Where the examples are. UsageError if the installation has none."""
    for place in (_INSTALLED, _REPOSITORY):
        if place.is_dir():
            return place
    raise UsageError("this installation has no examples")


def examples() -> Iterator[Example]:
    """All of them, by name, those of the top folder first."""
    root = folder()
    paths = [path for path in root.rglob("*.yaml") if "manifests" not in path.relative_to(root).parts]
    for path in sorted(paths, key=lambda path: (len(path.relative_to(root).parts), path)):
        yield Example(path.relative_to(root).with_suffix("").as_posix(), path)


def example(name: str) -> Example:
    """The example of a name; UsageError with the nearest one if there is none."""
    found = {each.name: each for each in examples()}
    wanted = name.removesuffix(".yaml").removeprefix("scenarios/")
    if wanted not in found:
        raise UsageError(f"there is no example {name!r}{nearest(wanted, found) or ' (svcsim examples lists them)'}")
    return found[wanted]


def copy(one: Example, target: Path) -> list[Path]:
    """Copy an example with the manifests beside it into a folder; the files written. UsageError if one is in the way."""
    root = folder()
    files = [one.path]
    for manifests in {one.path.parent / "manifests", root / "manifests"}:
        if manifests.is_dir():
            files += sorted(path for path in manifests.glob("*.yaml") if _names(one.path, path))
    text = one.path.read_text(encoding="utf-8")
    files += sorted(path for path in one.path.parent.glob("*.csv") if path.name in text)
    written = []
    for path in files:
        place = target / path.relative_to(root)
        if place.exists() and place.read_bytes() != path.read_bytes():
            raise UsageError(f"{place} exists already and is another file: give another folder with --out")
        written.append(place)
    for path, place in zip(files, written, strict=True):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        except OSError as error:
            raise UsageError(f"can't write {place}: {error.strerror or error}") from None
    return written


def _names(scenario: Path, manifest: Path) -> bool:
    """Whether a scenario reads a manifest file."""
    return f"manifests/{manifest.name}" in scenario.read_text(encoding="utf-8")
