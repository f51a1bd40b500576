"""The control plane of a cluster in one piece: the API server's store, controllers, scheduler and a kubelet a node.

`settle` brings in nodes and objects, connects the data plane and starts everything; from then on the state is there to be read
(kube-proxies and cluster DNS begin with it). Faults act through the kubelets, `disconnect` and `Store.set_available`, or write
objects into `store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.node import Node, NodeAddress, well_known_labels
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.chronicle import Chronicle
from svcsim.kube.client import Client, Switchboard
from svcsim.kube.controllers.daemonset import DaemonSetController
from svcsim.kube.controllers.deployment import DeploymentController
from svcsim.kube.controllers.endpoints import EndpointsController, EndpointSliceMirroringController
from svcsim.kube.controllers.endpointslice import EndpointSliceController
from svcsim.kube.controllers.garbage import GarbageCollector
from svcsim.kube.controllers.nodelifecycle import NodeLifecycleController
from svcsim.kube.controllers.podgc import PodGarbageCollector
from svcsim.kube.controllers.replicaset import ReplicaSetController
from svcsim.kube.controllers.scheduler import Scheduler
from svcsim.kube.controllers.statefulset import StatefulSetController
from svcsim.kube.defaulting import default_pod
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.kubelet import Kubelet
from svcsim.kube.probing import Prober
from svcsim.kube.propagation import Propagation
from svcsim.kube.room import room_notes
from svcsim.kube.runtime import ContainerRuntime
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.settling import Settling, load_objects
from svcsim.kube.store import Change, Event, Store
from svcsim.kube.timings import Timings
from svcsim.units import S

MANAGER_KINDS: tuple[type[KubeObject], ...] = (
    Service, Endpoints, EndpointSlice, Pod, Node, Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet,
)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as the control plane has to know it; `labels` come on top of the well-known ones.

    `further_address` and `further_pod_cidr` are those of the second family, empty if it has none.
    """

    name: str
    address: str
    pod_cidr: str
    cores: int = 4
    zone: str = ""
    max_pods: int = 110
    labels: tuple[tuple[str, str], ...] = ()
    further_address: str = ""
    further_pod_cidr: str = ""

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The blocks of its pods, the primary family's first."""
        return tuple(filter(None, (self.pod_cidr, self.further_pod_cidr)))

    def as_object(self, given: Node | None = None) -> Node:
        """The Node as its kubelet registers it; of a given one its labels, taints and conditions are kept."""
        labels = well_known_labels(self.name, self.zone)
        own = filter(None, (self.address, self.further_address))
        addresses = [{"type": "InternalIP", "address": address} for address in own]
        addresses.append({"type": "Hostname", "address": self.name})
        if given is not None:
            spec = given.spec.model_copy(update={"pod_cidr": self.pod_cidr, "pod_cidrs": self.pod_cidrs})
            made = tuple(NodeAddress.model_validate(each) for each in addresses)
            status = given.status.model_copy(update={"addresses": made})
            metadata = given.metadata.model_copy(update={"labels": {**labels, **given.metadata.labels}})
            return given.model_copy(update={"metadata": metadata, "spec": spec, "status": status})
        capacity = {"cpu": str(self.cores), "pods": str(self.max_pods)}
        return Node.model_validate(
            {
                "metadata": {"name": self.name, "labels": {**labels, **dict(self.labels)}},
                "spec": {"podCIDR": self.pod_cidr, "podCIDRs": self.pod_cidrs},
                "status": {"addresses": addresses, "capacity": capacity, "allocatable": capacity},
            }
        )


class _PodAdmission:
    """What the API server does with pods."""

    __slots__ = ("_toleration_s",)

    def __init__(self, toleration_s: int) -> None:
        self._toleration_s = toleration_s

    def create(self, obj: KubeObject) -> KubeObject:
        """Add the default tolerations."""
        return default_pod(obj, self._toleration_s) if isinstance(obj, Pod) else obj

    def update(self, old: KubeObject, new: KubeObject) -> KubeObject:
        """As it is."""
        return new

    def delete(self, obj: KubeObject) -> None:
        """Nothing is given back."""


class ControlPlane:
    """A cluster's control plane."""

    def __init__(
        self, clock: Clock, journal: Journal, timings: Timings, seed: int, *, nodes: Iterable[NodeSpec],
        service_cidr: str | Sequence[str] = "10.96.0.0/12",
    ) -> None:
        """`service_cidr`: one block, or one a family with the default family first."""
        self._clock = clock
        self._journal = journal
        self._timings = timings
        self._seed = seed
        self._nodes = {spec.name: spec for spec in nodes}
        self.store = Store(clock, seed)
        self.registry = ServiceRegistry((service_cidr,) if isinstance(service_cidr, str) else service_cidr, seed)
        self.store.admit(Service.__name__, self.registry)
        self.store.admit(Pod.__name__, _PodAdmission(timings.node_toleration_ns // S))
        self._board = Switchboard(self.store)
        self.propagation = Propagation(self.store, self._board)
        self._node_clients: dict[str, list[Client]] = {}
        self._manager = Informer(self.client("kube-controller-manager"), MANAGER_KINDS)
        self._scheduling = Informer(self.client("kube-scheduler"), (Pod, Node))
        self._kubelets: dict[str, Kubelet] = {}
        self.down_at_start: tuple[str, ...] = ()
        """Nodes that are not ready in the initial objects: they are without power until `Kubelet.power_on`."""

    def client(self, name: str) -> Client:
        """A new component's connection to the API server."""
        return Client(self._board, self._clock, name, self._timings, self._seed)

    def node_client(self, node: str, component: str) -> Client:
        """The connection of a component on a node, which shares the node's fate."""
        client = self.client(f"{component}/{node}")
        self._node_clients.setdefault(node, []).append(client)
        return client

    def kubelet(self, node: str) -> Kubelet:
        """A node's kubelet; KeyError before `settle` and for a node that there is not."""
        return self._kubelets[node]

    def settle(
        self, objects: Iterable[KubeObject], runtime: ContainerRuntime, prober: Prober, *, settled: bool = True
    ) -> None:
        """Bring in the initial objects and start every component.

        Settled: everything is placed, running, ready and published at once, as if the cluster had been up for long; otherwise it
        comes up as the run goes on. InvalidError and AlreadyExistsError for objects that the API server refuses.
        """
        everything = list(objects)
        given = {obj.metadata.name: obj for obj in everything if isinstance(obj, Node)}
        nodes = [spec.as_object(given.get(name)) for name, spec in self._nodes.items()]
        for obj in everything:
            if isinstance(obj, Service) and obj.metadata.uid:
                self.registry.take_over(obj)
        if settled:
            Settling(self.store, self._manager, self._timings).run(nodes, everything)
            for text in room_notes(self.store):
                self._journal.add(self._clock.now, Happening.NOTE, text)
        else:
            load_objects(self.store, nodes, everything)
            self._manager.list_initially()
        self._scheduling.list_initially()
        self.down_at_start = tuple(node.metadata.name for node in self.store.each(Node) if not node.is_ready)
        Chronicle(self.store, self._journal).begin()
        self.store.listen(Node.__name__, self._node_written)
        self.store.on_available(self._api_is_back)
        self.store.on_unavailable(self._api_is_going)
        self._start_kubelets(runtime, prober)
        self._start_controllers(settled=settled)

    def _start_controllers(self, *, settled: bool) -> None:
        manager, timings = self._manager, self._timings
        publishers = (
            EndpointsController(manager, timings),
            EndpointSliceController(manager, timings),
            EndpointSliceMirroringController(manager, timings),
        )
        workloads = (
            DeploymentController(manager, timings),
            ReplicaSetController(manager, timings),
            ReplicaSetController(manager, timings, ReplicationController),
            StatefulSetController(manager, timings),
            DaemonSetController(manager, timings),
        )
        GarbageCollector(manager)
        PodGarbageCollector(manager)
        NodeLifecycleController(manager, timings, self._renewed_ns)
        scheduler = Scheduler(self._scheduling, timings)
        for controller in workloads:
            controller.resync()
        if settled:  # there is nothing to publish, and what could be placed has been
            scheduler.wait_for_change()
            return
        for publisher in publishers:
            publisher.resync()
        scheduler.resync()

    def _start_kubelets(self, runtime: ContainerRuntime, prober: Prober) -> None:
        for node in self.store.each(Node):
            name = node.metadata.name
            self._kubelets[name] = Kubelet(
                self.client(f"kubelet/{name}"), self._clock, self._journal, self._timings, node, node.pod_cidrs, runtime, prober,
                self._seed, lambda connected, name=name: self._contact(name, connected),  # type: ignore[misc]
            )
            if not node.is_ready:
                self._kubelets[name].power_off()
        for pod in self.store.list(Pod):
            kubelet = self._kubelets.get(pod.spec.node_name)
            if kubelet is None or pod.is_finished or not kubelet.is_up:
                continue
            if pod.addresses:
                kubelet.adopt(pod)
            else:
                kubelet.hear(pod)

    def _contact(self, node: str, connected: bool) -> None:
        for client in self._node_clients.get(node, ()):
            client.set_connected(connected)

    def _renewed_ns(self, node: str) -> int:
        kubelet = self._kubelets.get(node)
        return 0 if kubelet is None else kubelet.signs.renewed_ns()

    def _node_written(self, event: Event) -> None:
        kubelet = self._kubelets.get(event.obj.metadata.name)
        if kubelet is not None and event.change is Change.MODIFIED and isinstance(event.obj, Node):
            kubelet.signs.overwritten(event.obj)
            if isinstance(event.old, Node) and event.old.spec.unschedulable != event.obj.spec.unschedulable:
                kubelet.signs.cordoned(event.obj)

    def _api_is_going(self) -> None:
        for kubelet in self._kubelets.values():
            kubelet.signs.lost_contact()

    def _api_is_back(self) -> None:
        for kubelet in self._kubelets.values():
            kubelet.signs.regained_contact()

    def disconnect(self, node: str) -> None:
        """A node cannot reach the API server; what runs on it goes on."""
        self._contact(node, False)
        self._kubelets[node].signs.lose_network()

    def connect(self, node: str) -> None:
        """Undo `disconnect`."""
        self._kubelets[node].signs.regain_network()
