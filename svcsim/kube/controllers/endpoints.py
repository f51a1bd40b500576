"""The Endpoints controller's loop, and that of the mirroring controller, which copies hand-made Endpoints into slices.

Sources: pkg/controller/endpoint/endpoints_controller.go,
pkg/controller/endpointslicemirroring/endpointslicemirroring_controller.go.
"""

from __future__ import annotations

from svcsim.kube.api.base import LabelSelector
from svcsim.kube.api.endpoints import MANAGED_BY_LABEL, Endpoints, EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.endpointslice import StaleCacheError, slice_pace
from svcsim.kube.controllers.endpointslice_mirroring import MIRRORING_CONTROLLER, mirror, should_mirror
from svcsim.kube.controllers.service_pods import is_managed, services_to_sync
from svcsim.kube.controllers.subsets import desired_endpoints
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import ApiError, Change, Event, UnavailableError
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import Pace, WorkQueue


class EndpointsController:
    """Keeps the Endpoints of all Services with a selector."""

    __slots__ = ("_events", "_informer", "_queue", "_timings", "_written")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._timings = timings
        self._written: dict[str, int] = {}
        self._events = EventRecorder(informer.client, "endpoint-controller")
        pace = Pace(
            timings.controller_workers, timings.controller_sync_ns, timings.api_write_ns, timings.controller_backoff_ns,
            timings.controller_backoff_max_ns,
        )
        self._queue = WorkQueue(informer.client, pace, self._sync)
        informer.on(Service, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(Pod, self._pod_changed)
        informer.on(Endpoints, self._endpoints_changed)

    def resync(self) -> None:
        """Look at every Service, and at Endpoints without one, as after the start of the controller."""
        for service in self._informer.each(Service):
            self._queue.add(service.metadata.key)
        for endpoints in self._informer.each(Endpoints):
            self._queue.add(endpoints.metadata.key)

    def _pod_changed(self, event: Event) -> None:
        for key in services_to_sync(self._informer, event):
            self._queue.add_after(key, self._timings.endpoints_batch_period_ns)

    def _endpoints_changed(self, event: Event) -> None:
        if event.change is Change.DELETED:
            self._queue.add(event.obj.metadata.key)

    def _sync(self, key: str) -> int:
        service = self._informer.get(Service, key)
        existing = self._informer.get(Endpoints, key)
        client = self._informer.client
        if service is None:
            self._written.pop(key, None)
            if existing is not None:
                client.delete(Endpoints, key)
                return 1
            return 0
        if not is_managed(service):
            return 0
        if existing is not None and existing.metadata.resource_version < self._written.get(key, 0):
            raise StaleCacheError(f"the Endpoints {key} are older than the last write")
        pods = self._informer.pods_selected(service.metadata.namespace, LabelSelector(match_labels=service.spec.selector))
        wanted = desired_endpoints(service, pods, existing, self._timings.max_endpoints_capacity)
        if wanted is None:
            return 0
        try:
            made = client.create(wanted) if existing is None else client.update(wanted)
        except UnavailableError:
            raise
        except ApiError as error:
            verb = "create" if existing is None else "update"
            about = service if existing is None else existing
            what = f"endpoint for service {key}" if existing is None else f"endpoint {key}"
            self._events.warning(about, f"FailedTo{verb.capitalize()}Endpoint", f"Failed to {verb} {what}: {error}")
            raise
        self._written[key] = made.metadata.resource_version
        return 1


class EndpointSliceMirroringController:
    """Keeps slices of the Endpoints that people write for Services without selector."""

    __slots__ = ("_informer", "_queue", "_timings")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._timings = timings
        self._queue = WorkQueue(informer.client, slice_pace(timings), self._sync)
        informer.on(Service, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(Endpoints, lambda event: self._queue.add(event.obj.metadata.key))

    def resync(self) -> None:
        """Look at all Endpoints, as after the start of the controller."""
        for endpoints in self._informer.each(Endpoints):
            self._queue.add(endpoints.metadata.key)

    def _sync(self, key: str) -> int:
        endpoints = self._informer.get(Endpoints, key)
        service = self._informer.get(Service, key)
        existing = [
            piece
            for piece in self._informer.slices_of(key)
            if piece.metadata.labels.get(MANAGED_BY_LABEL) == MIRRORING_CONTROLLER
        ]
        client = self._informer.client
        if endpoints is None or not should_mirror(endpoints, service):
            for piece in existing:
                client.delete(EndpointSlice, piece.metadata.key)
            return len(existing)
        plan = mirror(endpoints, existing, self._timings.mirroring_max_endpoints_per_subset)
        for piece in plan.create:
            client.create(piece)
        for piece in plan.update:
            client.update(piece)
        for piece in plan.delete:
            client.delete(EndpointSlice, piece.metadata.key)
        return len(plan.create) + len(plan.update) + len(plan.delete)
