"""The cluster over time as data for the report's drawing: who sent to whom in each frame, and who was dead, when.

Frames are slots of equal width, cut finer for some seconds after each fault, where everything happens. At most `MAX_NODES`
nodes and `MAX_PODS` pods are drawn, those first that had traffic or a fault; the page says how many it leaves out.

A request is drawn to the endpoint that its last attempt was sent to, reached or not; where none was chosen, it ends at nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svcsim.engine.journal import Happening
from svcsim.report.history import History, Span, Trouble
from svcsim.results.result import Result
from svcsim.results.timeline import slot_width_ns
from svcsim.units import MS, S

MAX_NODES = 16
MAX_PODS = 60
FINE_NS = 100 * MS
_BEFORE_NS = 500 * MS
_AFTER_NS = 3 * S
_COARSE_FRAMES = 210
_FINE_FAULTS = 8
"""So many faults get fine frames."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Which nodes and pods are drawn, by their indices in the run's names."""

    nodes: tuple[int, ...]
    pods: tuple[int, ...]
    node_of: dict[int, int]
    """The node of a pod, -1 where it is not known or not drawn."""
    nodes_left_out: int
    pods_left_out: int


def boundaries(result: Result) -> NDArray[np.int64]:
    """Where frames begin, and the end of the last, in ns."""
    end = result.duration_ns
    width = slot_width_ns(end, _COARSE_FRAMES)
    edges = [np.arange(0, end, width, dtype=np.int64)]
    if width > FINE_NS:
        for fault in result.faults[:_FINE_FAULTS]:
            for around_ns in {fault.began_ns, fault.endpoints_ns or fault.began_ns}:
                first = max(0, around_ns - _BEFORE_NS) // FINE_NS * FINE_NS
                edges.append(np.arange(first, min(end, around_ns + _AFTER_NS), FINE_NS, dtype=np.int64))
    return np.append(np.unique(np.concatenate(edges)), end)


def stage(result: Result, history: History) -> Stage:
    """Choose who is drawn: endpoints of workloads, those with a fault first, then the busiest."""
    names, requests = result.names, result.requests
    answers = np.bincount(requests.endpoint[requests.endpoint >= 0], minlength=len(names.endpoints))
    behind = {index for indices in names.endpoints_of for index in indices} | set(np.flatnonzero(answers).tolist())
    struck = {pod for trouble in history.troubles for pod in trouble.pods}
    order = sorted(behind, key=lambda index: (names.endpoints[index] not in struck, -int(answers[index]), index))
    pods = sorted(order[:MAX_PODS])
    of = {index: history.node_of.get(names.endpoints[index], "") for index in pods}
    sent = np.bincount(requests.client_node[requests.client_node >= 0], minlength=len(names.nodes))
    struck_nodes = {node for trouble in history.troubles for node in trouble.nodes}
    used = {name for name in of.values() if name}
    candidates = sorted(
        range(len(names.nodes)),
        key=lambda index: (names.nodes[index] not in struck_nodes, names.nodes[index] not in used, -int(sent[index]), index),
    )
    busy = [index for index in candidates if sent[index] or names.nodes[index] in used | struck_nodes]
    nodes = sorted((candidates if len(candidates) <= MAX_NODES else busy)[:MAX_NODES])
    place = {names.nodes[index]: index for index in nodes}
    return Stage(
        tuple(nodes), tuple(pods), {index: place.get(of[index], -1) for index in pods},
        len(names.nodes) - len(nodes), len(behind) - len(pods),
    )


def flows(result: Result, edges: NDArray[np.int64]) -> list[list[int]]:
    """For each frame a flat list of client node, endpoint, requests that succeeded, requests that failed."""
    requests, names = result.requests, result.names
    chosen = (requests.succeeded | requests.failed) & (requests.start_ns < edges[-1])
    frame = np.searchsorted(edges, requests.start_ns[chosen], side="right") - 1
    source = requests.client_node[chosen].astype(np.int64) + 1
    target = requests.endpoint[chosen].astype(np.int64)
    failed = requests.failed[chosen]
    width, height = len(names.endpoints) + 1, len(names.nodes) + 1
    key = ((frame * height + source) * width + target + 1) * 2 + failed
    found, counts = np.unique(key, return_counts=True)
    frames: list[dict[tuple[int, int], list[int]]] = [{} for _ in range(len(edges) - 1)]
    for code, count in zip(found.tolist(), counts.tolist(), strict=True):
        code, bad = divmod(code, 2)
        code, end = divmod(code, width)
        at, begin = divmod(code, height)
        frames[at].setdefault((begin - 1, end - 1), [0, 0])[bad] = count
    return [[number for (begin, end), pair in each.items() for number in (begin, end, *pair)] for each in frames]


def cluster(result: Result) -> dict[str, Any]:
    """All that the drawing of one run needs; times in ms."""
    history = History(result)
    shown = stage(result, history)
    edges = boundaries(result)
    names = result.names
    return {
        "edges": [edge / MS for edge in edges.tolist()],
        "flows": flows(result, edges),
        "nodes": [
            {
                "id": index, "name": names.nodes[index],
                "down": _intervals(history.node_down(names.nodes[index])),
                "unready": _intervals(history.node_unready(names.nodes[index])),
                "stopped": _intervals(history.proxy_stopped(names.nodes[index])),
                "behind": _intervals(history.behind(names.nodes[index])),
            }
            for index in shown.nodes
        ],
        "pods": [
            {
                "id": index, "name": names.endpoints[index], "node": shown.node_of[index],
                "dead": _intervals(history.pod_dead(names.endpoints[index])),
                "unready": _intervals(history.pod_unready(names.endpoints[index])),
            }
            for index in shown.pods
        ],
        "left": [shown.nodes_left_out, shown.pods_left_out],
        "entries": _entries(result),
        "faults": [
            {"text": trouble.text, "from": trouble.span.start_ns / MS, "to": _end_ms(trouble, result.duration_ns)}
            for trouble in history.troubles
        ],
    }


def _end_ms(trouble: Trouble, duration_ns: int) -> float | None:
    """When a fault was over; of one that struck nobody in particular there is no telling."""
    if trouble.span.end_ns is not None:
        return trouble.span.end_ns / MS
    return duration_ns / MS if trouble.pods or trouble.nodes else None


def _intervals(spans: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    for span in spans:
        assert isinstance(span, Span)
        found.append([round(span.start_ns / MS, 3), None if span.end_ns is None else round(span.end_ns / MS, 3), span.why])
    return found


_MAX_ENTRIES = 400
_SAID = {
    Happening.FAULT_BEGIN: "fault: {0}", Happening.FAULT_END: "fault ends: {0}", Happening.POD_SCHEDULED: "{0} scheduled",
    Happening.POD_READY: "{0} ready", Happening.POD_NOT_READY: "{0} not ready", Happening.POD_TERMINATING: "{0} terminating",
    Happening.POD_REMOVED: "{0} removed", Happening.CONTAINER_STARTED: "{0}: container started",
    Happening.CONTAINER_EXITED: "{0}: container exited", Happening.PROXY_SYNCED: "{0}: kube-proxy synced",
    Happening.PROXY_STOPPED: "{0}: kube-proxy stopped", Happening.PROXY_STARTED: "{0}: kube-proxy started",
    Happening.NODE_READY: "{0} Ready", Happening.NODE_NOT_READY: "{0} NotReady", Happening.NODE_DOWN: "{0} down",
    Happening.NODE_UP: "{0} up again", Happening.CONNTRACK_FULL: "{0}: conntrack table full",
}


def _entries(result: Result) -> list[list[Any]]:
    found: list[list[Any]] = []
    for entry in result.journal.entries:
        if entry.kind is Happening.ENDPOINTS_UPDATED:
            if entry.detail.get("object") == "Endpoints":
                continue
            text = f"endpoints of {entry.subject}: {entry.detail.get('ready', '?')} of {entry.detail.get('total', '?')} ready"
        elif entry.kind in _SAID:
            text = _SAID[entry.kind].format(entry.subject)
        else:
            continue
        found.append([round(entry.at_ns / MS, 3), text])
        if len(found) == _MAX_ENTRIES:
            break
    return found
