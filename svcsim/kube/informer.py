"""What a component knows of the cluster: its own copy of some kinds, as old as its watches are, with indices.

Source of the idea: client-go tools/cache (shared informers, indexers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svcsim.kube.api.base import LabelSelector
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import ReplicaSet
from svcsim.kube.client import Client, Handler
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, Object

LabelKey = tuple[str, str, str]


class Informer:
    """A cache of some kinds. Handlers are called after it has taken a change in."""

    __slots__ = (
        "_handlers", "_kinds", "_objects", "_pods_by_label", "_pods_by_owner", "_services_by_label", "_sets_by_owner", "_slices",
        "client",
    )

    def __init__(self, client: Client, kinds: Iterable[type[KubeObject]]) -> None:
        self.client = client
        self._kinds = tuple(kinds)
        self._objects: dict[str, dict[str, KubeObject]] = {kind.__name__: {} for kind in self._kinds}
        self._handlers: dict[str, list[Handler]] = {kind.__name__: [] for kind in self._kinds}
        self._pods_by_label: dict[LabelKey, dict[str, None]] = {}
        self._pods_by_owner: dict[str, dict[str, None]] = {}
        self._sets_by_owner: dict[str, dict[str, None]] = {}
        self._services_by_label: dict[LabelKey, dict[str, None]] = {}
        self._slices: dict[str, dict[str, None]] = {}
        for kind in self._kinds:
            client.watch([kind], self._changed)

    def list_initially(self) -> None:
        """Take in all that the store has, without a word to the handlers."""
        for kind in self._kinds:
            for obj in self.client.store.each(kind):
                self.take(obj)

    def take(self, obj: KubeObject) -> None:
        """Take in one object as it is now, without a word to the handlers."""
        known = self._objects[obj.kind]
        old = known.get(obj.metadata.key)
        if old is obj:
            return
        if old is not None:
            self._unindex(old)
        known[obj.metadata.key] = obj
        self._index(obj)

    def on(self, kind: type[KubeObject], handler: Handler) -> None:
        """Call a function with each change of a kind."""
        self._handlers[kind.__name__].append(handler)

    def get(self, model: type[Object], key: str) -> Object | None:
        """The object as it is known here, None if it is not."""
        found = self._objects[model.__name__].get(key)
        return found if isinstance(found, model) else None

    def each(self, model: type[Object]) -> Iterator[Object]:
        """All known objects of a kind."""
        for obj in list(self._objects[model.__name__].values()):
            if isinstance(obj, model):
                yield obj

    def pods_selected(self, namespace: str, selector: LabelSelector) -> list[Pod]:
        """The pods of a namespace that a selector matches, in the order in which they became known."""
        pairs = sorted(selector.match_labels.items())
        if pairs:
            keys = min((list(self._pods_by_label.get((namespace, key, value), ())) for key, value in pairs), key=len)
        else:
            keys = list(self._objects["Pod"])
        found = (self._objects["Pod"][key] for key in keys)
        return [
            pod
            for pod in found
            if isinstance(pod, Pod) and pod.metadata.namespace == namespace and selector.matches(pod.metadata.labels)
        ]

    def pods_of_owner(self, uid: str) -> list[Pod]:
        """The pods that the owner of this uid controls."""
        found = (self._objects["Pod"][key] for key in self._pods_by_owner.get(uid, {}))
        return [pod for pod in found if isinstance(pod, Pod)]

    def replica_sets_of_owner(self, uid: str) -> list[ReplicaSet]:
        """The ReplicaSets that the owner of this uid controls."""
        found = (self._objects["ReplicaSet"][key] for key in self._sets_by_owner.get(uid, {}))
        return [each for each in found if isinstance(each, ReplicaSet)]

    def services_selecting(self, pod: Pod) -> list[str]:
        """Keys of the Services whose selector matches a pod."""
        namespace, labels = pod.metadata.namespace, pod.metadata.labels
        keys: dict[str, None] = {}
        for label, value in labels.items():
            for key in self._services_by_label.get((namespace, label, value), {}):
                service = self._objects["Service"][key]
                if isinstance(service, Service) and all(labels.get(k) == v for k, v in service.spec.selector.items()):
                    keys[key] = None
        return list(keys)

    def slices_of(self, service_key: str) -> list[EndpointSlice]:
        """The slices of a Service, in order of their names."""
        found = (self._objects["EndpointSlice"][key] for key in sorted(self._slices.get(service_key, {})))
        return [piece for piece in found if isinstance(piece, EndpointSlice)]

    def _changed(self, event: Event) -> None:
        obj = event.obj
        if event.change is not Change.DELETED:
            self.take(obj)
        elif obj.metadata.key in self._objects[obj.kind]:
            self.forget(self._objects[obj.kind][obj.metadata.key])
        for handler in self._handlers[obj.kind]:
            handler(event)

    def forget(self, obj: KubeObject) -> None:
        """Forget an object, without a word to the handlers."""
        del self._objects[obj.kind][obj.metadata.key]
        self._unindex(obj)

    def _index(self, obj: KubeObject) -> None:
        for index, entry in self._entries(obj):
            index.setdefault(entry, {})[obj.metadata.key] = None

    def _unindex(self, obj: KubeObject) -> None:
        for index, entry in self._entries(obj):
            members = index.get(entry)
            if members is not None:
                members.pop(obj.metadata.key, None)
                if not members:
                    del index[entry]

    def _entries(self, obj: KubeObject) -> Iterator[tuple[dict[LabelKey | str, dict[str, None]], LabelKey | str]]:
        namespace = obj.metadata.namespace
        if isinstance(obj, Pod):
            for label, value in obj.metadata.labels.items():
                yield self._pods_by_label, (namespace, label, value)  # type: ignore[misc]
            for owner in obj.metadata.owner_references:
                if owner.controller:
                    yield self._pods_by_owner, owner.uid  # type: ignore[misc]
        elif isinstance(obj, ReplicaSet):
            for owner in obj.metadata.owner_references:
                if owner.controller:
                    yield self._sets_by_owner, owner.uid  # type: ignore[misc]
        elif isinstance(obj, Service):
            if obj.spec.selector:
                label, value = min(obj.spec.selector.items())
                yield self._services_by_label, (namespace, label, value)  # type: ignore[misc]
        elif isinstance(obj, EndpointSlice) and obj.service_key:
            yield self._slices, obj.service_key  # type: ignore[misc]
