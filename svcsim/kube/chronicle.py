"""What the API server's objects tell of the course of events: each change that matters becomes a journal entry."""

from __future__ import annotations

from collections.abc import Callable

from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import READY, Pod
from svcsim.kube.api.service import Service
from svcsim.kube.store import Change, Event, Store


class Chronicle:
    """Writes the journal from the store's changes, at the instant of each write."""

    __slots__ = ("_counts", "_journal", "_store")

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._counts: dict[str, dict[str, tuple[str, int, int]]] = {}
        store.listen(Pod.__name__, self._pod)
        store.listen(Service.__name__, self._service)
        store.listen(Endpoints.__name__, self._endpoints)
        store.listen(EndpointSlice.__name__, self._slice)
        store.listen(Node.__name__, self._node)

    def begin(self) -> None:
        """Take the slices that a run starts with as known."""
        for piece in self._store.each(EndpointSlice):
            self._counts.setdefault(piece.service_key, {})[piece.metadata.name] = _slice_counts(piece)

    def _pod(self, event: Event) -> None:
        pod, old = event.obj, event.old
        assert isinstance(pod, Pod)
        now, key = self._store.now, pod.metadata.key
        if event.change is Change.DELETED:
            self._journal.add(now, Happening.POD_REMOVED, key)
            return
        before = old if isinstance(old, Pod) else None
        if pod.spec.node_name and (before is None or not before.spec.node_name):
            self._journal.add(now, Happening.POD_SCHEDULED, key, node=pod.spec.node_name)
        if pod.is_terminating and (before is None or not before.is_terminating):
            self._journal.add(now, Happening.POD_TERMINATING, key)
        was_ready = before is not None and before.is_ready
        if pod.is_ready and not was_ready:
            self._journal.add(now, Happening.POD_READY, key)
        elif was_ready and not pod.is_ready:
            condition = pod.status.condition(READY)
            self._journal.add(now, Happening.POD_NOT_READY, key, reason=condition.reason if condition is not None else "")

    def _service(self, event: Event) -> None:
        self._journal.add(self._store.now, Happening.SERVICE_CHANGED, event.obj.metadata.key, change=event.change.name.lower())

    def _endpoints(self, event: Event) -> None:
        endpoints = event.obj
        assert isinstance(endpoints, Endpoints)
        subsets = () if event.change is Change.DELETED else endpoints.subsets
        ready = sum(len(subset.addresses) for subset in subsets)
        total = ready + sum(len(subset.not_ready_addresses) for subset in subsets)
        self._journal.add(
            self._store.now, Happening.ENDPOINTS_UPDATED, endpoints.metadata.key, object="Endpoints", ready=ready, total=total,
            pods=_changed_pods(event, _pods_of_endpoints),
        )

    def _slice(self, event: Event) -> None:
        piece = event.obj
        assert isinstance(piece, EndpointSlice)
        key = piece.service_key
        counts = self._counts.setdefault(key, {})
        if event.change is Change.DELETED:
            counts.pop(piece.metadata.name, None)
        else:
            counts[piece.metadata.name] = _slice_counts(piece)
        if key:
            self._journal.add(
                self._store.now, Happening.ENDPOINTS_UPDATED, key, object="EndpointSlice",
                ready=sum(ready for family, ready, _ in counts.values() if family == piece.address_type),
                total=sum(total for family, _, total in counts.values() if family == piece.address_type),
                pods=_changed_pods(event, _pods_of_slice),
            )

    def _node(self, event: Event) -> None:
        node, old = event.obj, event.old
        assert isinstance(node, Node)
        if event.change is not Change.MODIFIED or not isinstance(old, Node) or old.is_ready == node.is_ready:
            return
        happening = Happening.NODE_READY if node.is_ready else Happening.NODE_NOT_READY
        self._journal.add(self._store.now, happening, node.metadata.name)


def _changed_pods(event: Event, pods_of: Callable[[object], dict[str, object]]) -> tuple[str, ...]:
    """The pods (`namespace/name`) that an update brings, takes away or gives another condition."""
    before = {} if event.old is None else pods_of(event.old)
    after = {} if event.change is Change.DELETED else pods_of(event.obj)
    if event.change is Change.DELETED and not before:
        before = pods_of(event.obj)
    return tuple(pod for pod in {**before, **after} if before.get(pod) != after.get(pod))


def _pods_of_slice(piece: object) -> dict[str, object]:
    """Pods of a slice with their conditions."""
    assert isinstance(piece, EndpointSlice)
    return {
        f"{ref.namespace}/{ref.name}": endpoint.conditions
        for endpoint in piece.endpoints if (ref := endpoint.target_ref) is not None and ref.kind == "Pod"
    }


def _pods_of_endpoints(endpoints: object) -> dict[str, object]:
    """Pods of an Endpoints object and whether they are ready."""
    assert isinstance(endpoints, Endpoints)
    return {
        f"{ref.namespace}/{ref.name}": ready
        for subset in endpoints.subsets
        for addresses, ready in ((subset.not_ready_addresses, False), (subset.addresses, True))
        for address in addresses if (ref := address.target_ref) is not None and ref.kind == "Pod"
    }


def _slice_counts(piece: EndpointSlice) -> tuple[str, int, int]:
    """(family, ready endpoints, endpoints)."""
    ready = sum(endpoint.conditions.ready is not False for endpoint in piece.endpoints)
    return piece.address_type, ready, len(piece.endpoints)
