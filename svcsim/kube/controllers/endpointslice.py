"""The EndpointSlice controller's loop: which Services to look at after which change, and when.

Source: pkg/controller/endpointslice/endpointslice_controller.go,
staging/src/k8s.io/endpointslice/util (endpointslice_tracker.go).
"""

from __future__ import annotations

from svcsim.kube.api.base import LabelSelector
from svcsim.kube.api.endpoints import MANAGED_BY_LABEL, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.service_pods import is_managed, services_to_sync
from svcsim.kube.controllers.slice_reconciler import SLICE_CONTROLLER, SlicePlan, SliceSettings, reconcile
from svcsim.kube.controllers.topology_hints import NodeShare, cpu_ratios, hints_enabled, is_overloaded, is_ready
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import ApiError, Change, Event
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import Pace, WorkQueue

CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class StaleCacheError(ApiError):
    """The controller has not yet seen its own last write."""


def slice_pace(timings: Timings) -> Pace:
    """The pace of the slice controllers."""
    return Pace(
        timings.controller_workers, timings.controller_sync_ns, timings.api_write_ns, timings.slice_backoff_ns,
        timings.slice_backoff_max_ns,
    )


def cpu_milli(node: Node) -> int:
    """A node's allocatable CPU in millicores, 0 when it does not say."""
    text = str(node.status.allocatable.get("cpu", node.status.capacity.get("cpu", "")))
    try:
        return int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)
    except ValueError:
        return 0


def node_share(node: Node) -> NodeShare:
    """What a node adds to its zone."""
    control_plane = any(label in node.metadata.labels for label in CONTROL_PLANE_LABELS)
    return NodeShare(node.zone, cpu_milli(node), node.is_ready, control_plane)


def plan_for(service: Service, informer: Informer, max_endpoints: int) -> SlicePlan:
    """What the slices of a Service need, by what is known."""
    pods = informer.pods_selected(service.metadata.namespace, LabelSelector(match_labels=service.spec.selector))
    nodes = {node.metadata.name: node for node in _nodes_of(pods, informer)}
    existing = [piece for piece in informer.slices_of(service.metadata.key) if is_own(piece)]
    ratios = None
    if any(annotation.endswith(("topology-mode", "topology-aware-hints")) for annotation in service.metadata.annotations):
        ratios = cpu_ratios(node_share(node) for node in informer.each(Node))
    return reconcile(service, pods, nodes, existing, SliceSettings(max_endpoints, ratios))


def _nodes_of(pods: list[Pod], informer: Informer) -> list[Node]:
    names = dict.fromkeys(pod.spec.node_name for pod in pods)
    found = (informer.get(Node, name) for name in names)
    return [node for node in found if node is not None]


def is_own(piece: EndpointSlice) -> bool:
    """Whether the slice controller manages a slice."""
    return piece.metadata.labels.get(MANAGED_BY_LABEL) == SLICE_CONTROLLER


class EndpointSliceController:
    """Keeps the slices of all Services with a selector."""

    __slots__ = ("_events", "_expected", "_informer", "_queue", "_timings")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._timings = timings
        self._queue = WorkQueue(informer.client, slice_pace(timings), self._sync)
        self._events = EventRecorder(informer.client, "endpoint-slice-controller")
        self._expected: dict[str, dict[str, int]] = {}
        informer.on(Service, self._service_changed)
        informer.on(Pod, self._pod_changed)
        informer.on(EndpointSlice, self._slice_changed)
        informer.on(Node, self._node_changed)

    def resync(self) -> None:
        """Look at every Service, as after the start of the controller."""
        for service in self._informer.each(Service):
            self._queue.add(service.metadata.key)

    def _service_changed(self, event: Event) -> None:
        self._queue.add(event.obj.metadata.key)

    def _pod_changed(self, event: Event) -> None:
        for key in services_to_sync(self._informer, event):
            self._queue.add_after(key, self._timings.endpoints_batch_period_ns)

    def _slice_changed(self, event: Event) -> None:
        piece = event.obj
        assert isinstance(piece, EndpointSlice)
        if not is_own(piece) or not piece.service_key:
            return
        expected = self._expected.get(piece.service_key, {}).get(piece.metadata.name, 0)
        if event.change is Change.DELETED:
            if expected == -1:
                del self._expected[piece.service_key][piece.metadata.name]
                return
        elif piece.metadata.resource_version <= expected:
            return
        delay_ns = max(self._timings.slice_change_min_sync_delay_ns, self._timings.endpoints_batch_period_ns)
        self._queue.add_after(piece.service_key, delay_ns)

    def _node_changed(self, event: Event) -> None:
        node, old = event.obj, event.old
        assert isinstance(node, Node)
        known = event.change is Change.MODIFIED and isinstance(old, Node)
        if not (known and isinstance(old, Node) and node_share(old) == node_share(node)):
            self._requeue_overloaded()
        if known and isinstance(old, Node) and old.zone == node.zone:
            return
        for pod in self._informer.each(Pod):
            if pod.spec.node_name == node.metadata.name:
                for key in self._informer.services_selecting(pod):
                    self._queue.add(key)

    def _requeue_overloaded(self) -> None:
        """The zones' shares have changed: Services whose hints do not fit them any more get new ones."""
        hinted = [service for service in self._informer.each(Service) if hints_enabled(service.metadata.annotations)]
        if not hinted:
            return
        ratios = cpu_ratios(node_share(node) for node in self._informer.each(Node))
        for service in hinted:
            by_family: dict[str, dict[str, int]] = {}
            for piece in self._informer.slices_of(service.metadata.key):
                counts = by_family.setdefault(piece.address_type, {})
                for endpoint in piece.endpoints if is_own(piece) else ():
                    for zone in endpoint.hints.for_zones if endpoint.hints is not None and is_ready(endpoint) else ():
                        counts[zone.name] = counts.get(zone.name, 0) + 1
            if any(is_overloaded(counts, ratios) for counts in by_family.values()):
                self._queue.add(service.metadata.key)

    def _sync(self, key: str) -> int:
        service = self._informer.get(Service, key)
        client = self._informer.client
        if service is None:
            self._expected.pop(key, None)
            return 0
        if not is_managed(service):
            return 0
        expected = self._expected.setdefault(key, {})
        known = {piece.metadata.name: piece for piece in self._informer.slices_of(key)}
        for name, version in expected.items():
            piece = known.get(name)
            if (version == -1) != (piece is None) or (piece is not None and piece.metadata.resource_version < version):
                raise StaleCacheError(f"the slices of {key} are older than the last write")
        plan = plan_for(service, self._informer, self._timings.max_endpoints_per_slice)
        for piece in plan.create:
            made = client.create(piece)
            expected[made.metadata.name] = made.metadata.resource_version
        for piece in plan.update:
            made = client.update(piece)
            expected[made.metadata.name] = made.metadata.resource_version
        for piece in plan.delete:
            client.delete(EndpointSlice, piece.metadata.key)
            expected[piece.metadata.name] = -1
        for kind, reason, message in plan.events:
            self._events.say(service, kind, reason, message)
        if plan.missing_nodes:
            text = f"Error updating Endpoint Slices for Service {key}: node {plan.missing_nodes[0]} not found"
            self._events.warning(service, "FailedToUpdateEndpointSlices", text)
            raise StaleCacheError(f"no node {plan.missing_nodes[0]}")
        return plan.writes
