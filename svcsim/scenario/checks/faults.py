"""What faults aim at, and when they come."""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.errors import Problem
from svcsim.scenario.checks.scope import Scope
from svcsim.units import duration_text
from svcsim.yamlsource import DataPath


def name_mistakes(scope: Scope) -> Iterator[Problem]:
    """Names that stand twice."""
    scenario = scope.scenario
    named: tuple[tuple[str, tuple[str | None, ...]], ...] = (
        ("workloads", tuple(workload.name for workload in scenario.workloads)),
        ("faults", tuple(fault.name for fault in scenario.faults)),
    )
    for part, names in named:
        for i, name in enumerate(names):
            if name is not None and name in names[:i]:
                message = f"two {part} are called {name!r}"
                yield scope.places.problem((part, i, "name"), message)
    outside = scope.outside
    for i, name in enumerate(outside):
        if name in outside[:i]:
            yield scope.places.problem(("cluster", "outside", i, "name"), f"two hosts outside are called {name!r}")


def fault_mistakes(scope: Scope, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
    """Targets that are not there; faults that come too late are noted."""
    duration_ns = scope.scenario.run.duration_ns
    for i, fault in enumerate(scope.scenario.faults):
        if fault.at_ns >= duration_ns:
            scope.notes.append(
                f"faults[{i}] ({scope.text(fault)}) comes at {duration_text(fault.at_ns)}, when the run of "
                f"{duration_text(duration_ns)} is over"
            )
        path: DataPath = ("faults", i, fault.aim or fault.verb)
        targets = list(fault.targets)
        further = getattr(fault, "to", None)
        for target in (*targets, *(further if isinstance(further, tuple) else ())):
            at = path if target in targets else ("faults", i, "to")
            yield from scope.target(target, at, node_names, fault)
