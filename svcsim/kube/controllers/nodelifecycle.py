"""The node life-cycle controller's loop, with taint eviction: nodes that are silent, their pods, and the way back.

Each monitor period it looks at every node. One that has been silent for longer than the grace period gets Ready=Unknown and its
pods Ready=False at once; it is tainted for eviction at the zone's rate, and each pod goes when its toleration has run out.
Source: pkg/controller/nodelifecycle/node_lifecycle_controller.go, pkg/controller/tainteviction/taint_eviction.go,
pkg/controller/util/node/controller_utils.go (MarkPodsNotReady).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from svcsim.engine.clock import ProcessGenerator
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import READY, Pod
from svcsim.kube.controllers.node_health import (
    UNKNOWN_REASON,
    EvictionPace,
    Sign,
    ZoneState,
    eviction_interval_ns,
    is_lost,
    observe,
    ready_condition,
    wanted_taint,
    with_ready,
    with_taints,
    zone_states,
)
from svcsim.kube.controllers.placement import toleration_of
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.pod_conditions import with_condition
from svcsim.kube.store import ApiError, Event, NotFoundError
from svcsim.kube.timings import Timings
from svcsim.units import S

NODE_NOT_READY_REASON = "NodeNotReady"


class NodeLifecycleController:
    """Watches over the nodes."""

    __slots__ = (
        "_blind", "_events", "_everything_lost", "_evictions", "_informer", "_paces", "_renewed_ns", "_signs",
        "_taint_events", "_timings",
    )

    def __init__(self, informer: Informer, timings: Timings, renewed_ns: Callable[[str], int]) -> None:
        """`renewed_ns(node)` reads when the node's kubelet last renewed its lease."""
        self._informer = informer
        self._renewed_ns = renewed_ns
        self._timings = timings
        self._events = EventRecorder(informer.client, "node-controller")
        self._taint_events = EventRecorder(informer.client, "taint-eviction-controller")
        self._signs: dict[str, Sign] = {}
        self._paces: dict[str, EvictionPace] = {}
        self._evictions: dict[str, int] = {}
        self._blind = False
        self._everything_lost = False
        informer.on(Node, self._node_changed)
        informer.on(Pod, self._pod_changed)
        informer.client.clock.process(self._monitor())

    def _monitor(self) -> ProcessGenerator:
        clock = self._informer.client.clock
        while True:
            yield clock.sleep(self._timings.node_monitor_period_ns)
            if not self._informer.client.reachable:
                self._blind = True
                continue
            if self._blind:
                # The controller manager has lost its leadership in the meantime; it begins afresh.
                self._blind = False
                self._signs.clear()
            self._look()

    def _look(self) -> None:
        now = self._informer.client.clock.now
        nodes = list(self._informer.each(Node))
        for node in nodes:
            try:
                self._look_at(node, now)
            except ApiError:
                continue  # it has changed in the meantime: the next look will do
        states = zone_states(nodes, self._timings.unhealthy_zone_share)
        everything_lost = bool(states) and all(state is ZoneState.FULL for state in states.values())
        if everything_lost != self._everything_lost:
            self._everything_lost = everything_lost
            self._change_disruption(nodes, now)
        if everything_lost:
            return
        sizes = Counter(node.zone for node in nodes)
        for node in nodes:
            key = wanted_taint(node)
            if key is None or any(taint.key == key and taint.effect == "NoExecute" for taint in node.spec.taints):
                continue
            pace = self._paces.get(node.zone, EvictionPace())
            taken = pace.take(eviction_interval_ns(node.zone, states, sizes, self._timings), now)
            if taken is not None and self._taint(node.metadata.name, key, "NoExecute"):
                self._paces[node.zone] = taken

    def _change_disruption(self, nodes: list[Node], now: int) -> None:
        """With every node lost, the fault is rather here: no evictions. Once some are back, all nodes get their grace anew."""
        for node in nodes:
            name = node.metadata.name
            if self._everything_lost:
                self._taint(name, None, "NoExecute")
            elif name in self._signs:
                self._signs[name] = replace(self._signs[name], seen_ns=now)

    def _look_at(self, node: Node, now: int) -> None:
        name = node.metadata.name
        condition = ready_condition(node)
        status = condition.status if condition is not None else ""
        known = self._signs.get(name)
        sign = self._signs[name] = observe(known, self._renewed_ns(name), status, now)
        grace_ns = self._timings.node_monitor_grace_ns if condition is not None else self._timings.node_startup_grace_ns
        if status != "Unknown" and is_lost(sign, grace_ns, now):
            self._informer.client.update_status(with_ready(node, "Unknown", UNKNOWN_REASON, now))
            if status == "True":
                self._events.normal(node, NODE_NOT_READY_REASON, f"Node {name} status is now: {NODE_NOT_READY_REASON}")
            self._signs[name] = Sign(sign.renew_ns, sign.seen_ns, "Unknown")

    def _node_changed(self, event: Event) -> None:
        """Taints against new pods follow the condition at once; so does the pods' readiness."""
        old, node = event.old, event.obj
        assert isinstance(node, Node)
        name = node.metadata.name
        client = self._informer.client
        current = client.store.get(Node, name)
        if current is None:
            self._signs.pop(name, None)
            self._events.normal(node, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            return
        key = wanted_taint(current)
        was_ready = not isinstance(old, Node) or old.is_ready
        client.when_reachable(lambda: self._follow(name, key, was_ready=was_ready and not node.is_ready))
        self._time_evictions(node)

    def _follow(self, name: str, key: str | None, *, was_ready: bool) -> None:
        self._taint(name, key, "NoSchedule")
        if key is None:
            self._taint(name, None, "NoExecute")
        elif was_ready:
            self._mark_pods_not_ready(name)

    def _taint(self, name: str, key: str | None, effect: str) -> bool:
        client = self._informer.client
        node = client.store.get(Node, name)
        if node is None:
            return False
        tainted = with_taints(node, key, effect, client.clock.now)
        if tainted is not node:
            client.update(tainted)
        return True

    def _mark_pods_not_ready(self, node: str) -> None:
        client = self._informer.client
        for pod in self._informer.each(Pod):
            current = client.store.get(Pod, pod.metadata.key) if pod.spec.node_name == node else None
            if current is not None and current.is_ready:
                status = with_condition(current.status, READY, "False", NODE_NOT_READY_REASON, client.clock.now)
                client.update_status(current.model_copy(update={"status": status}))
                self._events.warning(current, NODE_NOT_READY_REASON, "Node is not ready")

    def _pod_changed(self, event: Event) -> None:
        pod = event.obj
        node = self._informer.get(Node, pod.spec.node_name) if isinstance(pod, Pod) and pod.spec.node_name else None
        if node is not None and not node.is_ready:
            self._time_evictions(node)

    def _time_evictions(self, node: Node) -> None:
        """Each pod that does not bear a NoExecute taint for ever goes when its time has come."""
        taints = [taint for taint in node.spec.taints if taint.effect == "NoExecute"]
        for pod in self._informer.each(Pod):
            if pod.spec.node_name != node.metadata.name:
                continue
            uid = pod.metadata.uid
            if not taints or pod.is_terminating:
                if self._evictions.pop(uid, None) is not None and not pod.is_terminating:
                    self._taint_events.normal(pod, "TaintManagerEviction", f"Cancelling deletion of Pod {pod.metadata.key}")
                continue
            if uid in self._evictions:
                continue
            tolerations = [toleration_of(pod, taint) for taint in taints]
            limits = [each.toleration_seconds for each in tolerations if each is not None and each.toleration_seconds is not None]
            if any(each is None for each in tolerations):
                seconds = 0
            elif limits:
                seconds = max(0, min(limits))
            else:
                continue
            self._schedule_eviction(pod, seconds * S)

    def _schedule_eviction(self, pod: Pod, delay_ns: int) -> None:
        clock = self._informer.client.clock
        due_ns = clock.now + delay_ns
        uid, key = pod.metadata.uid, pod.metadata.key
        self._evictions[uid] = due_ns

        def evict() -> None:
            if self._evictions.get(uid) == due_ns:
                self._informer.client.when_reachable(lambda: self._evict(uid, key))

        clock.after(delay_ns, evict)

    def _evict(self, uid: str, key: str) -> None:
        self._evictions.pop(uid, None)
        current = self._informer.client.store.get(Pod, key)
        if current is None or current.metadata.uid != uid or current.is_terminating:
            return
        self._taint_events.normal(current, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        try:
            self._informer.client.delete(Pod, key)
        except NotFoundError:
            return
