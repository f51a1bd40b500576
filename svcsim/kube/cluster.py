"""The control plane of a cluster in one piece: the API server's store, controllers, scheduler and a kubelet a node.

`populate` brings in nodes and objects, `start` connects the data plane and lets everything run. Between the two the state is
there to be read (kube-proxies and cluster DNS begin with it). Faults act through `node_down`, `cut_off`, `api_server` and their
like, or write objects into `store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.node import HOSTNAME_LABEL, ZONE_LABEL, Node
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
from svcsim.kube.controllers.replicaset import ReplicaSetController
from svcsim.kube.controllers.scheduler import Scheduler
from svcsim.kube.controllers.statefulset import StatefulSetController
from svcsim.kube.defaulting import default_pod
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.kubelet import ContainerRuntime, Kubelet
from svcsim.kube.probing import Prober
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.settling import Settling, load_objects
from svcsim.kube.store import Change, Event, Store
from svcsim.kube.timings import Timings
from svcsim.units import S

MANAGER_KINDS: tuple[type[KubeObject], ...] = (
    Service, Endpoints, EndpointSlice, Pod, Node, Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet,
)


def make_node(
    name: str, address: str, pod_cidr: str, *, cores: int = 4, zone: str = "", max_pods: int = 110,
    labels: Iterable[tuple[str, str]] = (),
) -> Node:
    """A node with the well-known labels, as its kubelet registers it."""
    known = {HOSTNAME_LABEL: name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    if zone:
        known[ZONE_LABEL] = zone
    capacity = {"cpu": str(cores), "pods": str(max_pods)}
    return Node.model_validate(
        {
            "metadata": {"name": name, "labels": {**known, **dict(labels)}},
            "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
            "status": {
                "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
                "capacity": capacity,
                "allocatable": capacity,
            },
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
        self, clock: Clock, journal: Journal, timings: Timings, seed: int, service_cidrs: Sequence[str] = ("10.96.0.0/12",)
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._timings = timings
        self._seed = seed
        self.store = Store(clock, seed)
        self.registry = ServiceRegistry(service_cidrs, seed)
        self.store.admit(Service.__name__, self.registry)
        self.store.admit(Pod.__name__, _PodAdmission(timings.node_toleration_ns // S))
        self._board = Switchboard(self.store)
        self._node_clients: dict[str, list[Client]] = {}
        self._manager = Informer(self.client("kube-controller-manager"), MANAGER_KINDS)
        self._scheduling = Informer(self.client("kube-scheduler"), (Pod, Node))
        self._chronicle: Chronicle | None = None
        self._settled = True
        self.down_at_start: tuple[str, ...] = ()
        """Nodes that are not ready in the initial objects: they are without power until `node_up`."""
        self.kubelets: dict[str, Kubelet] = {}

    def client(self, name: str, node: str = "") -> Client:
        """A new component's connection to the API server; one on a node shares the node's fate."""
        client = Client(self._board, self._clock, name, self._timings, self._seed)
        if node:
            self._node_clients.setdefault(node, []).append(client)
        return client

    def populate(self, nodes: Iterable[Node], objects: Iterable[KubeObject], *, settled: bool = True) -> None:
        """Bring in the initial objects. Settled: everything is up, ready and published; else it comes up as the run goes on.

        InvalidError and AlreadyExistsError for objects that the API server refuses.
        """
        self._settled = settled
        if settled:
            Settling(self.store, self._manager, self._timings).run(nodes, objects)
        else:
            load_objects(self.store, nodes, objects)
            self._manager.list_initially()
        self._scheduling.list_initially()
        self.down_at_start = tuple(node.metadata.name for node in self.store.each(Node) if not node.is_ready)

    def start(self, runtime: ContainerRuntime, prober: Prober) -> None:
        """Connect the data plane and start every component."""
        self._chronicle = Chronicle(self.store, self._journal)
        self._chronicle.begin()
        self.store.listen(Node.__name__, self._node_written)
        self._start_kubelets(runtime, prober)
        manager, timings = self._manager, self._timings
        controllers = (
            EndpointsController(manager, timings),
            EndpointSliceController(manager, timings),
            EndpointSliceMirroringController(manager, timings),
            DeploymentController(manager, timings),
            ReplicaSetController(manager, timings),
            ReplicaSetController(manager, timings, ReplicationController),
            StatefulSetController(manager, timings),
            DaemonSetController(manager, timings),
        )
        GarbageCollector(manager)
        NodeLifecycleController(manager, timings, self._renewed_ns)
        scheduler = Scheduler(self._scheduling, timings)
        # Workload controllers look at everything once; those of endpoints find nothing to do in a settled cluster.
        for controller in controllers if not self._settled else controllers[3:]:
            controller.resync()
        if not self._settled:
            scheduler.resync()

    def _start_kubelets(self, runtime: ContainerRuntime, prober: Prober) -> None:
        for node in self.store.each(Node):
            name = node.metadata.name
            self.kubelets[name] = Kubelet(
                self.client(f"kubelet/{name}", name), self._clock, self._journal, self._timings, node, node.pod_cidrs, runtime,
                prober, self._seed,
            )
            if not node.is_ready:
                self.kubelets[name].power_off()
        for pod in self.store.list(Pod):
            kubelet = self.kubelets.get(pod.spec.node_name)
            if kubelet is None or pod.is_finished or not kubelet.is_up:
                continue
            if pod.addresses:
                kubelet.adopt(pod)
            else:
                kubelet.hear(pod)

    def _renewed_ns(self, node: str) -> int:
        kubelet = self.kubelets.get(node)
        return 0 if kubelet is None else kubelet.renewed_ns()

    def _node_written(self, event: Event) -> None:
        kubelet = self.kubelets.get(event.obj.metadata.name)
        if kubelet is not None and event.change is Change.MODIFIED and isinstance(event.obj, Node):
            kubelet.node_overwritten(event.obj)

    # What faults do.

    def kill_container(self, pod: Pod) -> None:
        """A pod's process is killed; its kubelet finds out at its next relist."""
        kubelet = self.kubelets.get(pod.spec.node_name)
        if kubelet is not None:
            kubelet.kill(pod.metadata.key)

    def container_exited(self, pod: Pod, code: int) -> None:
        """A pod's process has ended by itself."""
        kubelet = self.kubelets.get(pod.spec.node_name)
        if kubelet is not None:
            kubelet.exited(pod.metadata.key, code)

    def fail_readiness(self, pod: Pod, failing: bool) -> None:
        """Let a pod's readiness probes fail, or judge by their answers again."""
        kubelet = self.kubelets.get(pod.spec.node_name)
        if kubelet is not None:
            kubelet.fail_readiness(pod.metadata.key, failing=failing)

    def node_down(self, name: str) -> None:
        """A node loses power: its kubelet and the clients of its other components are gone."""
        kubelet = self.kubelets.get(name)
        if kubelet is None or not kubelet.is_up:
            return
        self._journal.add(self._clock.now, Happening.NODE_DOWN, name)
        kubelet.power_off()
        for client in self._node_clients.get(name, ()):
            client.set_connected(False)

    def node_up(self, name: str) -> None:
        """A node has power again; its components reach the API server once it has booted."""
        kubelet = self.kubelets.get(name)
        if kubelet is None or kubelet.is_up:
            return
        self._journal.add(self._clock.now, Happening.NODE_UP, name)

        def booted() -> None:
            for client in self._node_clients.get(name, ()):
                client.set_connected(True)

        kubelet.power_on(booted)

    def cut_off(self, names: Iterable[str]) -> None:
        """Nodes cannot reach the API server; what runs on them goes on."""
        for name in names:
            for client in self._node_clients.get(name, ()):
                client.set_connected(False)
            if name in self.kubelets:
                self.kubelets[name].lost_contact()

    def reconnect(self, names: Iterable[str]) -> None:
        """Undo `cut_off`."""
        for name in names:
            kubelet = self.kubelets.get(name)
            if kubelet is None or not kubelet.is_up:
                continue
            for client in self._node_clients.get(name, ()):
                client.set_connected(True)
            if self.store.available:
                kubelet.regained_contact()

    def api_server(self, *, available: bool) -> None:
        """Take the API server away, or bring it back."""
        if available == self.store.available:
            return
        self.store.set_available(available)
        for kubelet in self.kubelets.values():
            if available:
                kubelet.regained_contact()
            else:
                kubelet.lost_contact()
