"""What an expectation is about: a workload, a fault, a window of the run."""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.errors import Problem
from svcsim.scenario.checks.scope import Scope, unknown
from svcsim.units import duration_text
from svcsim.yamlsource import DataPath


def expectation_mistakes(scope: Scope) -> Iterator[Problem]:
    """Workloads, faults and windows that are not there."""
    from svcsim.results.metrics import METRICS

    scenario = scope.scenario
    workloads = [workload.name for workload in scenario.workloads]
    for i, expect in enumerate(scenario.expect):
        path: DataPath = ("expect", i)
        if expect.workload is not None and expect.workload not in workloads:
            yield scope.places.problem((*path, "workload"), unknown("workload", expect.workload, workloads))
        if not scenario.faults and METRICS[expect.metric].of_fault:
            yield scope.places.problem(path, f"{expect.metric} is a figure of a fault, and the scenario has none")
            continue
        references = [expect.fault] if expect.fault is not None else []
        if expect.during is not None:
            ends = (expect.during.start, expect.during.end)
            references += [end.fault for end in ends if end is not None and end.fault is not None]
        if METRICS[expect.metric].of_fault and (late := _late(scope, expect.fault)):
            yield scope.places.problem(path, f"{expect.metric} can't be measured: {late}")
            continue
        absent = [reference for reference in references if scenario.fault_index(reference) is None]
        for reference in absent:
            yield scope.places.problem(path, _no_fault(scope, reference))
        if expect.during is not None and not absent:
            start_ns, end_ns = scenario.window_ns(expect.during)
            start_ns = start_ns or 0
            if start_ns >= scenario.run.duration_ns or (end_ns is not None and end_ns <= start_ns):
                length = duration_text(scenario.run.duration_ns)
                message = f"nothing is sent in the window {expect.during} of a run of {length}"
                yield scope.places.problem((*path, "during"), message)


def _late(scope: Scope, reference: int | str | None) -> str:
    """Which fault never comes, the run being over before; of no reference, all of them. Empty if one comes."""
    index = None if reference is None else scope.scenario.fault_index(reference)
    if reference is not None and index is None:
        return ""
    faults = scope.scenario.faults if index is None else scope.scenario.faults[index:index + 1]
    first = min(faults, key=lambda fault: fault.at_ns)
    length_ns = scope.scenario.run.duration_ns
    if first.at_ns < length_ns:
        return ""
    which = "the first fault" if reference is None else f"fault[{reference}]"
    return f"{which} comes at {duration_text(first.at_ns)}, when the run of {duration_text(length_ns)} is over"


def _no_fault(scope: Scope, reference: int | str) -> str:
    faults = scope.scenario.faults
    if isinstance(reference, int):
        last = f", [0] to [{len(faults) - 1}]" if faults else ""
        return f"there is no fault [{reference}] (there are {len(faults)}{last})"
    return unknown("fault", reference, [fault.name for fault in faults if fault.name])
