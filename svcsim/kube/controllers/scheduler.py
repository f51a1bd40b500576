"""The scheduler's loop: one pod after the other; one that fits nowhere waits for a change of the nodes or pods.

Source: pkg/scheduler/schedule_one.go, internal/queue/scheduling_queue.go (unschedulable pods move on cluster events).
"""

from __future__ import annotations

from collections import deque

from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.controllers.placement import Load, candidates, choose_node, nodes_to_score, why_nowhere
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import Change, Event, NotFoundError
from svcsim.kube.timings import Timings


class Scheduler:
    """Binds pods to nodes."""

    __slots__ = ("_assumed", "_busy", "_events", "_informer", "_queue", "_queued", "_start_at", "_timings", "_waiting")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._timings = timings
        self._events = EventRecorder(informer.client, "default-scheduler")
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._waiting: dict[str, None] = {}
        self._assumed: dict[str, str] = {}
        self._busy = False
        self._start_at = 0
        informer.on(Pod, self._pod_changed)
        informer.on(Node, self._node_changed)

    def resync(self) -> None:
        """Look at every pod without a node, as after the start of the scheduler."""
        for pod in self._informer.each(Pod):
            if not pod.spec.node_name:
                self._add(pod.metadata.key)

    def wait_for_change(self) -> None:
        """Take pods without a node for known not to fit anywhere, and say so, until something changes."""
        nodes = list(self._informer.each(Node))
        for pod in self._informer.each(Pod):
            if not pod.spec.node_name and not pod.is_finished:
                self._waiting[pod.metadata.key] = None
                self._events.warning(pod, "FailedScheduling", why_nowhere(pod, nodes))

    def _pod_changed(self, event: Event) -> None:
        pod = event.obj
        assert isinstance(pod, Pod)
        key = pod.metadata.key
        if pod.spec.node_name or event.change is Change.DELETED:
            self._assumed.pop(key, None)
            self._waiting.pop(key, None)
            if event.change is Change.DELETED:
                self._retry()
        elif key not in self._assumed:
            self._add(key)

    def _node_changed(self, event: Event) -> None:
        old, new = event.old, event.obj
        assert isinstance(new, Node)
        same = isinstance(old, Node) and event.change is Change.MODIFIED and (
            old.is_ready == new.is_ready and old.spec == new.spec and old.metadata.labels == new.metadata.labels
        )
        if not same:
            self._retry()

    def _retry(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for key in waiting:
            self._add(key)

    def _add(self, key: str) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._queue.append(key)
            self._start()

    def _start(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            self._informer.client.when_reachable(
                lambda: self._informer.client.clock.after(self._timings.scheduling_ns, self._schedule)
            )

    def _schedule(self) -> None:
        self._busy = False
        client = self._informer.client
        if not client.reachable or not self._queue:
            self._start()
            return
        key = self._queue.popleft()
        self._queued.discard(key)
        pod = self._informer.get(Pod, key)
        if pod is not None and not pod.spec.node_name and not pod.is_terminating:
            fitting = candidates(pod, self._informer.each(Node))
            node = choose_node(pod, fitting, self._load(), self._start_at % max(1, len(fitting)))
            self._start_at += nodes_to_score(len(fitting)) % max(1, len(fitting))
            if node is None:
                self._waiting[key] = None
                self._events.warning(pod, "FailedScheduling", why_nowhere(pod, self._informer.each(Node)))
            else:
                self._bind(pod, node.metadata.name)
        self._start()

    def _load(self) -> Load:
        nodes = {node.metadata.name: node for node in self._informer.each(Node)}
        load = Load()
        for pod in self._informer.each(Pod):
            node = nodes.get(pod.spec.node_name or self._assumed.get(pod.metadata.key, ""))
            if node is not None and not pod.is_finished:
                load.add(pod, node)
        return load

    def _bind(self, pod: Pod, node: str) -> None:
        client = self._informer.client
        current = client.get(Pod, pod.metadata.key)
        if current is None or current.metadata.uid != pod.metadata.uid or current.is_terminating:
            return
        self._assumed[pod.metadata.key] = node
        try:
            client.update(current.model_copy(update={"spec": current.spec.model_copy(update={"node_name": node})}))
        except NotFoundError:
            self._assumed.pop(pod.metadata.key, None)
            return
        self._events.normal(current, "Scheduled", f"Successfully assigned {pod.metadata.key} to {node}")
