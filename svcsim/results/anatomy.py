"""The anatomy of a fault: what the control plane did about it and when, and which requests it cost.

Each instant is the first journal entry that qualifies, from the fault's beginning on; of a pod or node that a later fault is
aimed at too, what follows is that fault's:

- *detected*: a pod or node of the fault is not ready, or a pod of it is terminating or removed;
- *endpoints updated*: the first update of a Service's endpoints after that which brings, takes away or changes one of its pods
  (an entry without the detail `pods` may be of any);
- *synced*, of each node but the fault's own and those that are down: its kube-proxy's first sync after the
  update that carries the Service and began no earlier;
- *ready again*: a pod or node of the fault is reported ready after it was detected.

A request belongs to the last fault that had begun when the request ended. The *outage* lasts from the fault
until the intended send of the last request of it that failed: whatever was sent later succeeded. It is 0 if
none failed. *Unavailable* is the sum of those tenths of a second, counted from the fault, in which requests
failed by their intended send and none succeeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from svcsim.engine.journal import Entry, Happening
from svcsim.results.records import Flag, Outcome, Requests
from svcsim.units import MS

if TYPE_CHECKING:
    from svcsim.results.result import Result

SLOT_NS = 100 * MS
"""Width of the slots that `unavailable_ns` counts."""

_DETECTION = (
    Happening.POD_NOT_READY,
    Happening.NODE_NOT_READY,
    Happening.POD_TERMINATING,
    Happening.POD_REMOVED,
)


@dataclass(frozen=True, slots=True)
class FaultAnatomy:
    """One fault in one run. Times are ns since the start of the run, None where it did not come to that."""

    index: int
    """The fault's place in the scenario's list, from 0."""
    fault: str
    began_ns: int
    ended_ns: int | None
    """When the fault was lifted, if it was."""
    detected_ns: int | None
    endpoints_ns: int | None
    first_synced_ns: int | None
    last_synced_ns: int | None
    synced_nodes: int
    nodes: int
    """How many nodes were to sync: all that synced at all in the run but the fault's own and those down."""
    last_bad_ns: int | None
    """The intended send of the last request that failed."""
    requests: int
    reasons: dict[Outcome, int] = field(default_factory=dict)
    in_flight: int = 0
    """Failures of requests that had been sent before the fault began."""
    redialed: int = 0
    """Requests for which a userspace proxy had to dial more than one endpoint."""
    unavailable_ns: int = 0
    ready_again_ns: int | None = None

    @property
    def failures(self) -> int:
        """How many of the fault's requests failed."""
        return sum(self.reasons.values())

    @property
    def outage_ns(self) -> int:
        """From the fault until the intended send of the last request that failed."""
        return 0 if self.last_bad_ns is None else max(0, self.last_bad_ns - self.began_ns)

    def since(self, at_ns: int | None) -> int | None:
        """A time of this anatomy counted from the fault's beginning."""
        return None if at_ns is None else at_ns - self.began_ns


def anatomy(result: Result) -> tuple[FaultAnatomy, ...]:
    """The anatomy of each fault of a run, in the order in which they began."""
    entries = result.journal.entries
    begins = [entry for entry in entries if entry.kind is Happening.FAULT_BEGIN]
    nodes = {entry.subject for entry in entries if entry.kind is Happening.PROXY_SYNCED}
    if not begins:
        return ()
    ends = result.requests.end_ns
    found = []
    for position, begin in enumerate(begins):
        later = [entry.at_ns for entry in begins[position + 1 :] if entry.at_ns > begin.at_ns]
        until_ns = later[0] if later else None
        chosen = ends >= begin.at_ns
        if until_ns is not None:
            chosen &= ends < until_ns
        found.append(_of_fault(begin, position, entries, nodes, _taken_over(begins, position), result.requests.select(chosen)))
    return tuple(found)


def _taken_over(begins: Sequence[Entry], position: int) -> dict[str, int]:
    """From when on pods and nodes of a fault are those of a later one."""
    taken: dict[str, int] = {}
    for begin in begins[position + 1 :]:
        if begin.at_ns > begins[position].at_ns:
            for subject in names_in(begin, "pods") | names_in(begin, "nodes"):
                taken.setdefault(subject, begin.at_ns)
    return taken


def _of_fault(
    begin: Entry, position: int, entries: Sequence[Entry], nodes: set[str], taken: Mapping[str, int], requests: Requests
) -> FaultAnatomy:
    began_ns = begin.at_ns
    index = begin.detail.get("index", position)
    index = index if isinstance(index, int) else position
    later = [entry for entry in entries if entry.at_ns >= began_ns]
    pods, touched = names_in(begin, "pods"), names_in(begin, "nodes")
    own = [
        entry for entry in later
        if entry.subject in pods | touched and entry.at_ns < taken.get(entry.subject, entry.at_ns + 1)
    ]
    detected = next((entry for entry in own if entry.kind in _DETECTION), None)
    ready_again = next((entry for entry in own if _ready_again(entry, detected)), None)
    endpoints = _endpoints_updated(later, detected, pods)
    away = touched | _down(entries, endpoints.at_ns if endpoints else began_ns)
    synced = dict(_synced(later, endpoints, away))
    failed = requests.select(requests.failed)
    counts = np.bincount(failed.outcome, minlength=len(Outcome))
    return FaultAnatomy(
        index=index,
        fault=begin.subject,
        began_ns=began_ns,
        ended_ns=next((entry.at_ns for entry in later if _lifts(entry, begin, index)), None),
        detected_ns=detected.at_ns if detected else None,
        endpoints_ns=endpoints.at_ns if endpoints else None,
        first_synced_ns=min(synced.values(), default=None),
        last_synced_ns=max(synced.values(), default=None),
        synced_nodes=len(synced),
        nodes=len(nodes - away),
        last_bad_ns=int(failed.start_ns.max()) if len(failed) else None,
        requests=len(requests),
        reasons={outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]},
        in_flight=int((failed.start_ns < began_ns).sum()),
        redialed=int(((requests.flags & Flag.REDIALED) != 0).sum()),
        unavailable_ns=_unavailable_ns(requests, failed, began_ns),
        ready_again_ns=ready_again.at_ns if ready_again else None,
    )


def names_in(entry: Entry, key: str) -> frozenset[str]:
    """A detail of an entry as a set of names; empty if it isn't there."""
    value = entry.detail.get(key, ())
    return frozenset(value) if isinstance(value, tuple) else frozenset([str(value)] if value else [])


def _lifts(entry: Entry, begin: Entry, index: int) -> bool:
    if entry.kind is not Happening.FAULT_END:
        return False
    return entry.detail["index"] == index if "index" in entry.detail else entry.subject == begin.subject


def _ready_again(entry: Entry, detected: Entry | None) -> bool:
    ready = entry.kind in {Happening.POD_READY, Happening.NODE_READY}
    return ready and detected is not None and entry.at_ns >= detected.at_ns


def _endpoints_updated(later: Sequence[Entry], detected: Entry | None, pods: frozenset[str]) -> Entry | None:
    if detected is None:
        return None
    updates = [
        entry
        for entry in later
        if entry.kind is Happening.ENDPOINTS_UPDATED
        and entry.at_ns >= detected.at_ns
        and ("pods" not in entry.detail or names_in(entry, "pods") & pods)
    ]
    # The proxies watch slices; Endpoints are only what counts in versions without slices.
    slices = [entry for entry in updates if entry.detail.get("object") != "Endpoints"]
    return next(iter(slices or updates), None)


def _down(entries: Sequence[Entry], at_ns: int) -> frozenset[str]:
    down: set[str] = set()
    for entry in entries:
        if entry.at_ns > at_ns:
            break
        if entry.kind is Happening.NODE_DOWN:
            down.add(entry.subject)
        elif entry.kind is Happening.NODE_UP:
            down.discard(entry.subject)
    return frozenset(down)


def _synced(
    later: Sequence[Entry], update: Entry | None, away: frozenset[str]
) -> Iterator[tuple[str, int]]:
    if update is None:
        return
    seen = set()
    for entry in later:
        loop = (entry.subject, entry.detail.get("family"))  # of a dual-stack node the later of its two counts
        if entry.kind is not Happening.PROXY_SYNCED or entry.at_ns < update.at_ns or entry.subject in away or loop in seen:
            continue
        services = entry.detail.get("services", ())
        carries = update.subject in services if isinstance(services, tuple) else services not in {0, ""}
        began_ns = entry.detail.get("began_ns", update.at_ns)
        if carries and isinstance(began_ns, int) and began_ns >= update.at_ns:
            seen.add(loop)
            yield entry.subject, entry.at_ns


def _unavailable_ns(requests: Requests, failed: Requests, began_ns: int) -> int:
    bad = set(np.unique((failed.start_ns - began_ns) // SLOT_NS).tolist())
    bad = {slot for slot in bad if slot >= 0}
    if not bad:
        return 0
    good = requests.column("start_ns", keep=False)[requests.succeeded]
    good -= began_ns
    good //= SLOT_NS
    return len(bad.difference(np.unique(good).tolist())) * SLOT_NS
