"""The DaemonSet controller: one pod on each node that takes it, replaced a few at a time when the template changes.

Source: pkg/controller/daemon/daemon_controller.go (nodeShouldRunDaemonPod, manage), update.go, util/daemonset_util.go
(AddOrUpdateDaemonPodTolerations).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from svcsim.kube.api.node import NOT_READY_TAINT, UNREACHABLE_TAINT, Node
from svcsim.kube.api.pod import Pod, Toleration
from svcsim.kube.api.workloads import DaemonSet
from svcsim.kube.controllers.deployment import template_hash
from svcsim.kube.controllers.owned_pods import Expectations, controller_of, pod_from_template
from svcsim.kube.controllers.placement import refusal
from svcsim.kube.controllers.replicas import is_active, is_available
from svcsim.kube.controllers.replicaset import controller_pace
from svcsim.kube.controllers.rolling import resolve
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import Change, Event
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import WorkQueue
from svcsim.units import S

REVISION_LABEL = "controller-revision-hash"
_TOLERATIONS = (
    Toleration(key=NOT_READY_TAINT, operator="Exists", effect="NoExecute"),
    Toleration(key=UNREACHABLE_TAINT, operator="Exists", effect="NoExecute"),
    *(
        Toleration(key=f"node.kubernetes.io/{what}", operator="Exists", effect="NoSchedule")
        for what in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable", "not-ready", "unreachable")
    ),
)


def daemon_pod(daemon_set: DaemonSet, node: str) -> Pod:
    """The pod of a DaemonSet for a node."""
    pod = pod_from_template(daemon_set, daemon_set.spec.template)
    host = daemon_set.spec.template.spec.host_network
    extra = (Toleration(key="node.kubernetes.io/network-unavailable", operator="Exists", effect="NoSchedule"),) if host else ()
    spec = pod.spec.model_copy(update={"node_name": node, "tolerations": (*pod.spec.tolerations, *_TOLERATIONS, *extra)})
    labels = {**pod.metadata.labels, REVISION_LABEL: template_hash(daemon_set.spec.template)}
    return pod.model_copy(update={"spec": spec, "metadata": pod.metadata.model_copy(update={"labels": labels})})


def wants_node(daemon_set: DaemonSet, node: Node) -> bool:
    """Whether a DaemonSet has a pod on a node."""
    return not refusal(daemon_pod(daemon_set, node.metadata.name), node, ignore_unschedulable=True)


def surplus_and_missing(
    daemon_set: DaemonSet, nodes: Sequence[Node], pods: Mapping[str, Sequence[Pod]]
) -> tuple[list[Pod], list[str]]:
    """Pods that should not be, and nodes that lack one. `pods` are the active ones by node."""
    surplus: list[Pod] = []
    missing: list[str] = []
    names = set()
    for node in nodes:
        name = node.metadata.name
        names.add(name)
        here = pods.get(name, ())
        if not wants_node(daemon_set, node):
            # Only a taint that evicts removes a running pod; here all refusals do, but for a node that is just not ready.
            surplus += here
        elif not here:
            missing.append(name)
        else:
            surplus += here[1:]
    surplus += [pod for name, here in pods.items() if name not in names for pod in here]
    return surplus, missing


class DaemonSetController:
    """Keeps the pods of all DaemonSets."""

    __slots__ = ("_events", "_expectations", "_informer", "_queue")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._events = EventRecorder(informer.client, "daemonset-controller")
        self._expectations = Expectations()
        self._queue = WorkQueue(informer.client, controller_pace(timings), self._sync)
        informer.on(DaemonSet, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(Pod, self._pod_changed)
        informer.on(Node, self._node_changed)

    def resync(self) -> None:
        """Look at every DaemonSet, as after the start of the controller."""
        for daemon_set in self._informer.each(DaemonSet):
            self._queue.add(daemon_set.metadata.key)

    def _pod_changed(self, event: Event) -> None:
        self._expectations.seen(event)
        owner = controller_of(event.obj)
        if owner is not None and owner.kind == "DaemonSet":
            self._queue.add(f"{event.obj.metadata.namespace}/{owner.name}")

    def _node_changed(self, event: Event) -> None:
        old, new = event.old, event.obj
        assert isinstance(new, Node)
        if event.change is Change.MODIFIED and isinstance(old, Node):
            if old.spec == new.spec and old.metadata.labels == new.metadata.labels:
                return
        self.resync()

    def _sync(self, key: str) -> int:
        daemon_set = self._informer.get(DaemonSet, key)
        if daemon_set is None or daemon_set.metadata.deletion_ns is not None:
            return 0
        uid = daemon_set.metadata.uid
        if not self._expectations.satisfied(uid):
            return 0
        client = self._informer.client
        pods: dict[str, list[Pod]] = {}
        terminating = 0
        for pod in self._informer.pods_of_owner(uid):
            if is_active(pod):
                pods.setdefault(pod.spec.node_name, []).append(pod)
            else:
                terminating += pod.is_terminating
        nodes = list(self._informer.each(Node))
        surplus, missing = surplus_and_missing(daemon_set, nodes, pods)
        for pod in surplus:
            self._delete(daemon_set, pod)
        for name in missing:
            made = self._expectations.create(client, uid, daemon_pod(daemon_set, name))
            self._events.normal(daemon_set, "SuccessfulCreate", f"Created pod: {made.metadata.name}")
        if surplus or missing:
            return len(surplus) + len(missing)
        return self._update(daemon_set, [pod for here in pods.values() for pod in here], terminating)

    def _delete(self, daemon_set: DaemonSet, pod: Pod) -> None:
        self._expectations.delete(self._informer.client, daemon_set.metadata.uid, pod)
        self._events.normal(daemon_set, "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    def _update(self, daemon_set: DaemonSet, pods: list[Pod], terminating: int) -> int:
        if daemon_set.spec.update_strategy.type == "OnDelete":
            return 0
        revision = template_hash(daemon_set.spec.template)
        rolling = daemon_set.spec.update_strategy.rolling_update
        share = rolling.max_unavailable if rolling is not None and rolling.max_unavailable is not None else 1
        allowed = max(1, resolve(share, len(pods), up=True))
        client = self._informer.client
        min_ready_ns = daemon_set.spec.min_ready_seconds * S
        unavailable = [pod for pod in pods if not is_available(pod, min_ready_ns, client.clock.now)]
        old = [pod for pod in pods if REVISION_LABEL in pod.metadata.labels and pod.metadata.labels[REVISION_LABEL] != revision]
        broken = [pod for pod in old if pod in unavailable]
        room = allowed - len(unavailable) - terminating
        sound = [pod for pod in old if pod not in unavailable][: max(0, room)]
        for pod in broken + sound:
            self._delete(daemon_set, pod)
        return len(broken) + len(sound)
