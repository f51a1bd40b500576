"""The comparison of a scenario, expanded: every combination of the values under `compare`, each a scenario of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from svcsim.errors import InputError, Problem
from svcsim.kube.manifests import Manifests, read_object
from svcsim.scenario.loader import assemble
from svcsim.scenario.model import Scenario
from svcsim.scenario.paths import set_value, split
from svcsim.scenario.places import Overlay, Places
from svcsim.spelling import nearest
from svcsim.yamlsource import DataPath, Document

MAX_VARIANTS = 1_000


class Variant(NamedTuple):
    """One combination: its label, such as `ipvs/lc`, and the single scenario that it stands for."""

    label: str
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class _Choice:
    """One value of one path of the comparison."""

    path: str
    value: Any
    label: str | None
    source: DataPath


def variants(scenario: Scenario) -> tuple[Variant, ...]:
    """Every combination of the comparison, in order; the scenario itself, labelled by its mode, if nothing is compared.

    InputError if a combination is invalid (a loaded scenario's combinations have been checked).
    """
    if not scenario.compare:
        return (Variant(scenario.kubernetes.label, scenario),)
    document = Document(scenario.origin.file, scenario.origin.data, (1, 1), {})
    found, problems = _expanded(scenario, Places(document))
    if problems:
        raise InputError(problems)
    return tuple(found)


def check_comparison(scenario: Scenario, places: Places) -> tuple[list[Problem], list[int]]:
    """Every mistake in the comparison, and in what is expected of variants by name.

    Where an override has changed the comparison, an expectation of a variant that is left out is no mistake: the places of
    those in the list are returned beside the mistakes.
    """
    if scenario.compare:
        found, problems = _expanded(scenario, places)
    else:
        found, problems = list(variants(scenario)), []
    if problems:
        return problems, []
    left_out: list[int] = []
    narrowed = any(overlay.named and overlay.path[:1] == ("compare",) for overlay in places.overlays)
    labels = [variant.label for variant in found]
    modes = {*labels, *(label.partition("/")[0] for label in labels)}
    for i, expect in enumerate(scenario.expect):
        mode = expect.mode
        if mode is None or mode in modes or any(label.startswith(f"{mode}/") for label in labels):
            continue
        if narrowed:
            left_out.append(i)
        else:
            problems.append(places.problem(("expect", i, "mode"), f"there is no variant {mode!r}{nearest(mode, labels)}"))
    return problems, left_out


def _expanded(scenario: Scenario, places: Places) -> tuple[list[Variant], list[Problem]]:
    axes = [list(_choices(path, values)) for path, values in scenario.compare.items()]
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > MAX_VARIANTS:
        return [], [places.problem(("compare",), f"{count} combinations are more than the limit of {MAX_VARIANTS}", at_key=True)]
    problems: list[Problem] = []
    found: list[Variant] = []
    told: set[tuple[str, str]] = set()
    base = {key: value for key, value in scenario.origin.data.items() if key not in {"compare", "expect"}}
    expect = scenario.origin.data.get("expect")
    for choices in itertools.product(*axes):
        data = dict(base)
        at = places
        missed = False
        for choice in choices:
            try:
                path = set_value(data, choice.path, _kept_beside(data, choice))
            except ValueError as error:
                if (choice.path, str(error)) not in told:
                    told.add((choice.path, str(error)))
                    message = str(error).removeprefix(f"{choice.path!r}: ")
                    problems.append(places.problem(("compare", choice.path), message, at_key=True))
                missed = True
                continue
            at = at.laid_over(Overlay(path, choice.source))
        if missed:
            continue
        if expect is not None:
            data["expect"] = expect
        one, mistakes = _assembled(scenario, data, at, choices)
        problems += mistakes
        if one is not None:
            found.append(Variant(_label(_telling(choices, axes), one), one))
    problems = list(dict.fromkeys(problems))
    labels = [variant.label for variant in found]
    if not problems and len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        problems = [places.problem(("compare",), f"two combinations are called {twice!r}; give labels, as {{name: value, …}}")]
    return found, problems


def _assembled(
    scenario: Scenario, data: dict[str, Any], places: Places, choices: tuple[_Choice, ...]
) -> tuple[Scenario | None, list[Problem]]:
    origin = scenario.origin
    manifests = origin.own
    problems: list[Problem] = []
    if any(split(choice.path)[0][0] == "manifests" for choice in choices):
        manifests = Manifests()
        document = Document(origin.file, data, (1, 1), {})
        for i, item in enumerate(data["manifests"]):
            for problem in read_object(manifests, item, document, ("manifests", i)):
                source = next(choice.source for choice in choices if split(choice.path)[0][0] == "manifests")
                problems.append(places.problem(source, f"{problem.path}: {problem.message}"))
        manifests.settle()
    one, mistakes = assemble(data, manifests, places, origin.file, scenario.name)
    return one, problems + mistakes


def _choices(path: str, values: Any) -> Iterator[_Choice]:
    if isinstance(values, dict):
        for label, value in values.items():
            yield _Choice(path, value, str(label), ("compare", path, label))
    else:
        for i, value in enumerate(values):
            yield _Choice(path, value, None, ("compare", path, i))


def _telling(choices: tuple[_Choice, ...], axes: Sequence[Sequence[_Choice]]) -> tuple[_Choice, ...]:
    """The choices that tell a variant from others: the mode, what has a label, and what is compared with anything."""
    return tuple(
        choice for choice, axis in zip(choices, axes, strict=True)
        if len(axis) > 1 or choice.label is not None or _names_the_mode(choice.path)
    ) or choices


def _label(choices: tuple[_Choice, ...], scenario: Scenario) -> str:
    """The mode, if it is compared, and what else differs: `ipvs/lc`, `iptables/workers=4`."""
    parts: list[str] = []
    for choice in choices:
        if choice.label is not None:
            parts.append(choice.label)
        elif _names_the_mode(choice.path):
            if scenario.kubernetes.label not in parts:
                parts.append(scenario.kubernetes.label)
        else:
            parts.append(f"{split(choice.path)[-1][0]}={_short(choice.value)}")
    return "/".join(parts)


def _kept_beside(data: dict[str, Any], choice: _Choice) -> Any:
    """The value of a choice; one of `kubernetes.proxy` is a mode, beside which the periods and so on of all modes stay."""
    kubernetes = data.get("kubernetes")
    proxy = kubernetes.get("proxy") if isinstance(kubernetes, dict) else None
    value = {"mode": choice.value} if isinstance(choice.value, str) else choice.value
    if choice.path != "kubernetes.proxy" or not isinstance(proxy, dict) or not isinstance(value, dict):
        return choice.value
    return {**{key: kept for key, kept in proxy.items() if key not in {"mode", "scheduler", "backend"}}, **value}


def _names_the_mode(path: str) -> bool:
    return path in {"kubernetes.proxy", "kubernetes.proxy.mode", "kubernetes.proxy.scheduler", "kubernetes.proxy.backend"}


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ",".join(f"{key}={_short(item)}" for key, item in value.items())[:40]
    if isinstance(value, list):
        return "+".join(_short(item) for item in value)[:40]
    return str(value)[:40]
