"""The state that a run starts with: what the controllers, the scheduler and the kubelets would have come to, without the time.

The same pure decisions are taken as in a run (`svcsim.kube.controllers`), so that nothing changes after the start.
"""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.adoption import adopt
from svcsim.kube.api.base import LabelSelector
from svcsim.kube.api.endpoints import MANAGED_BY_LABEL, Endpoints, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import READY, Pod, PodStatus
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.daemonset import daemon_pod, surplus_and_missing
from svcsim.kube.controllers.deployment import deployment_status, replica_set_for, same_template
from svcsim.kube.controllers.endpointslice import plan_for
from svcsim.kube.controllers.endpointslice_mirroring import MIRRORING_CONTROLLER, mirror, should_mirror
from svcsim.kube.controllers.node_health import ready_condition, with_ready
from svcsim.kube.controllers.owned_pods import controller_of, pod_from_template
from svcsim.kube.controllers.placement import Candidate, Load, candidates, choose_node, nodes_to_score, owner_of
from svcsim.kube.controllers.replicas import is_active
from svcsim.kube.controllers.replicaset import replica_status
from svcsim.kube.controllers.service_pods import is_managed
from svcsim.kube.controllers.statefulset import pods_by_ordinal, stateful_pod, stateful_status
from svcsim.kube.controllers.subsets import desired_endpoints
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.lifecycle import PodAddresses, RestartBackoff
from svcsim.kube.pod_conditions import with_condition
from svcsim.kube.pod_record import SETTLED_SINCE_NS, Phase, PodRecord, reported_status
from svcsim.kube.store import Store
from svcsim.kube.timings import Timings


def load_objects(store: Store, nodes: Iterable[Node], objects: Iterable[KubeObject]) -> None:
    """Put nodes and objects into the store, as they are; Services that ask for addresses or ports come first.

    Errors as of `Store.create`.
    """
    for node in nodes:
        store.load(node if ready_condition(node) is not None else with_ready(node, "True", "KubeletReady", SETTLED_SINCE_NS))
    everything = [obj for obj in objects if not isinstance(obj, Node)]
    services = [obj for obj in everything if isinstance(obj, Service)]
    for service in sorted(services, key=lambda service: not _asks(service)):
        store.load(service)
    for obj in everything:
        if not isinstance(obj, Service):
            store.load(obj)


def _asks(service: Service) -> bool:
    spec = service.spec
    fixed = bool(spec.cluster_ips) or spec.cluster_ip not in (None, "")
    return fixed or spec.health_check_node_port != 0 or any(port.node_port for port in spec.ports)


class Settling:
    """Brings a store to the state in which its controllers have nothing to do."""

    def __init__(self, store: Store, informer: Informer, timings: Timings) -> None:
        """`informer` is the controllers' own: it will know the state when all is done."""
        self._store = store
        self._informer = informer
        self._timings = timings
        self._nodes: list[Node] = []
        self._by_name: dict[str, Node] = {}
        self._pods_by_owner: dict[str, list[Pod]] = {}
        self._sets_by_owner: dict[str, list[str]] = {}

    def run(self, nodes: Iterable[Node], objects: Iterable[KubeObject]) -> None:
        """Load all objects, and add what controllers make of them."""
        given = list(nodes)
        load_objects(self._store, given, adopt(objects, [node.metadata.name for node in given]))
        self._nodes = self._store.list(Node)
        self._by_name = {node.metadata.name: node for node in self._nodes}
        for pod in self._store.each(Pod):
            self._note(pod)
        for each in self._store.each(ReplicaSet):
            self._own(each)
        for deployment in self._store.list(Deployment):
            self._current_replica_set(deployment)
        for owner in self._replicated():
            for _ in range(owner.replicas - len(self._active(owner.metadata.uid))):
                self._make(pod_from_template(owner, owner.spec.template))
        for stateful_set in self._store.list(StatefulSet):
            self._fill_ordinals(stateful_set)
        for daemon_set in self._store.list(DaemonSet):
            self._fill_nodes(daemon_set)
        self._place_and_start()
        self._write_statuses()
        self._informer.list_initially()
        self._publish()

    def _note(self, pod: Pod) -> None:
        owner = controller_of(pod)
        if owner is not None:
            self._pods_by_owner.setdefault(owner.uid, []).append(pod)

    def _own(self, replica_set: ReplicaSet) -> None:
        owner = controller_of(replica_set)
        if owner is not None:
            self._sets_by_owner.setdefault(owner.uid, []).append(replica_set.metadata.key)

    def _make(self, pod: Pod) -> None:
        self._note(self._store.load(pod))

    def _active(self, uid: str) -> list[Pod]:
        return [pod for pod in self._pods_by_owner.get(uid, ()) if is_active(pod)]

    def _sets_of(self, deployment: Deployment) -> list[ReplicaSet]:
        return [self._store.require(ReplicaSet, key) for key in self._sets_by_owner.get(deployment.metadata.uid, ())]

    def _current_replica_set(self, deployment: Deployment) -> None:
        sets = self._sets_of(deployment)
        if not any(same_template(each.spec.template, deployment.spec.template) for each in sets):
            if not any(each.replicas for each in sets):  # else a roll-out is under way: it goes on when the run begins
                self._own(self._store.load(replica_set_for(deployment, deployment.replicas, 1 + len(sets))))

    def _replicated(self) -> list[ReplicaSet | ReplicationController]:
        return [*self._store.list(ReplicaSet), *self._store.list(ReplicationController)]

    def _fill_ordinals(self, stateful_set: StatefulSet) -> None:
        present = pods_by_ordinal(stateful_set, self._active(stateful_set.metadata.uid))
        for ordinal in stateful_set.ordinals:
            if ordinal not in present:
                self._make(stateful_pod(stateful_set, ordinal))

    def _fill_nodes(self, daemon_set: DaemonSet) -> None:
        pods: dict[str, list[Pod]] = {}
        for pod in self._active(daemon_set.metadata.uid):
            pods.setdefault(pod.spec.node_name, []).append(pod)
        _, missing = surplus_and_missing(daemon_set, self._nodes, pods)
        for name in missing:
            self._make(daemon_pod(daemon_set, name))

    def _place_and_start(self) -> None:
        load = Load.of(self._store.each(Pod), self._by_name)
        blocks = {node.metadata.name: PodAddresses(node.pod_cidrs) for node in self._nodes}
        pods = self._store.list(Pod)
        for pod in pods:
            block = blocks.get(pod.spec.node_name)
            if block is not None and not pod.spec.host_network:
                for address in pod.addresses:
                    block.reserve(address)
        start = 0
        fitting: dict[str, list[Candidate]] = {}
        for pod in pods:
            if is_imported_pod(pod):
                continue
            if not pod.spec.node_name:
                owner = owner_of(pod)
                nodes = fitting.get(owner)
                if nodes is None:
                    nodes = fitting[owner] = candidates(pod, self._nodes)
                node = choose_node(pod, nodes, load, start % max(1, len(nodes)))
                start += nodes_to_score(len(nodes)) % max(1, len(nodes))
                if node is None:
                    continue
                load.add(pod, node)
                pod = pod.model_copy(update={"spec": pod.spec.model_copy(update={"node_name": node.metadata.name})})
            home = self._by_name.get(pod.spec.node_name)
            if home is None or not home.is_ready:
                self._store.reload(pod)
                continue
            block = blocks[home.metadata.name]
            addresses = home.internal_ips if pod.spec.host_network else block.allocate()
            there = running_status(pod, addresses, home) if addresses or not block.prefixes else creating_status(pod, home)
            self._store.reload(pod.model_copy(update={"status": there}))
        for pod in pods:
            self._mark_lost(pod.metadata.key)

    def _mark_lost(self, key: str) -> None:
        """A pod on a node that is not ready is not ready either."""
        pod = self._store.require(Pod, key)
        node = self._by_name.get(pod.spec.node_name)
        if node is not None and not node.is_ready and pod.is_ready:
            status = with_condition(pod.status, READY, "False", "NodeNotReady", SETTLED_SINCE_NS)
            self._store.reload(pod.model_copy(update={"status": status}))

    def _write_statuses(self) -> None:
        self._pods_by_owner = {}
        for pod in self._store.each(Pod):
            self._note(pod)
        for owner in self._replicated():
            status = replica_status(owner, self._active(owner.metadata.uid), 0)
            self._store.reload(owner.model_copy(update={"status": status}))
        for stateful_set in self._store.list(StatefulSet):
            pods = pods_by_ordinal(stateful_set, self._pods_by_owner.get(stateful_set.metadata.uid, []))
            self._store.reload(
                stateful_set.model_copy(update={"status": stateful_status(stateful_set, list(pods.values()), 0)})
            )
        for deployment in self._store.list(Deployment):
            sets = self._sets_of(deployment)
            new = next((each for each in sets if same_template(each.spec.template, deployment.spec.template)), None)
            self._store.reload(deployment.model_copy(update={"status": deployment_status(deployment, sets, new)}))

    # Endpoints and slices.

    def _publish(self) -> None:
        for service in self._store.list(Service):
            if is_managed(service):
                self._publish_managed(service)
        for endpoints in self._store.list(Endpoints):
            service_or_none = self._store.get(Service, endpoints.metadata.key)
            if should_mirror(endpoints, service_or_none):
                self._mirror(endpoints)

    def _publish_managed(self, service: Service) -> None:
        key = service.metadata.key
        selector = LabelSelector(match_labels=service.spec.selector)
        pods = self._informer.pods_selected(service.metadata.namespace, selector)
        existing = self._store.get(Endpoints, key)
        wanted = desired_endpoints(service, pods, existing, self._timings.max_endpoints_capacity)
        if wanted is not None:
            self._put(wanted)
        plan = plan_for(service, self._informer, self._timings.max_endpoints_per_slice)
        for piece in (*plan.create, *plan.update):
            self._put(piece)
        for piece in plan.delete:
            self._drop(piece)

    def _mirror(self, endpoints: Endpoints) -> None:
        existing = [
            piece
            for piece in self._informer.slices_of(endpoints.metadata.key)
            if piece.metadata.labels.get(MANAGED_BY_LABEL) == MIRRORING_CONTROLLER
        ]
        plan = mirror(endpoints, existing, self._timings.mirroring_max_endpoints_per_subset)
        for piece in (*plan.create, *plan.update):
            self._put(piece)
        for piece in plan.delete:
            self._drop(piece)

    def _put(self, obj: Endpoints | EndpointSlice) -> None:
        if obj.metadata.name and self._store.contains(obj.kind, obj.metadata.key):
            self._store.reload(obj)
            self._informer.take(obj)
        else:
            self._informer.take(self._store.load(obj))

    def _drop(self, piece: EndpointSlice) -> None:
        self._store.unload(piece)
        self._informer.forget(piece)


def is_imported_pod(pod: Pod) -> bool:
    """Whether a loaded pod came with a status of its own: its kubelet had written it."""
    return bool(pod.status.conditions) or pod.is_finished


def creating_status(pod: Pod, node: Node) -> PodStatus:
    """The status of a pod whose sandbox cannot be made: its node has no address left for it."""
    return reported_status(PodRecord(pod, RestartBackoff(0, 0)), pod, node.internal_ips, SETTLED_SINCE_NS)


def running_status(pod: Pod, addresses: tuple[str, ...], node: Node) -> PodStatus:
    """The status of a pod that has been running, ready, for long; what its readiness gates wait for has come."""
    status = pod.status
    for gate in pod.spec.readiness_gates:
        if status.condition(gate.condition_type) is None:
            status = with_condition(status, gate.condition_type, "True", "", SETTLED_SINCE_NS)
    pod = pod.model_copy(update={"status": status})
    record = PodRecord(pod, RestartBackoff(0, 0))
    record.phase = Phase.RUNNING
    record.addresses = addresses
    record.ready = [True] * len(record.ready)
    record.started = [True] * len(record.started)
    return reported_status(record, pod, node.internal_ips, SETTLED_SINCE_NS)
