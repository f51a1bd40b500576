"""Reading a scenario file: text to data, files it names inlined, overrides applied, models validated, references checked.

Mistakes are collected as far as they can be told apart and raised together as one `InputError`, each with file, line, column
and path.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from svcsim.errors import InputError, Problem, UsageError
from svcsim.kube.manifests import Manifests, is_list, items_of, read_object
from svcsim.scenario.checks import check
from svcsim.scenario.completion import complete
from svcsim.scenario.distribution import samples
from svcsim.scenario.model import Origin, Scenario
from svcsim.scenario.paths import set_value
from svcsim.scenario.places import Overlay, Places
from svcsim.scenario.trace import UNIT_NS, read_times
from svcsim.validation import plain_kind, validated
from svcsim.yamlsource import DataPath, Document, parse, read
from svcsim.yamlsource import load as load_documents

MAX_MANIFEST_FILES = 1_000


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario of a file (`-`: standard input), with values changed by path, such as `{"run.seed": 2}`.

    InputError with every mistake; UsageError if the file can't be read.
    """
    source = read(path)
    base = Path.cwd() if str(path) == "-" else Path(path).parent
    stem = "scenario" if str(path) == "-" else Path(path).name.removesuffix(".yaml").removesuffix(".yml").removesuffix(".json")
    return loads(source.text, source.name, base=base, name=stem, overrides=overrides)


def loads(
    text: str, file: str = "<scenario>", *, base: Path | None = None, name: str = "scenario",
    overrides: Mapping[str, Any] | None = None,
) -> Scenario:
    """The scenario of a text; files that it names are looked for in `base`."""
    with _without_collection():
        return _loaded(text, file, base or Path.cwd(), name, overrides or {})


def _loaded(text: str, file: str, base: Path, name: str, overrides: Mapping[str, Any]) -> Scenario:
    from svcsim.scenario.expansion import check_comparison

    minor: list[Problem] = []
    documents = parse(text, file, minor)
    scenario_at = _scenario_document(documents)
    reading = _Reading(base, Places(documents[scenario_at]), minor=minor)
    data = dict(documents[scenario_at].root)  # type: ignore[call-overload]
    settled = reading.settle_compared(data, overrides)
    reading.override(data, {path: value for path, value in overrides.items() if not path.startswith("manifests[")})
    reading.inline_files(data)
    reading.inline_profile(data)
    reading.gather(data, [document for i, document in enumerate(documents) if i != scenario_at])
    reading.override(data, {path: value for path, value in overrides.items() if path.startswith("manifests[")})
    reading.read(data)
    scenario, problems = assemble(data, reading.manifests, reading.places, file, name, all_read=not reading.problems)
    left_out: list[int] = []
    if scenario is not None:
        mistakes, left_out = check_comparison(scenario, reading.places)
        problems += mistakes
    found = in_order(reading.minor, reading.problems + problems)
    if found or scenario is None:
        raise InputError(found)
    reading.manifests.spots.clear()
    scenario._origin = replace(scenario.origin, notes=(*settled, *scenario.origin.notes))
    return _without_expectations(scenario, left_out) if left_out else scenario


def _without_expectations(scenario: Scenario, left_out: list[int]) -> Scenario:
    """The scenario without what it expects of variants that an override leaves out."""
    origin = scenario.origin
    kept = [i for i in range(len(scenario.expect)) if i not in left_out]
    lines = {path: line for path, line in origin.lines.items() if not path.startswith("expect[")}
    lines |= {f"expect[{place}]": origin.lines[f"expect[{i}]"] for place, i in enumerate(kept)}
    expect = origin.data["expect"]
    narrowed = scenario.model_copy(update={"expect": tuple(scenario.expect[i] for i in kept)})
    notes = tuple(f"expect[{i}] is of {scenario.expect[i].mode}, which is not run" for i in left_out)
    narrowed._origin = replace(
        origin, lines=lines, notes=(*origin.notes, *notes), data={**origin.data, "expect": [expect[i] for i in kept]}
    )
    return narrowed


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let the garbage collector rest: what is read is kept, and going over it again and again would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def in_order(minor: list[Problem], problems: list[Problem]) -> list[Problem]:
    """Each mistake once, those of one file by line; a value that could not be read (`minor`) is not blamed twice."""
    unreadable = {(problem.file, problem.line, problem.column) for problem in minor}
    told = list(minor)
    seen = set()
    for problem in problems:
        place = (problem.file, problem.line, problem.column)
        if place not in unreadable and (*place, problem.message) not in seen:
            seen.add((*place, problem.message))
            told.append(problem)
    files = list(dict.fromkeys(problem.file for problem in told))
    return sorted(told, key=lambda problem: (files.index(problem.file), problem.line, problem.column))


def assemble(
    data: dict[str, Any], manifests: Manifests, places: Places, file: str, name: str, *, all_read: bool = True
) -> tuple[Scenario | None, list[Problem]]:
    """The complete scenario of data and the objects of its manifests, with the mistakes in it."""
    scenario, problems = validated(Scenario, {**data, "manifests": ()}, places)
    if scenario is None:
        return None, problems
    problems = []
    scenario, objects, added = complete(scenario, manifests, name, places, problems, all_read=all_read)
    lines = {
        f"{part}[{i}]": places.line((part, i))
        for part in ("workloads", "faults", "expect")
        for i in range(len(data.get(part) or ()))
    }
    notes: list[str] = []
    scenario._origin = Origin(file, data, objects, lines, added=added, own=manifests)
    problems += check(scenario, places, notes, all_read=all_read)
    scenario._origin = Origin(file, data, objects, lines, (*objects.notes(), *notes), added, manifests)
    return scenario, problems


def _scenario_document(documents: list[Document]) -> int:
    """Which document is the scenario: the one that says so, or the only one."""
    roots = [document.root for document in documents]
    named = [i for i, root in enumerate(roots) if isinstance(root, dict) and root.get("kind") == "Scenario"]
    if len(named) > 1:
        raise InputError([documents[named[1]].problem((), "a second Scenario in one file")])
    index = named[0] if named else 0
    root = documents[index].root
    if not isinstance(root, dict):
        raise InputError([documents[index].problem((), f"a scenario is a mapping, not {plain_kind(root)}")])
    if not named and str(root.get("apiVersion")).startswith("svcsim/") and isinstance(root.get("kind"), str):
        message = f"{plain_kind(root['kind'])} is not Scenario, the kind of a scenario file"
        raise InputError([documents[index].problem(("kind",), message)])
    if not named and isinstance(root.get("kind"), str) and "apiVersion" in root and root["apiVersion"] != "svcsim/v1":
        message = f"this is a manifest of kind {root['kind']}, not a scenario; name it under 'manifests: [{{file: …}}]'"
        raise InputError([documents[index].problem(("kind",), message)])
    return index


@dataclass(slots=True)
class _Reading:
    """What is gathered while a scenario is read."""

    base: Path
    places: Places
    manifests: Manifests = field(default_factory=Manifests)
    minor: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    gathered: list[_Entry] = field(default_factory=list)
    files: int = 0

    def settle_compared(self, data: dict[str, Any], overrides: Mapping[str, Any]) -> list[str]:
        """Take out of the comparison what an override gives one value; a note for each. One that compares anew decides alone."""
        compared = data.get("compare")
        if not isinstance(compared, dict) or any(path.startswith("compare") for path in overrides):
            return []
        settled = [path for path in overrides if path in compared]
        if settled:
            data["compare"] = {path: values for path, values in compared.items() if path not in settled}
        for path in settled:
            self.places = self.places.laid_over(Overlay(("compare", path), named=f"--set {path}"))
        return [f"{path} is set, so its values are not compared" for path in settled]

    def override(self, data: dict[str, Any], overrides: Mapping[str, Any]) -> None:
        """Apply the overrides, in their order."""
        for path, value in overrides.items():
            written = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str | int | float) else "…"
            named = f"--set {path}={written}"[:120]
            try:
                at = set_value(data, path, value)
            except ValueError as error:
                self.problems.append(Problem(named, 1, 1, "", str(error)))
                continue
            self.places = self.places.laid_over(Overlay(at, named=named))

    def fail(self, path: DataPath, message: str) -> None:
        """Note a mistake."""
        self.problems.append(self.places.problem(path, message))

    def inline_files(self, data: dict[str, Any]) -> None:
        """Put samples of distributions, times of traces and the manifests of `apply` in place of the files that hold them."""
        for part in ("servers", "cluster", "workloads"):
            if part in data:
                data[part] = self._with_samples(data[part], (part,))
        if isinstance(data.get("workloads"), list):
            data["workloads"] = [self._with_times(one, ("workloads", i)) for i, one in enumerate(data["workloads"])]
        faults = data.get("faults")
        if isinstance(faults, list):
            data["faults"] = [
                {**fault, "apply": self._applied(fault["apply"], ("faults", i, "apply"))}
                if isinstance(fault, dict) and isinstance(fault.get("apply"), dict | list) else fault
                for i, fault in enumerate(faults)
            ]

    def inline_profile(self, data: dict[str, Any]) -> None:
        """Put the text of a cost profile that is a file into the scenario."""
        calibration = data.get("calibration")
        calibration = {"profile": calibration} if isinstance(calibration, str) else calibration
        if not isinstance(calibration, dict) or "text" in calibration:
            return
        name = calibration.get("profile")
        if isinstance(name, str) and name.endswith(".toml"):
            try:
                data["calibration"] = {**calibration, "text": read(self.base / name).text}
            except UsageError as error:
                self.fail(("calibration", "profile"), str(error))
                data["calibration"] = {key: value for key, value in calibration.items() if key != "profile"}
            except InputError as error:
                self.problems += error.problems

    def _with_samples(self, value: Any, path: DataPath) -> Any:
        if isinstance(value, list):
            return [self._with_samples(item, (*path, i)) for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        changed = {key: self._with_samples(item, (*path, key)) for key, item in value.items()}
        empirical = changed.get("empirical")
        name = empirical if isinstance(empirical, str) else empirical.get("file") if isinstance(empirical, dict) else None
        if isinstance(name, str):
            try:
                changed["empirical"] = {"values": samples(read(self.base / name).text)}
            except (ValueError, UsageError) as error:
                self.fail((*path, "empirical"), str(error) if isinstance(error, UsageError) else f"{name}: {error}")
            except InputError as error:
                self.problems += error.problems
        return changed

    def _with_times(self, workload: Any, path: DataPath) -> Any:
        given = workload.get("arrivals") if isinstance(workload, dict) else None
        trace = given.get("trace") if isinstance(given, dict) else None
        trace = {"file": trace} if isinstance(trace, str) else trace
        if given is None or not isinstance(trace, dict) or not isinstance(trace.get("file"), str) or "times" in trace:
            return workload
        column, unit = trace.get("column"), trace.get("unit", "s")
        if unit not in UNIT_NS or not (column is None or isinstance(column, str)):
            return workload
        times = [0.0, 1.0]  # in place of those of a file that is blamed already
        try:
            source = read(self.base / trace["file"])
            times = read_times(source.text, source.name, column, unit)
        except UsageError as error:
            self.fail((*path, "arrivals", "trace"), str(error))
        except InputError as error:
            self.problems += error.problems
        kept = {key: value for key, value in trace.items() if key not in {"file", "column", "unit"}}
        return {**workload, "arrivals": {**given, "trace": {**kept, "times": times}}}

    def _applied(self, value: Any, path: DataPath) -> Any:
        checked = Manifests()
        if isinstance(value, dict) and set(value) == {"file"}:
            found = []
            for document in self._file(value["file"], path):
                self.problems += read_object(checked, document.root, document)
                found.append(document.root)
            return found
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            self.problems += read_object(checked, item, self.places.document, (*path, i) if isinstance(value, list) else path)
        return value

    def _file(self, name: Any, path: DataPath) -> list[Document]:
        """The documents of a file that the scenario names."""
        self.files += 1
        if not isinstance(name, str):
            self.fail(path, f"the name of a file is expected, not {plain_kind(name)}")
        elif self.files > MAX_MANIFEST_FILES:
            self.fail(path, f"more than {MAX_MANIFEST_FILES} files")
        else:
            try:
                return load_documents(self.base / name, self.minor)
            except UsageError as error:
                self.fail(path, str(error))
            except InputError as error:
                self.problems += error.problems
        return []

    def gather(self, data: dict[str, Any], further: list[Document]) -> None:
        """Put the manifests of files and lists, and those of further documents, into the scenario, one by one."""
        entries = data.get("manifests")
        if entries is None:
            entries = []
        if not isinstance(entries, list):
            self.fail(("manifests",), f"a list is expected, not {plain_kind(entries)}")
            entries = []
        for i, entry in enumerate(entries):
            path: DataPath = ("manifests", i)
            if isinstance(entry, str):
                entry = {"file": entry}
            if isinstance(entry, dict) and "file" in entry and "kind" not in entry:
                unknown = [key for key in entry if key != "file"]
                if unknown:
                    message = f"unknown field {unknown[0]!r} beside 'file'"
                    self.problems.append(self.places.problem((*path, unknown[0]), message, at_key=True))
                for document in self._file(entry["file"], (*path, "file")):
                    self._gather(document.root, document, ())
            else:
                self._gather(entry, self.places.document, path)
        for document in further:
            self._gather(document.root, document, ())
        data["manifests"] = [entry.data for entry in self.gathered]

    def _gather(self, data: Any, document: Document, at: DataPath) -> None:
        if is_list(data):
            for item, path in items_of(data, at):
                self._gather(item, document, path)
        else:
            self.gathered.append(_Entry(data, document, at))

    def read(self, data: dict[str, Any]) -> None:
        """Read all manifests; one that an override changed stands where the override does."""
        for i, (entry, now) in enumerate(zip(self.gathered, data["manifests"], strict=True)):
            if now is entry.data:
                self.problems += read_object(self.manifests, now, entry.document, entry.at)
            else:
                named = next(overlay.named for overlay in reversed(self.places.overlays) if overlay.path[:2] == ("manifests", i))
                self.problems += read_object(self.manifests, now, Document(named, now, (1, 1), {}))
        self.manifests.settle()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A manifest and where it stands."""

    data: Any
    document: Document
    at: DataPath
