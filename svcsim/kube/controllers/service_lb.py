"""The service controller of the cloud controller manager: a balancer for each Service of type LoadBalancer.

A call to the provider takes its time, and the controller makes one after the other for as many Services as it has workers. Nodes
that may not be behind a balancer are those labelled so, those that the autoscaler is about to delete, and before Kubernetes 1.27
those that are not ready (KEP-3458); after a change of that set every balancer is updated.

Source: kubernetes/cloud-provider controllers/service/controller.go (v0.30).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from svcsim.kube.api.node import Node
from svcsim.kube.api.service import LoadBalancerIngress, LoadBalancerStatus, Service
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import ApiError, Change, Event, NotFoundError, with_metadata
from svcsim.units import S

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
FIRST_RETRY_NS, LONGEST_RETRY_NS = 5 * S, 300 * S
COMPONENT = "service-controller"


class CloudError(Exception):
    """The provider refuses; the message is what its API says."""


class CloudProvider(Protocol):
    """A cloud provider's balancers. Each call is made when the provider has done its work; `CloudError` if it refuses."""

    provisioning_ns: int
    update_ns: int

    def ensure(self, service: Service, nodes: Sequence[Node]) -> tuple[LoadBalancerIngress, ...]:
        """Make the Service's balancer, or bring it in line with it; returns where it answers."""

    def update(self, service: Service, nodes: Sequence[Node]) -> None:
        """Put these nodes behind the Service's balancer."""

    def remove(self, service: Service) -> None:
        """Take the Service's balancer away."""


def wants_balancer(service: Service) -> bool:
    """Whether this controller makes a balancer for a Service: one with a class is somebody else's."""
    return service.spec.type == "LoadBalancer" and not service.spec.load_balancer_class


def is_member(node: Node, *, ready_only: bool = False) -> bool:
    """Whether a node may be behind balancers."""
    if EXCLUDE_LABEL in node.metadata.labels or node.metadata.deletion_ns is not None:
        return False
    if any(taint.key == AUTOSCALER_TAINT for taint in node.spec.taints):
        return False
    return node.is_ready or not ready_only


def _concerns_balancer(old: Service, new: Service) -> bool:
    """Whether a change of a Service matters to its balancer (`needsUpdate`)."""
    before, after = old.spec, new.spec
    fields = (
        "ports", "session_affinity", "session_affinity_config", "load_balancer_ip", "external_ips", "external_traffic_policy",
        "health_check_node_port", "load_balancer_source_ranges",
    )
    return (
        wants_balancer(old) != wants_balancer(new) or old.metadata.uid != new.metadata.uid
        or (old.metadata.deletion_ns is None) != (new.metadata.deletion_ns is None)
        or old.metadata.annotations != new.metadata.annotations
        or any(getattr(before, field) != getattr(after, field) for field in fields)
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be done with a Service: `ensure` its balancer (or remove it), or `update` the nodes behind it."""

    key: str
    what: Literal["ensure", "update"]


class ServiceController:
    """Keeps the provider's balancers and the Services' status in line with the Services and nodes."""

    __slots__ = ("_busy", "_cloud", "_failures", "_informer", "_queue", "_ready_only", "_recorder", "_waiting", "_workers")

    def __init__(
        self, informer: Informer, cloud: CloudProvider, *, workers: int = 1, ready_only: bool = False
    ) -> None:
        self._informer = informer
        self._cloud = cloud
        self._recorder = EventRecorder(informer.client, COMPONENT)
        self._workers = workers
        self._ready_only = ready_only
        self._queue: deque[_Task] = deque()
        self._busy: set[str] = set()
        self._failures: dict[_Task, int] = {}
        self._waiting = False
        informer.on(Service, self._service_changed)
        informer.on(Node, self._node_changed)

    def nodes(self) -> list[Node]:
        """The nodes that may be behind a balancer, by what is known now."""
        return [node for node in self._informer.each(Node) if is_member(node, ready_only=self._ready_only)]

    def resync(self, service: Service) -> None:
        """Look at a Service, as after the start of the controller."""
        self._add(_Task(service.metadata.key, "ensure"))

    # ---- what happens ------------------------------------------------------------------------------------------------

    def _service_changed(self, event: Event) -> None:
        service, old = event.obj, event.old
        assert isinstance(service, Service)
        if event.change is Change.DELETED:
            return  # its finalizer has seen to the balancer
        if isinstance(old, Service):
            if _concerns_balancer(old, service):
                self._add(_Task(service.metadata.key, "ensure"))
        elif wants_balancer(service) or FINALIZER in service.metadata.finalizers:
            self._add(_Task(service.metadata.key, "ensure"))

    def _node_changed(self, event: Event) -> None:
        node, old = event.obj, event.old
        assert isinstance(node, Node)
        now = event.change is not Change.DELETED and is_member(node, ready_only=self._ready_only)
        before = isinstance(old, Node) and is_member(old, ready_only=self._ready_only)
        if event.change is Change.DELETED:
            before = True
        if now != before:
            for service in self._informer.each(Service):
                if wants_balancer(service):
                    self._add(_Task(service.metadata.key, "update"))

    # ---- one call after the other ------------------------------------------------------------------------------------

    def _add(self, task: _Task) -> None:
        if task not in self._queue:
            self._queue.append(task)
        self._start()

    def _start(self) -> None:
        client = self._informer.client
        while len(self._busy) < self._workers:
            task = next((task for task in self._queue if task.key not in self._busy), None)
            if task is None:
                return
            if not client.reachable:
                if not self._waiting:
                    self._waiting = True
                    client.when_reachable(self._go_on)
                return
            self._queue.remove(task)
            self._busy.add(task.key)
            delay_ns = self._begin(task)
            client.clock.after(delay_ns, lambda task=task: self._finish(task))  # type: ignore[misc]

    def _go_on(self) -> None:
        self._waiting = False
        self._start()

    def _begin(self, task: _Task) -> int:
        """Say what begins; returns how long the provider takes."""
        service = self._informer.get(Service, task.key)
        if service is None:
            return 0
        if task.what == "update":
            return self._cloud.update_ns
        if self._is_unwanted(service):
            if FINALIZER not in service.metadata.finalizers:
                return 0
            self._recorder.normal(service, "DeletingLoadBalancer", "Deleting load balancer")
            return self._cloud.update_ns
        self._recorder.normal(service, "EnsuringLoadBalancer", "Ensuring load balancer")
        return self._cloud.update_ns if service.status.load_balancer.ingress else self._cloud.provisioning_ns

    @staticmethod
    def _is_unwanted(service: Service) -> bool:
        return not wants_balancer(service) or service.metadata.deletion_ns is not None

    def _finish(self, task: _Task) -> None:
        client = self._informer.client
        service = client.store.get(Service, task.key)
        self._busy.discard(task.key)
        if not client.reachable:
            self._add(task)
            return
        try:
            if service is not None:
                self._do(task, service)
        except CloudError as error:
            assert service is not None
            self._say_failed(task, service, str(error))
            self._try_later(task)
        except ApiError:
            self._try_later(task)
        else:
            self._failures.pop(task, None)
        self._start()

    def _do(self, task: _Task, service: Service) -> None:
        if task.what == "ensure":
            if self._is_unwanted(service):
                self._remove(service)
            else:
                self._ensure(service)
        elif wants_balancer(service) and service.status.load_balancer.ingress:
            nodes = self._members_for(service)
            self._cloud.update(service, nodes)
            if nodes:
                self._recorder.normal(service, "UpdatedLoadBalancer", "Updated load balancer with new hosts")

    def _members_for(self, service: Service) -> list[Node]:
        nodes = self.nodes()
        if not nodes:
            self._recorder.warning(service, "UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer")
        return nodes

    def _ensure(self, service: Service) -> None:
        client = self._informer.client
        if FINALIZER not in service.metadata.finalizers:
            service = client.update(with_metadata(service, finalizers=(*service.metadata.finalizers, FINALIZER)))
        ingress = self._cloud.ensure(service, self._members_for(service))
        self._write_ingress(service, ingress)
        self._recorder.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")

    def _remove(self, service: Service) -> None:
        if FINALIZER not in service.metadata.finalizers:
            return
        self._cloud.remove(service)
        if service.metadata.deletion_ns is None:
            service = self._write_ingress(service, ())
        finalizers = tuple(each for each in service.metadata.finalizers if each != FINALIZER)
        self._recorder.normal(service, "DeletedLoadBalancer", "Deleted load balancer")
        self._informer.client.update(with_metadata(service, finalizers=finalizers))

    def _write_ingress(self, service: Service, ingress: tuple[LoadBalancerIngress, ...]) -> Service:
        status = service.status.model_copy(update={"load_balancer": LoadBalancerStatus(ingress=ingress)})
        try:
            return self._informer.client.update_status(service.model_copy(update={"status": status}))
        except NotFoundError:
            return service

    # ---- what fails --------------------------------------------------------------------------------------------------

    def _say_failed(self, task: _Task, service: Service, message: str) -> None:
        if task.what == "update":
            self._recorder.warning(service, "UpdateLoadBalancerFailed", f"Error updating load balancer with new hosts: {message}")
        elif self._is_unwanted(service):
            self._recorder.warning(service, "DeleteLoadBalancerFailed", f"Error deleting load balancer: {message}")
        else:
            self._recorder.warning(service, "SyncLoadBalancerFailed", f"Error syncing load balancer: {message}")

    def _try_later(self, task: _Task) -> None:
        failures = self._failures[task] = self._failures.get(task, 0) + 1
        delay_ns = min(FIRST_RETRY_NS << (failures - 1), LONGEST_RETRY_NS)
        self._informer.client.clock.after(delay_ns, lambda: self._add(task))
