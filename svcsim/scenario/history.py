"""What a scenario uses that its `kubernetes.version` did not have, each with its place.

The table of features is `svcsim.kube.features`. Where pods come from is not asked: a Deployment of apps/v1 makes pods in any
version, so that one manifest can be run on all of them; what Service, Ingress, slices, nodes and pods say is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from svcsim.errors import Problem
from svcsim.kube.features import Feature, Path, features
from svcsim.kube.manifests import Manifests
from svcsim.scenario.faults import Apply
from svcsim.scenario.model import Scenario
from svcsim.scenario.places import Places

_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
_TEMPLATE: Path = ("spec", "template")

At = Callable[[Path, str], Problem]


def mistakes_of_version(scenario: Scenario, manifests: Manifests, places: Places) -> list[Problem]:
    """Everything that the version does not have; nothing without a version."""
    text = scenario.kubernetes.version
    if text is None:
        return []
    lacking = [(feature, lack) for feature in features() if (lack := feature.lack(text))]
    found = []
    for data, at in _objects(scenario, manifests, places):
        told: set[Path] = set()
        for kind, inner, prefix in _views(data):
            for feature, lack in lacking:
                for path, value in feature.found_in(inner) if kind in feature.kinds else ():
                    if path not in told:
                        told.add(path)
                        found.append(at(prefix + path, f"{_what(feature, kind, value)} {lack}"))
    return found


def notes_of_version(scenario: Scenario, manifests: Manifests, places: Places) -> list[str]:
    """What the version has and advises against, a sentence each."""
    text = scenario.kubernetes.version
    if text is None:
        return []
    notes = []
    for feature in features():
        if not feature.is_deprecated_in(text):
            continue
        if "mode" in feature.kinds:
            if scenario.kubernetes.mode in feature.values:
                notes.append(f"mode {scenario.kubernetes.mode} is deprecated from Kubernetes {feature.deprecated} on")
            continue
        for data, _ in _objects(scenario, manifests, places):
            kind = str(data["kind"])
            found = next(feature.found_in(data), None) if kind in feature.kinds else None
            if found is not None:
                notes.append(f"{_what(feature, kind, found[1])} is deprecated from Kubernetes {feature.deprecated} on")
                break
    return notes


def _objects(scenario: Scenario, manifests: Manifests, places: Places) -> Iterator[tuple[Mapping[str, Any], At]]:
    """The data of each object, of the scenario's own manifests and of those that faults apply, and of the scenario itself."""
    yield {**scenario.origin.data, "kind": "Scenario"}, places.problem
    for obj, (document, at) in zip(manifests.objects, manifests.spots, strict=False):
        data: Any = document.root
        for step in at:
            data = data[step]
        yield {**data, "kind": obj.kind}, _within(document.problem, at)
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, Apply):
            applied = (scenario.origin.data.get("faults") or ())[i]["apply"]
            several = isinstance(applied, list)
            for j, data in enumerate(applied if several else [applied]):
                if isinstance(data, Mapping):
                    yield data, _within(places.problem, ("faults", i, "apply", j) if several else ("faults", i, "apply"))


def _within(problem: Callable[[Path, str], Problem], at: Path) -> At:
    return lambda path, message: problem((*at, *path), message)


def _views(data: Mapping[str, Any]) -> Iterator[tuple[str, Any, Path]]:
    """An object by its kind, and the pods that it makes."""
    kind = data.get("kind")
    if isinstance(kind, str):
        yield kind, data, ()
        if kind in _TEMPLATED and isinstance(data.get("spec"), Mapping):
            yield "Pod", data["spec"].get("template"), _TEMPLATE


def _what(feature: Feature, kind: str, value: Any) -> str:
    if not feature.paths:
        return kind
    name = ".".join(feature.paths[0]).replace(".[]", "")
    if feature.several:
        return f"{name} of two families"
    if feature.differing:
        where = ", ".join(f"{steps[-1]}: {value}" for steps, value in feature.where)
        return f"{name} of more than one {feature.differing} with {where}"
    return f"{name}: {str(value).lower() if isinstance(value, bool) else value}" if feature.values else name
