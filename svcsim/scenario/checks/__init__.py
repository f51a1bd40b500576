"""References within a scenario: what a workload, fault or expectation names must exist, and fit.

What is surely wrong is a mistake with its place; what is only odd becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.errors import Problem
from svcsim.scenario.checks.bystanders import note_ingresses, note_servers
from svcsim.scenario.checks.cluster import (
    allocation_mistakes,
    cost_mistakes,
    discovery_mistakes,
    family_mistakes,
    link_mistakes,
    room_mistakes,
    route_mistakes,
)
from svcsim.scenario.checks.expectations import expectation_mistakes
from svcsim.scenario.checks.faults import fault_mistakes, name_mistakes
from svcsim.scenario.checks.scope import Inventory, Scope
from svcsim.scenario.checks.workloads import workload_mistakes
from svcsim.scenario.history import mistakes_of_version, notes_of_version
from svcsim.scenario.model import Scenario
from svcsim.scenario.pending import pending_notes
from svcsim.scenario.places import Places


def check(scenario: Scenario, places: Places, notes: list[str], *, all_read: bool = True) -> list[Problem]:
    """Every mistake that only the scenario as a whole shows; oddities are added to the notes.

    Unless all manifests could be read, what names an object that is not there is no mistake of its own.
    """
    return list(_all(Scope(scenario, places, notes, Inventory.of(scenario.objects), all_read)))


def _all(scope: Scope) -> Iterator[Problem]:
    mistake = scope.scenario.kubernetes.version_mistake()
    if mistake is not None:
        asked = scope.scenario.kubernetes.proxy.mode is not None
        yield scope.places.problem(("kubernetes", "proxy", "mode") if asked else ("kubernetes", "version"), mistake)
    yield from discovery_mistakes(scope)
    yield from mistakes_of_version(scope.scenario, scope.scenario.origin.own, scope.places)
    scope.notes += notes_of_version(scope.scenario, scope.scenario.origin.own, scope.places)
    try:
        node_names: tuple[str, ...] | None = scope.scenario.node_names
    except ValueError as error:
        yield scope.places.problem(("cluster", "nodes"), str(error))
        node_names = None
    yield from family_mistakes(scope)
    if node_names is not None:
        yield from room_mistakes(scope)
    yield from name_mistakes(scope)
    yield from workload_mistakes(scope, node_names)
    yield from fault_mistakes(scope, node_names)
    yield from link_mistakes(scope, node_names)
    yield from route_mistakes(scope, node_names)
    yield from expectation_mistakes(scope)
    yield from cost_mistakes(scope)
    yield from allocation_mistakes(scope)
    note_servers(scope)
    note_ingresses(scope)
    if node_names is not None:
        scope.notes += pending_notes(scope.scenario.objects, scope.scenario.nodes)
