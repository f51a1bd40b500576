"""What happened in the control plane, in order: the source of the timeline and of each fault's anatomy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from svcsim.units import S

Detail = str | int | float | tuple[str, ...]


class Happening(StrEnum):
    """Kinds of journal entries; `subject` says of whom."""

    FAULT_BEGIN = "fault.begin"  # subject: the fault's text; detail: index, targets (names), pods, nodes
    FAULT_END = "fault.end"
    POD_SCHEDULED = "pod.scheduled"  # subject: namespace/name of the pod; detail: node
    POD_READY = "pod.ready"
    POD_NOT_READY = "pod.not_ready"  # detail: reason
    POD_TERMINATING = "pod.terminating"
    POD_REMOVED = "pod.removed"
    CONTAINER_STARTED = "container.started"  # subject: the pod
    CONTAINER_EXITED = "container.exited"
    SERVICE_CHANGED = "service.changed"  # subject: namespace/name of the Service
    ENDPOINTS_UPDATED = "endpoints.updated"  # subject: the Service; detail: object (its kind), ready, total, pods (changed)
    PROXY_SYNCED = "proxy.synced"  # subject: the node; detail: services (changed), began_ns, rules, kind (full, partial)
    PROXY_STOPPED = "proxy.stopped"
    PROXY_STARTED = "proxy.started"
    NODE_READY = "node.ready"  # subject: the node
    NODE_NOT_READY = "node.not_ready"
    NODE_DOWN = "node.down"
    NODE_UP = "node.up"
    LOAD_BALANCER = "load_balancer"  # subject: the Service; detail: change (ensured, updated, removed), nodes
    TARGET_HEALTH = "target.health"  # subject: the node; detail: service, healthy (yes, no), as its balancer's checks see it
    CONNTRACK_FULL = "conntrack.full"  # subject: the node; first drop of an episode
    NOTE = "note"  # a sentence for the reader, such as a fall-back of a proxy mode


@dataclass(frozen=True, slots=True)
class Entry:
    """One happening: when, what, of whom, and what else is known."""

    at_ns: int
    kind: Happening
    subject: str
    detail: dict[str, Detail] = field(default_factory=dict)


@dataclass(slots=True)
class Journal:
    """All entries of a run in the order in which they happened."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, at_ns: int, kind: Happening, subject: str, /, **detail: Detail) -> None:
        """Write an entry."""
        self.entries.append(Entry(at_ns, kind, subject, detail))

    def to_pandas(self) -> Any:
        """A pandas DataFrame, an entry a row: `at_s`, `kind`, `subject`, `detail` in words. Needs pandas (an extra)."""
        import pandas as pd

        rows = [
            (entry.at_ns / S, str(entry.kind), entry.subject,
             ", ".join(f"{name} {_words(value)}" for name, value in entry.detail.items()))
            for entry in self.entries
        ]
        return pd.DataFrame(rows, columns=["at_s", "kind", "subject", "detail"])


def _words(value: Detail) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)
