"""What was so at a time of a run, read from its journal: which pods and nodes were dead, ready, or troubled by which fault.

A pod without an entry is taken as running and ready from the start, as the journal begins when the cluster has settled. Nodes of
pods are those that the records and the journal name. Times are ns since the start of the run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from svcsim.engine.journal import Entry, Happening
from svcsim.results.anatomy import names_in
from svcsim.results.result import Result

_DEAD = {Happening.CONTAINER_EXITED: "its container exited", Happening.POD_REMOVED: "the pod was removed"}


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something was so (`end_ns` None: until the run's end), and why in a few words."""

    start_ns: int
    end_ns: int | None
    why: str

    def covers(self, at_ns: int) -> bool:
        """Whether a time lies in it."""
        return self.start_ns <= at_ns and (self.end_ns is None or at_ns < self.end_ns)

    def touches(self, start_ns: int, end_ns: int) -> bool:
        """Whether it has a moment in common with the closed interval."""
        return self.start_ns <= end_ns and (self.end_ns is None or self.end_ns > start_ns)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault: what it is, when it acted, and on whom."""

    text: str
    span: Span
    pods: frozenset[str]
    nodes: frozenset[str]


class History:
    """The states of a run's pods and nodes over time."""

    def __init__(self, result: Result) -> None:
        self._entries = result.journal.entries
        self.names = result.names
        self._requests = result.requests

    @cached_property
    def node_of(self) -> dict[str, str]:
        """The node of each pod that answered a request, was scheduled in the run or served at all."""
        requests, names = self._requests, self.names
        found: dict[str, str] = {}
        known = (requests.endpoint >= 0) & (requests.server_node >= 0)
        pairs = requests.endpoint[known].astype(np.int64) * (len(names.nodes) + 1) + requests.server_node[known]
        for pair in np.unique(pairs).tolist():
            endpoint, node = divmod(pair, len(names.nodes) + 1)
            if endpoint < len(names.endpoints) and node < len(names.nodes):
                found[names.endpoints[endpoint]] = names.nodes[node]
        for entry in self._entries:
            if entry.kind is Happening.POD_SCHEDULED and entry.detail.get("node"):
                found.setdefault(entry.subject, str(entry.detail["node"]))
        for name, home in zip(names.endpoints, names.homes, strict=False):
            if home >= 0:
                found.setdefault(name, names.nodes[home])
        for trouble in self.troubles:
            # A node's fault names the pods on it; that tells the node of those that never answered.
            if len(trouble.nodes) == 1:
                for pod in sorted(trouble.pods):
                    found.setdefault(pod, next(iter(trouble.nodes)))
        return found

    @cached_property
    def troubles(self) -> tuple[Trouble, ...]:
        """All faults in the order in which they began."""
        found = []
        for position, entry in enumerate(self._entries):
            if entry.kind is Happening.FAULT_BEGIN:
                index = entry.detail.get("index", -1)
                ended = next(
                    (
                        later.at_ns for later in self._entries[position:]
                        if later.kind is Happening.FAULT_END and later.detail.get("index", index) == index
                        and (later.subject == entry.subject or "index" in later.detail)
                    ),
                    None,
                )
                pods = names_in(entry, "pods")
                if ended is None and pods:
                    # What has no end of its own, as a kill, is over when its pods are ready again, or gone.
                    over = (Happening.POD_READY, Happening.POD_REMOVED)
                    ready = [self.first(over, [pod], entry.at_ns) for pod in sorted(pods)]
                    ended = None if None in ready else max(each.at_ns for each in ready if each is not None)
                found.append(Trouble(entry.subject, Span(entry.at_ns, ended, entry.subject), pods, names_in(entry, "nodes")))
        return tuple(found)

    def cause(self, at_ns: int, pod: str, node: str) -> str:
        """The text of the last fault on a pod or node that had begun by then; empty if there was none."""
        about = [
            trouble.text for trouble in self.troubles
            if trouble.span.start_ns <= at_ns and (pod in trouble.pods or node in trouble.nodes)
        ]
        return about[-1] if about else ""

    @cached_property
    def _node_down(self) -> dict[str, list[Span]]:
        return _spans(self._entries, {Happening.NODE_DOWN: "the node was down"}, {Happening.NODE_UP})

    @cached_property
    def _node_unready(self) -> dict[str, list[Span]]:
        return _spans(self._entries, {Happening.NODE_NOT_READY: "reported NotReady"}, {Happening.NODE_READY})

    @cached_property
    def _proxy_stopped(self) -> dict[str, list[Span]]:
        return _spans(self._entries, {Happening.PROXY_STOPPED: "kube-proxy stopped"}, {Happening.PROXY_STARTED})

    @cached_property
    def _pod_dead(self) -> dict[str, list[Span]]:
        spans = _spans(self._entries, _DEAD, {Happening.CONTAINER_STARTED})
        starts = _moments(self._entries, Happening.CONTAINER_STARTED)
        for entry in self._entries:
            if entry.kind is Happening.POD_SCHEDULED:
                until = next((at_ns for at_ns in starts.get(entry.subject, ()) if at_ns >= entry.at_ns), None)
                spans.setdefault(entry.subject, []).insert(0, Span(0, until, "it had not started"))
        for pod, node in self.node_of.items():
            for down in self._node_down.get(node, ()):
                # What ran on a node that lost power comes back with its container, not with the node.
                until = next((at_ns for at_ns in starts.get(pod, ()) if at_ns >= (down.end_ns or down.start_ns)), None)
                spans.setdefault(pod, []).append(Span(down.start_ns, until, f"{node} was down"))
        return {pod: sorted(found, key=lambda span: span.start_ns) for pod, found in spans.items()}

    @cached_property
    def _pod_unready(self) -> dict[str, list[Span]]:
        left = {
            Happening.POD_NOT_READY: "not ready", Happening.POD_TERMINATING: "terminating", Happening.POD_REMOVED: "removed",
            Happening.POD_SCHEDULED: "not ready yet",
        }
        return _spans(self._entries, left, {Happening.POD_READY})

    def node_down(self, node: str) -> Sequence[Span]:
        """When a node had no power."""
        return self._node_down.get(node, ())

    def node_unready(self, node: str) -> Sequence[Span]:
        """When a node was reported NotReady."""
        return self._node_unready.get(node, ())

    def proxy_stopped(self, node: str) -> Sequence[Span]:
        """When a node's kube-proxy did not run."""
        return self._proxy_stopped.get(node, ())

    def pod_dead(self, pod: str) -> Sequence[Span]:
        """When nothing in a pod could answer: not started, exited, removed, or its node down."""
        return self._pod_dead.get(pod, ())

    def pod_unready(self, pod: str) -> Sequence[Span]:
        """When a pod was reported not ready, terminating or removed."""
        return self._pod_unready.get(pod, ())

    def dead(self, pod: str, start_ns: int, end_ns: int) -> Span | None:
        """The span in which a pod was dead that has a moment of this interval; None if it was alive all the time."""
        return next((span for span in self.pod_dead(pod) if span.touches(start_ns, end_ns)), None)

    def first(self, kinds: Iterable[Happening], subjects: Iterable[str], from_ns: int) -> Entry | None:
        """The first entry of such a kind about one of the subjects, at or after a time."""
        wanted, about = set(kinds), set(subjects)
        return next(
            (entry for entry in self._entries if entry.at_ns >= from_ns and entry.kind in wanted and entry.subject in about), None
        )

    def endpoints_update(self, pod: str, from_ns: int) -> Entry | None:
        """The first update of endpoint slices at or after a time that may concern a pod (Endpoints without slices)."""
        updates = [
            entry for entry in self._entries
            if entry.kind is Happening.ENDPOINTS_UPDATED and entry.at_ns >= from_ns
            and ("pods" not in entry.detail or pod in names_in(entry, "pods"))
        ]
        slices = [entry for entry in updates if entry.detail.get("object") != "Endpoints"]
        return next(iter(slices or updates), None)

    def synced(self, node: str, service: str, from_ns: int) -> int | None:
        """When a node's kube-proxy had programmed what was known of a Service at a time."""
        syncs = self._syncs.get(node, [])
        for entry in syncs[bisect_left(syncs, from_ns, key=lambda each: each.at_ns) :]:
            began_ns = entry.detail.get("began_ns", entry.at_ns)
            services = entry.detail.get("services", ())
            carries = service in services if isinstance(services, tuple) else bool(services)
            if carries and isinstance(began_ns, int) and began_ns >= from_ns:
                return entry.at_ns
        return None

    @cached_property
    def _syncs(self) -> dict[str, list[Entry]]:
        """The syncs of each node's kube-proxy, in order."""
        found: dict[str, list[Entry]] = {}
        for entry in self._entries:
            if entry.kind is Happening.PROXY_SYNCED:
                found.setdefault(entry.subject, []).append(entry)
        return found

    def behind(self, node: str) -> list[Span]:
        """When a node's rules did not yet have the last change of some Service's endpoints; spans that overlap are one."""
        found: list[Span] = []
        for entry in self._entries:
            if entry.kind is not Happening.ENDPOINTS_UPDATED or entry.detail.get("object") == "Endpoints":
                continue
            last = found[-1] if found else None
            until_ns = self.synced(node, entry.subject, entry.at_ns)
            if last is None or (last.end_ns is not None and last.end_ns < entry.at_ns):
                found.append(Span(entry.at_ns, until_ns, entry.subject))
            elif last.end_ns is not None and (until_ns is None or until_ns > last.end_ns):
                found[-1] = replace(last, end_ns=until_ns)
        return found


def _moments(entries: Iterable[Entry], kind: Happening) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for entry in entries:
        if entry.kind is kind:
            found.setdefault(entry.subject, []).append(entry.at_ns)
    return found


def _spans(entries: Iterable[Entry], begins: dict[Happening, str], ends: set[Happening]) -> dict[str, list[Span]]:
    """By subject from each first entry that begins the state to the next that ends it."""
    found: dict[str, list[Span]] = {}
    open_since: dict[str, tuple[int, str]] = {}
    for entry in entries:
        if entry.kind in begins and entry.subject not in open_since:
            open_since[entry.subject] = (entry.at_ns, begins[entry.kind])
        elif entry.kind in ends and entry.subject in open_since:
            start_ns, why = open_since.pop(entry.subject)
            found.setdefault(entry.subject, []).append(Span(start_ns, entry.at_ns, why))
    for subject, (start_ns, why) in open_since.items():
        found.setdefault(subject, []).append(Span(start_ns, None, why))
    return found
