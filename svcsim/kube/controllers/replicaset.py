"""The ReplicaSet and ReplicationController loop: as many pods as asked for, and counts of those that are ready.

Source: pkg/controller/replicaset/replica_set.go (syncReplicaSet, manageReplicas); both kinds share it there too.
"""

from __future__ import annotations

from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import ReplicaSet, ReplicaStatus, ReplicationController
from svcsim.kube.controllers.owned_pods import Expectations, controller_of, owner_reference, pod_from_template
from svcsim.kube.controllers.replicas import deletion_order, is_active, is_available, ready_since_ns
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import Event, with_metadata
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import Pace, WorkQueue
from svcsim.units import S

BURST_REPLICAS = 500

Replicated = ReplicaSet | ReplicationController


def controller_pace(timings: Timings) -> Pace:
    """The pace of the workload controllers."""
    return Pace(
        timings.controller_workers, timings.controller_sync_ns, timings.api_write_ns, timings.controller_backoff_ns,
        timings.controller_backoff_max_ns,
    )


def replica_status(owner: Replicated, pods: list[Pod], now_ns: int) -> ReplicaStatus:
    """The counts of an owner's active pods."""
    min_ready_ns = owner.spec.min_ready_seconds * S
    return ReplicaStatus(
        replicas=len(pods),
        ready_replicas=sum(pod.is_ready for pod in pods),
        available_replicas=sum(is_available(pod, min_ready_ns, now_ns) for pod in pods),
    )


class ReplicaSetController:
    """Keeps the pods of one kind of owners: ReplicaSets or ReplicationControllers."""

    __slots__ = ("_events", "_expectations", "_informer", "_model", "_queue")

    def __init__(self, informer: Informer, timings: Timings, model: type[Replicated] = ReplicaSet) -> None:
        self._informer = informer
        self._model = model
        component = "replicaset-controller" if model is ReplicaSet else "replication-controller"
        self._events = EventRecorder(informer.client, component)
        self._expectations = Expectations()
        self._queue = WorkQueue(informer.client, controller_pace(timings), self._sync)
        informer.on(model, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(Pod, self._pod_changed)

    def resync(self) -> None:
        """Look at every owner, as after the start of the controller."""
        for owner in self._informer.each(self._model):
            self._queue.add(owner.metadata.key)

    def _pod_changed(self, event: Event) -> None:
        self._expectations.seen(event)
        pod = event.obj
        owner = controller_of(pod)
        if owner is None:
            for each in self._informer.each(self._model):
                if each.metadata.namespace == pod.metadata.namespace and each.spec.pod_selector.matches(pod.metadata.labels):
                    self._queue.add(each.metadata.key)
            return
        if owner.kind != self._model.__name__:
            return
        key = f"{pod.metadata.namespace}/{owner.name}"
        self._queue.add(key)
        known = self._informer.get(self._model, key)
        if known is not None and known.spec.min_ready_seconds and isinstance(pod, Pod) and ready_since_ns(pod) is not None:
            self._queue.add_after(key, known.spec.min_ready_seconds * S)

    def _sync(self, key: str) -> int:
        owner = self._informer.get(self._model, key)
        if owner is None or owner.metadata.deletion_ns is not None:
            return 0
        uid = owner.metadata.uid
        writes = self._adopt(owner)
        pods = [pod for pod in self._informer.pods_of_owner(uid) if is_active(pod)]
        if self._expectations.satisfied(uid):
            writes += self._scale(owner, pods)
        status = replica_status(owner, pods, self._informer.client.clock.now)
        if status != owner.status:
            self._informer.client.update_status(owner.model_copy(update={"status": status}))
            writes += 1
        return writes

    def _adopt(self, owner: Replicated) -> int:
        adopted = 0
        for pod in self._informer.pods_selected(owner.metadata.namespace, owner.spec.pod_selector):
            if is_active(pod) and controller_of(pod) is None:
                references = (*pod.metadata.owner_references, owner_reference(owner))
                self._informer.client.update(with_metadata(pod, owner_references=references))
                adopted += 1
        return adopted

    def _scale(self, owner: Replicated, pods: list[Pod]) -> int:
        client, uid = self._informer.client, owner.metadata.uid
        missing = min(owner.replicas - len(pods), BURST_REPLICAS)
        for _ in range(missing):
            made = self._expectations.create(client, uid, pod_from_template(owner, owner.spec.template))
            self._events.normal(owner, "SuccessfulCreate", f"Created pod: {made.metadata.name}")
        if missing >= 0:
            return missing
        surplus = min(-missing, BURST_REPLICAS)
        order = deletion_order(pods, self._related(owner, pods), client.clock.now)
        for pod in order[:surplus]:
            self._expectations.delete(client, uid, pod)
            self._events.normal(owner, "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return surplus

    def _related(self, owner: Replicated, pods: list[Pod]) -> list[Pod]:
        deployment = controller_of(owner)
        if deployment is None or not isinstance(owner, ReplicaSet):
            return pods
        return [
            pod
            for each in self._informer.replica_sets_of_owner(deployment.uid)
            for pod in self._informer.pods_of_owner(each.metadata.uid)
            if is_active(pod)
        ]
