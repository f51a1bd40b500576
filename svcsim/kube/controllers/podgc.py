"""The pod garbage collector: pods of nodes that are no more are deleted by force.

It looks every 20 s; a node that it misses is in quarantine for 40 s, in case it comes back.
Source: pkg/controller/podgc/gc_controller.go (gcOrphaned, gcCheckPeriod, quarantineTime).
"""

from __future__ import annotations

from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.informer import Informer
from svcsim.kube.lifecycle import next_tick_ns
from svcsim.kube.store import Change, Event, NotFoundError
from svcsim.units import S

CHECK_PERIOD_NS = 20 * S
QUARANTINE_NS = 40 * S


class PodGarbageCollector:
    """Deletes orphaned pods. Nothing is scheduled while every node is there."""

    __slots__ = ("_informer",)

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        informer.on(Node, self._node_changed)

    def _node_changed(self, event: Event) -> None:
        if event.change is Change.DELETED:
            clock, name = self._informer.client.clock, event.obj.metadata.name
            due_ns = next_tick_ns(clock.now, CHECK_PERIOD_NS, 0) + QUARANTINE_NS
            clock.after(due_ns - clock.now, lambda: self._informer.client.when_reachable(lambda: self._collect(name)))

    def _collect(self, node: str) -> None:
        client = self._informer.client
        if client.store.get(Node, node) is not None:
            return
        for pod in self._informer.each(Pod):
            if pod.spec.node_name == node:
                try:
                    client.delete(Pod, pod.metadata.key, grace_seconds=0)
                except NotFoundError:
                    continue
