"""Which Services select a pod, without asking each of them: an index by one label of their selectors."""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.store import Change, Event, Store

Label = tuple[str, str, str]
"""(namespace, name, value)."""


class Selectors:
    """The Services of a store, as they are now.

    The store's initial objects come without an event, so the index is made when it is first asked for.
    """

    __slots__ = ("_by_label", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_label: dict[Label, dict[str, None]] | None = None
        store.listen(Service.__name__, self._changed)

    def of(self, pod: Pod) -> Iterator[Service]:
        """The Services whose selectors match a pod's labels."""
        by_label = self._by_label
        if by_label is None:
            by_label = self._by_label = {}
            for service in self._store.each(Service):
                self._add(service)
        namespace, labels = pod.metadata.namespace, pod.metadata.labels
        for label in labels.items():
            for key in by_label.get((namespace, *label), ()):
                service = self._store.require(Service, key)
                if all(labels.get(name) == value for name, value in service.spec.selector.items()):
                    yield service

    def _add(self, service: Service) -> None:
        label = _label(service)
        if label is not None and self._by_label is not None:
            self._by_label.setdefault(label, {})[service.metadata.key] = None

    def _changed(self, event: Event) -> None:
        if self._by_label is None:
            return
        before = event.obj if event.change is Change.DELETED else event.old
        label = _label(before) if isinstance(before, Service) else None
        if label is not None:
            self._by_label.get(label, {}).pop(event.obj.metadata.key, None)
        if event.change is not Change.DELETED and isinstance(event.obj, Service):
            self._add(event.obj)


def _label(service: Service) -> Label | None:
    if not service.spec.selector:
        return None
    return (service.metadata.namespace, *min(service.spec.selector.items()))
