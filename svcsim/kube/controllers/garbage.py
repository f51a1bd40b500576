"""The garbage collector: what is owned goes with its owner, in the background.

Source: pkg/controller/garbagecollector.
"""

from __future__ import annotations

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, NotFoundError

_OWNERS = (Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet, Service)
_DEPENDENTS: tuple[type[KubeObject], ...] = (ReplicaSet, EndpointSlice)


class GarbageCollector:
    """Deletes dependents of deleted owners."""

    __slots__ = ("_informer",)

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        for kind in _OWNERS:
            informer.on(kind, self._owner_changed)

    def _owner_changed(self, event: Event) -> None:
        if event.change is Change.DELETED:
            uid = event.obj.metadata.uid
            self._informer.client.when_reachable(lambda: self._collect(uid))

    def _collect(self, uid: str) -> None:
        dependents: list[KubeObject] = list(self._informer.pods_of_owner(uid))
        for kind in _DEPENDENTS:
            dependents += [
                each for each in self._informer.each(kind) if any(owner.uid == uid for owner in each.metadata.owner_references)
            ]
        for each in dependents:
            try:
                self._informer.client.delete(Pod if isinstance(each, Pod) else type(each), each.metadata.key)
            except NotFoundError:
                continue
