"""What the replications of a mode made of a fault, as one line for a table or a lane of a figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.comparison import Comparison
from svcsim.results.records import Outcome
from svcsim.units import format_ns


@dataclass(frozen=True, slots=True)
class Lane:
    """Times in ns from the fault, medians over replications, None where it came to that in none; counts are means."""

    label: str
    detected_ns: float | None
    endpoints_ns: float | None
    first_synced_ns: float | None
    last_synced_ns: float | None
    last_failure_ns: float | None
    reasons: dict[Outcome, float]
    in_flight: float
    redialed: float
    synced_nodes: int
    nodes: int
    replications: int = 1

    @property
    def failures(self) -> float:
        """Failures a run."""
        return sum(self.reasons.values())

    @property
    def steps_ns(self) -> tuple[float | None, ...]:
        """The ends of the four steps of the control plane's answer."""
        return (self.detected_ns, self.endpoints_ns, self.first_synced_ns, self.last_synced_ns)


def lane(label: str, replications: Sequence[FaultAnatomy]) -> Lane:
    """The lane of one mode for one fault."""

    def median(of: Callable[[FaultAnatomy], int | None]) -> float | None:
        reached = [time for fault in replications if (time := fault.since(of(fault))) is not None]
        return statistics.median(reached) if reached else None

    def mean(of: Callable[[FaultAnatomy], int]) -> float:
        return statistics.fmean(map(of, replications))

    occurred = [outcome for outcome in Outcome if any(outcome in fault.reasons for fault in replications)]
    totals = {outcome: sum(fault.reasons.get(outcome, 0) for fault in replications) for outcome in occurred}
    fewest = min(replications, key=lambda fault: fault.synced_nodes)
    return Lane(
        label=label,
        detected_ns=median(lambda fault: fault.detected_ns),
        endpoints_ns=median(lambda fault: fault.endpoints_ns),
        first_synced_ns=median(lambda fault: fault.first_synced_ns),
        last_synced_ns=median(lambda fault: fault.last_synced_ns),
        last_failure_ns=median(_last_failure_ns),
        reasons={outcome: total / len(replications) for outcome, total in totals.items()},
        in_flight=mean(lambda fault: fault.in_flight),
        redialed=mean(lambda fault: fault.redialed),
        synced_nodes=fewest.synced_nodes,
        nodes=fewest.nodes,
        replications=len(replications),
    )


def _last_failure_ns(fault: FaultAnatomy) -> int | None:
    """None also where only requests failed that had been sent before the fault: they are told as in flight."""
    return fault.last_bad_ns if fault.last_bad_ns is not None and fault.last_bad_ns >= fault.began_ns else None


def fault_lanes(comparison: Comparison) -> list[tuple[FaultAnatomy, list[Lane]]]:
    """Every fault, as the first run that had any tells it, with the lane of each mode in which it took place."""
    faults = next((run.faults for variant in comparison for run in variant.runs if run.faults), ())
    return [
        (fault, [lane(variant.label, found) for variant in comparison if (found := variant.fault(fault.index))])
        for fault in faults
    ]


def elapsed(ns: float) -> str:
    """A time after the fault, such as `+1.2 s`; one before it has a minus."""
    if round(ns) == 0:
        return "+0 s"
    return f"+{format_ns(ns)}" if ns >= 0 else f"−{format_ns(-ns)}"


def counted(count: float) -> str:
    """A count, or a mean of counts with one decimal."""
    return f"{count:,.0f}" if math.isclose(count, round(count)) else f"{count:,.1f}"
