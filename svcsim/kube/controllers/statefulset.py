"""The StatefulSet controller: pods with stable names, one after the other.

Source: pkg/controller/statefulset/stateful_set_control.go (updateStatefulSet), stateful_set_utils.go
(newVersionedStatefulSetPod).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svcsim.kube.api.pod import Pod, PodTemplate
from svcsim.kube.api.workloads import ReplicaStatus, StatefulSet
from svcsim.kube.controllers.deployment import template_hash
from svcsim.kube.controllers.owned_pods import Expectations, controller_of, pod_from_template
from svcsim.kube.controllers.replicas import is_available
from svcsim.kube.controllers.replicaset import controller_pace
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import Event
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import WorkQueue
from svcsim.units import S

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"


def stateful_pod(stateful_set: StatefulSet, ordinal: int, template: PodTemplate | None = None) -> Pod:
    """The pod of an ordinal: `web-0` with that host name under the set's headless Service; `template` is another revision's."""
    template = template or stateful_set.spec.template
    name = f"{stateful_set.metadata.name}-{ordinal}"
    pod = pod_from_template(stateful_set, template, name)
    labels = {**pod.metadata.labels, POD_NAME_LABEL: name, REVISION_LABEL: template_hash(template)}
    spec = pod.spec.model_copy(update={"hostname": name, "subdomain": stateful_set.spec.service_name})
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"labels": labels}), "spec": spec})


@dataclass(frozen=True, slots=True)
class StatefulStep:
    """The next step of a set: ordinals to create, pods to delete."""

    create: tuple[int, ...] = ()
    delete: tuple[Pod, ...] = ()


def next_step(stateful_set: StatefulSet, pods: Mapping[int, Pod], now_ns: int) -> StatefulStep:
    """What to do now: create the lowest that lacks, else delete the highest surplus, else replace the highest outdated one.

    With OrderedReady each waits for all before it to be available, and for a terminating one to be gone.
    """
    parallel = stateful_set.spec.pod_management_policy == "Parallel"
    min_ready_ns = stateful_set.spec.min_ready_seconds * S
    wanted = stateful_set.ordinals
    missing = tuple(ordinal for ordinal in wanted if ordinal not in pods)
    surplus = tuple(
        pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal not in wanted and not pods[ordinal].is_terminating
    )
    ended = tuple(pod for pod in pods.values() if pod.is_finished and not pod.is_terminating)
    if parallel:
        step = StatefulStep(missing, surplus + ended)
    else:
        step = _ordered_step(pods, missing, surplus, ended, min_ready_ns, now_ns)
    if step.create or step.delete or stateful_set.spec.update_strategy.type == "OnDelete":
        return step
    if len(pods) != stateful_set.replicas or any(pod.is_terminating for pod in pods.values()):
        return step
    if not parallel and not all(is_available(pod, min_ready_ns, now_ns) for pod in pods.values()):
        return step  # as upstream, a pod that does not get ready holds up even the update that would mend it
    return _update_step(stateful_set, pods, min_ready_ns, now_ns)


def _ordered_step(
    pods: Mapping[int, Pod], missing: tuple[int, ...], surplus: tuple[Pod, ...], ended: tuple[Pod, ...], min_ready_ns: int,
    now_ns: int,
) -> StatefulStep:
    if ended:
        return StatefulStep(delete=ended[:1])
    settled = all(is_available(pod, min_ready_ns, now_ns) and not pod.is_terminating for pod in pods.values())
    if missing:
        before = [pod for ordinal, pod in pods.items() if ordinal < missing[0]]
        ready = all(is_available(pod, min_ready_ns, now_ns) and not pod.is_terminating for pod in before)
        return StatefulStep(create=missing[:1]) if ready else StatefulStep()
    return StatefulStep(delete=surplus[:1]) if surplus and settled else StatefulStep()


def _update_step(stateful_set: StatefulSet, pods: Mapping[int, Pod], min_ready_ns: int, now_ns: int) -> StatefulStep:
    revision = template_hash(stateful_set.spec.template)
    partition = _partition(stateful_set)
    for ordinal in sorted(pods, reverse=True):
        pod = pods[ordinal]
        if ordinal >= partition and pod.metadata.labels.get(REVISION_LABEL, revision) != revision:
            return StatefulStep(delete=(pod,))
        if not is_available(pod, min_ready_ns, now_ns):
            return StatefulStep()
    return StatefulStep()


def _partition(stateful_set: StatefulSet) -> int:
    """The first ordinal that is updated."""
    strategy = stateful_set.spec.update_strategy
    share = strategy.rolling_update.partition if strategy.rolling_update is not None else None
    return stateful_set.spec.ordinals.start + (share or 0)


def pods_by_ordinal(stateful_set: StatefulSet, pods: list[Pod]) -> dict[int, Pod]:
    """The set's pods by ordinal."""
    prefix = f"{stateful_set.metadata.name}-"
    found = {}
    for pod in pods:
        tail = pod.metadata.name.removeprefix(prefix)
        if tail.isdecimal():
            found[int(tail)] = pod
    return dict(sorted(found.items()))


def stateful_status(stateful_set: StatefulSet, pods: list[Pod], now_ns: int) -> ReplicaStatus:
    """The counts of a set's pods."""
    min_ready_ns = stateful_set.spec.min_ready_seconds * S
    return ReplicaStatus(
        replicas=len(pods),
        ready_replicas=sum(pod.is_ready for pod in pods),
        available_replicas=sum(is_available(pod, min_ready_ns, now_ns) for pod in pods),
    )


def _is_updated(stateful_set: StatefulSet, pods: Mapping[int, Pod]) -> bool:
    """Whether every pod is of the present template and ready (completeRollingUpdate)."""
    revision = template_hash(stateful_set.spec.template)
    return len(pods) == stateful_set.replicas and all(
        pod.is_ready and pod.metadata.labels.get(REVISION_LABEL) == revision for pod in pods.values()
    )


class StatefulSetController:
    """Keeps the pods of all StatefulSets."""

    __slots__ = ("_current", "_events", "_expectations", "_informer", "_queue")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._events = EventRecorder(informer.client, "statefulset-controller")
        self._expectations = Expectations()
        self._current: dict[str, PodTemplate] = {}
        self._queue = WorkQueue(informer.client, controller_pace(timings), self._sync)
        informer.on(StatefulSet, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(Pod, self._pod_changed)

    def resync(self) -> None:
        """Look at every StatefulSet, as after the start of the controller."""
        for stateful_set in self._informer.each(StatefulSet):
            self._queue.add(stateful_set.metadata.key)

    def _pod_changed(self, event: Event) -> None:
        self._expectations.seen(event)
        owner = controller_of(event.obj)
        if owner is None or owner.kind != "StatefulSet":
            return
        key = f"{event.obj.metadata.namespace}/{owner.name}"
        self._queue.add(key)
        known = self._informer.get(StatefulSet, key)
        if known is not None and known.spec.min_ready_seconds:
            self._queue.add_after(key, known.spec.min_ready_seconds * S)

    def _sync(self, key: str) -> int:
        stateful_set = self._informer.get(StatefulSet, key)
        if stateful_set is None or stateful_set.metadata.deletion_ns is not None:
            return 0
        uid = stateful_set.metadata.uid
        if not self._expectations.satisfied(uid):
            return 0
        client = self._informer.client
        current = self._current.setdefault(uid, stateful_set.spec.template)
        pods = pods_by_ordinal(stateful_set, self._informer.pods_of_owner(uid))
        step = next_step(stateful_set, pods, client.clock.now)
        for ordinal in step.create:
            template = current if ordinal < _partition(stateful_set) else stateful_set.spec.template
            made = self._expectations.create(client, uid, stateful_pod(stateful_set, ordinal, template))
            self._tell(stateful_set, "create", made)
        for pod in step.delete:
            self._expectations.delete(client, uid, pod)
            self._tell(stateful_set, "delete", pod)
        if current is not stateful_set.spec.template and _is_updated(stateful_set, pods):
            self._current[uid] = stateful_set.spec.template
        status = stateful_status(stateful_set, list(pods.values()), client.clock.now)
        writes = len(step.create) + len(step.delete)
        if status != stateful_set.status:
            client.update_status(stateful_set.model_copy(update={"status": status}))
            writes += 1
        return writes

    def _tell(self, stateful_set: StatefulSet, verb: str, pod: Pod) -> None:
        text = f"{verb} Pod {pod.metadata.name} in StatefulSet {stateful_set.metadata.name} successful"
        self._events.normal(stateful_set, f"Successful{verb.capitalize()}", text)
