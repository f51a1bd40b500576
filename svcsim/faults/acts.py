"""Faults at work: each is begun at its time on what its targets mean then, and lifted at its end.

An act looks its targets up when it begins, so `deployment/web[1]` is the second pod at that moment, and what it returns undoes
it on the same things. What several acts do to one thing lasts until the last of them is lifted. Every act is written into the
journal, with the pods and nodes that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from svcsim.datapath.host import Host
from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.errors import UsageError
from svcsim.faults.drain import Drain, pods_to_evict
from svcsim.faults.owners import nodes_of, pods_of
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.replicas import deletion_order, is_active
from svcsim.kube.kinds import KubeObject
from svcsim.kube.manifests import Manifests, read_object
from svcsim.kube.pod_conditions import with_condition
from svcsim.kube.store import InvalidError, NotFoundError, Store
from svcsim.network.topology import Disturbance
from svcsim.scenario import faults as models
from svcsim.scenario.target import Target
from svcsim.workload.server import Server
from svcsim.yamlsource import Document

RESTARTED_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
DNS_SELECTOR = ("k8s-app", "kube-dns")

Undo = Callable[[], None]
T = TypeVar("T", bound=Hashable)


class Machinery(Protocol):
    """What acts reach into: the parts of a world that only it knows."""

    @property
    def store(self) -> Store:
        """The API server's objects."""

    def servers_of(self, pods: Iterable[Pod]) -> list[Server]:
        """The processes that run in these pods now."""

    def kill_container(self, pod: Pod) -> None:
        """The pod's container exits; its kubelet will find out."""

    def fail_readiness(self, pod: Pod, failing: bool) -> None:
        """Let the pod's readiness probes fail, or judge by their answers again."""

    def node_down(self, name: str) -> None:
        """Power off."""

    def node_up(self, name: str) -> None:
        """Power on."""

    def cut_off(self, names: list[str]) -> None:
        """Separate nodes from all others and from the API server."""

    def reconnect(self, names: list[str]) -> None:
        """Undo `cut_off`."""

    def stop_proxy(self, name: str) -> None:
        """End a node's kube-proxy."""

    def start_proxy(self, name: str) -> None:
        """Start it again."""

    def api_server(self, *, available: bool) -> None:
        """Take the API server away, or bring it back."""

    def lose_ipvs_modules(self, name: str) -> None:
        """A node's kernel has no IPVS from now on; a kube-proxy that starts finds out."""


@dataclass(slots=True)
class Act:
    """One fault of a scenario, with its number."""

    index: int
    fault: models.Fault


class Acts:
    """All faults of a run."""

    def __init__(
        self, faults: Iterable[models.Fault], machinery: Machinery, network: Network, clock: Clock, journal: Journal,
        place: Callable[[str], str] = lambda part: "",
    ) -> None:
        """`place` says where a part of the scenario, as `faults[0]`, stands in its file."""
        self._place = place
        self._acts = [Act(i, fault) for i, fault in enumerate(faults)]
        self._machinery = machinery
        self._network = network
        self._clock = clock
        self._journal = journal
        self._held: dict[tuple[str, Any], int] = {}
        self._limits: dict[str, dict[int, int]] = {}
        self._begins: dict[type[models.Fault], Callable[[Act, Any], tuple[list[Pod], list[str], Undo | None]]] = {
            models.Kill: self._kill, models.Delete: self._delete, models.Hang: self._hang, models.Slow: self._slow,
            models.ClosePort: self._close_port, models.FailReadiness: self._fail_readiness, models.Scale: self._scale,
            models.Rollout: self._rollout, models.Cordon: self._cordon, models.Drain: self._drain,
            models.SetCondition: self._set_condition, models.Down: self._down, models.Partition: self._partition,
            models.Loss: self._loss,
            models.Delay: self._delay, models.StopProxy: self._stop_proxy, models.ApiServer: self._api_server,
            models.DnsDown: self._dns_down, models.ConntrackMax: self._conntrack_max, models.IpvsModules: self._ipvs_modules,
            models.Apply: self._apply,
        }

    def schedule(self, until_ns: int) -> None:
        """Arm every fault that comes before the end of the run; in what follows, requests under way end undisturbed."""
        for act in self._acts:
            if act.fault.at_ns >= until_ns:
                continue
            self._clock.after(act.fault.at_ns, lambda act=act: self._begin(act))  # type: ignore[misc]

    def _begin(self, act: Act) -> None:
        fault = act.fault
        # The entry precedes what the act causes; whom it concerns is filled in as soon as that is known.
        detail: dict[str, Any] = {"index": act.index, "fault": fault.verb}
        self._journal.add(self._clock.now, Happening.FAULT_BEGIN, fault.text, **detail)
        entry = self._journal.entries[-1]
        pods, nodes, undo = self._begins[type(fault)](act, fault)
        entry.detail["pods"] = tuple(pod.metadata.key for pod in pods)
        entry.detail["nodes"] = tuple(nodes)
        entry.detail["targets"] = tuple(str(target) for target in fault.targets)
        if not pods and not nodes and fault.aims_at is not None:
            self._journal.add(self._clock.now, Happening.NOTE, f"{fault.text}: there is nothing that it could act on")
        ends_ns = fault.ends_ns
        if undo is not None and ends_ns is not None:
            lift = undo
            self._clock.after(ends_ns - self._clock.now, lambda: self._end(act, lift))

    def _end(self, act: Act, undo: Undo) -> None:
        self._journal.add(self._clock.now, Happening.FAULT_END, act.fault.text, index=act.index)
        undo()

    def _take(self, what: str, things: Iterable[T]) -> list[T]:
        """Hold each thing in a state; those that no other act holds in it are returned: with them it begins."""
        fresh = []
        for thing in things:
            count = self._held.get((what, thing), 0)
            self._held[(what, thing)] = count + 1
            if not count:
                fresh.append(thing)
        return fresh

    def _give_back(self, what: str, things: Iterable[T]) -> list[T]:
        """Undo one `_take`; those that no other act holds any more are returned: for them it ends."""
        free = []
        for thing in things:
            count = self._held[(what, thing)] - 1
            self._held[(what, thing)] = count
            if not count:
                free.append(thing)
        return free

    # ---- targets -----------------------------------------------------------------------------------------------------

    def _pods(self, targets: Iterable[Target]) -> list[Pod]:
        found: dict[str, Pod] = {}
        for target in targets:
            for pod in pods_of(self._machinery.store, target):
                found[pod.metadata.key] = pod
        return list(found.values())

    def _nodes(self, targets: Iterable[Target]) -> list[str]:
        return nodes_of(self._machinery.store, targets)

    def _hosts(self, names: Iterable[str]) -> list[Host]:
        wanted = set(names)
        return [host for host in self._network.fabric.hosts if host.name in wanted]

    # ---- pods --------------------------------------------------------------------------------------------------------

    def _kill(self, act: Act, fault: models.Kill) -> tuple[list[Pod], list[str], Undo | None]:
        pods = self._pods(fault.targets)
        for pod in pods:
            self._machinery.kill_container(pod)
        return pods, [], None

    def _delete(self, act: Act, fault: models.Delete) -> tuple[list[Pod], list[str], Undo | None]:
        store = self._machinery.store
        pods: list[Pod] = []
        for target in fault.targets:
            if target.is_pods and (target.kind == "pod" or target.index is not None):
                chosen = pods_of(store, target)
                grace = None if fault.grace_ns is None else -(-fault.grace_ns // 1_000_000_000)
                for pod in chosen:
                    store.delete(Pod, pod.metadata.key, grace)
                pods += chosen
            else:
                model = _model_of(target)
                if target.is_pods:
                    pods += pods_of(store, target)
                try:
                    store.delete(model, target.name if target.kind == "node" else target.key)
                except NotFoundError:
                    self._journal.add(self._clock.now, Happening.NOTE, f"{target} is not there any more")
        return pods, [target.name for target in fault.targets if target.kind == "node"], None

    def _on_servers(
        self, targets: tuple[Target, ...], what: str, begin: Callable[[Server], None], end: Callable[[Server], None]
    ) -> tuple[list[Pod], list[str], Undo | None]:
        pods = self._pods(targets)
        servers = self._machinery.servers_of(pods)
        for server in self._take(what, servers):
            begin(server)

        def undo() -> None:
            for server in self._give_back(what, servers):
                end(server)

        return pods, [], undo

    def _hang(self, act: Act, fault: models.Hang) -> tuple[list[Pod], list[str], Undo | None]:
        return self._on_servers(fault.targets, "hung", Server.hang, Server.resume)

    def _slow(self, act: Act, fault: models.Slow) -> tuple[list[Pod], list[str], Undo | None]:
        def slow(server: Server) -> None:
            server.slowdown *= fault.factor

        def normal(server: Server) -> None:
            server.slowdown /= fault.factor

        # The number makes each act's slowness its own: they multiply.
        return self._on_servers(fault.targets, f"slow {act.index}", slow, normal)

    def _close_port(self, act: Act, fault: models.ClosePort) -> tuple[list[Pod], list[str], Undo | None]:
        return self._on_servers(fault.targets, "port closed", Server.close_port, Server.reopen_port)

    def _dns_down(self, act: Act, fault: models.DnsDown) -> tuple[list[Pod], list[str], Undo | None]:
        label, value = DNS_SELECTOR
        target = Target("pod", "*", "kube-system", None, ((label, value),))
        return self._on_servers((target,), "hung", Server.hang, Server.resume)

    def _fail_readiness(self, act: Act, fault: models.FailReadiness) -> tuple[list[Pod], list[str], Undo | None]:
        pods = self._pods(fault.targets)
        by_uid = {pod.metadata.uid: pod for pod in pods}
        for uid in self._take("unready", by_uid):
            self._machinery.fail_readiness(by_uid[uid], True)

        def undo() -> None:
            for uid in self._give_back("unready", by_uid):
                self._machinery.fail_readiness(by_uid[uid], False)

        return pods, [], undo

    def _set_condition(self, act: Act, fault: models.SetCondition) -> tuple[list[Pod], list[str], Undo | None]:
        store = self._machinery.store
        pods = self._pods(fault.targets)
        for pod in pods:
            status = with_condition(pod.status, fault.type, fault.status, "", self._clock.now)
            store.update_status(pod.model_copy(update={"status": status}))
        return pods, [], None

    # ---- objects -----------------------------------------------------------------------------------------------------

    def _scale(self, act: Act, fault: models.Scale) -> tuple[list[Pod], list[str], Undo | None]:
        store = self._machinery.store
        model = _model_of(fault.scale)
        obj: Any = store.get(model, fault.scale.key)
        if obj is None:
            self._journal.add(self._clock.now, Happening.NOTE, f"{fault.scale} is not there")
            return [], [], None
        pods = pods_of(store, fault.scale)
        store.update(obj.model_copy(update={"spec": obj.spec.model_copy(update={"replicas": fault.replicas})}))
        return self._surplus(fault, pods), [], None

    def _surplus(self, fault: models.Scale, pods: list[Pod]) -> list[Pod]:
        """The pods that are going to be too many, as their controller chooses them."""
        active = [pod for pod in pods if is_active(pod)]
        if fault.scale.kind == "statefulset":
            found = self._machinery.store.get(StatefulSet, fault.scale.key)
            kept = found.ordinals if found is not None else range(fault.replicas)
            return [pod for pod in active if int(pod.metadata.name.rpartition("-")[2]) not in kept]
        return deletion_order(active, active, self._clock.now)[: max(0, len(active) - fault.replicas)]

    def _rollout(self, act: Act, fault: models.Rollout) -> tuple[list[Pod], list[str], Undo | None]:
        store = self._machinery.store
        pods: list[Pod] = []
        for target in fault.targets:
            obj: Any = store.get(_model_of(target), target.key)
            if obj is None:
                continue
            pods += pods_of(store, target)
            template = obj.spec.template
            annotations = {**template.metadata.annotations, RESTARTED_ANNOTATION: f"{self._clock.now} ns"}
            metadata = template.metadata.model_copy(update={"annotations": annotations})
            spec = obj.spec.model_copy(update={"template": template.model_copy(update={"metadata": metadata})})
            store.update(obj.model_copy(update={"spec": spec}))
        return pods, [], None

    def _apply(self, act: Act, fault: models.Apply) -> tuple[list[Pod], list[str], Undo | None]:
        store = self._machinery.store
        manifests = Manifests()
        for data in fault.objects:
            problems = read_object(manifests, data, Document("apply", data, (1, 1), {}))
            assert not problems, problems
        manifests.settle()
        for obj in manifests.objects:
            old: Any = store.get(type(obj), obj.metadata.key)
            try:
                if old is None:
                    store.create(obj)
                else:
                    store.update(_applied(old, obj))
            except InvalidError as error:
                part = f"faults[{act.index}]"
                raise UsageError(f"{self._place(part)}{part}: the API server refuses what is applied: {error}") from error
        return [], [], None

    # ---- nodes and network -------------------------------------------------------------------------------------------

    def _schedulable(self, names: list[str], *, schedulable: bool) -> None:
        store = self._machinery.store
        for name in names:
            node = store.get(Node, name)
            if node is not None and node.spec.unschedulable is schedulable:
                store.update(node.model_copy(update={"spec": node.spec.model_copy(update={"unschedulable": not schedulable})}))

    def _uncordon(self, nodes: list[str]) -> None:
        self._schedulable(self._give_back("cordoned", nodes), schedulable=True)

    def _cordon(self, act: Act, fault: models.Cordon) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.targets)
        self._schedulable(self._take("cordoned", nodes), schedulable=False)
        return [], nodes, lambda: self._uncordon(nodes)

    def _drain(self, act: Act, fault: models.Drain) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.targets)
        self._schedulable(self._take("cordoned", nodes), schedulable=False)
        pods = pods_to_evict(self._machinery.store, nodes)
        grace_s = None if fault.grace_ns is None else -(-fault.grace_ns // 1_000_000_000)

        def tell(text: str) -> None:
            self._journal.add(self._clock.now, Happening.NOTE, f"{', '.join(nodes)}: {text}")

        drain = Drain(self._machinery.store, self._clock, pods, grace_s, tell)
        drain.start()

        def undo() -> None:
            drain.stop()
            self._uncordon(nodes)

        return pods, nodes, undo

    def _down(self, act: Act, fault: models.Down) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.targets)
        pods = [pod for pod in self._machinery.store.each(Pod) if pod.spec.node_name in nodes]
        for name in self._take("down", nodes):
            self._machinery.node_down(name)

        def undo() -> None:
            for name in self._give_back("down", nodes):
                self._machinery.node_up(name)

        return pods, nodes, undo

    def _partition(self, act: Act, fault: models.Partition) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.targets)
        pods = [pod for pod in self._machinery.store.each(Pod) if pod.spec.node_name in nodes]
        self._machinery.cut_off(self._take("cut off", nodes))
        return pods, nodes, lambda: self._machinery.reconnect(self._give_back("cut off", nodes))

    def _disturb(self, act: Act, disturbance: Disturbance, to: tuple[Target, ...] | None) -> Undo | None:
        if to and not disturbance.to:
            self._journal.add(self._clock.now, Happening.NOTE, f"{act.fault.text}: there are no such links")
            return None
        fabric = self._network.fabric
        fabric.topology.add_fault(act.index, disturbance)
        fabric.changed()

        def undo() -> None:
            fabric.topology.remove_fault(act.index)
            fabric.changed()

        return undo

    def _ends(self, targets: Iterable[Target]) -> tuple[str, ...]:
        """Targets as the network names ends of links."""
        found: dict[str, None] = {}
        for target in targets:
            if target.kind == "outside":
                outside = (host.name for host in self._network.fabric.hosts if not host.is_node)
                found.update({f"outside/{name}": None for name in outside if target.name in ("*", name)})
            else:
                found.update({f"node/{name}": None for name in self._nodes((target,))})
        return tuple(found)

    def _loss(self, act: Act, fault: models.Loss) -> tuple[list[Pod], list[str], Undo | None]:
        disturbance = Disturbance(self._ends(fault.on), self._ends(fault.to or ()), loss=fault.loss)
        return [], self._nodes(fault.on), self._disturb(act, disturbance, fault.to)

    def _delay(self, act: Act, fault: models.Delay) -> tuple[list[Pod], list[str], Undo | None]:
        on, to = self._ends(fault.on), self._ends(fault.to or ())
        disturbance = Disturbance(on, to, delay_ns=fault.delay_ns, jitter_ns=fault.jitter_ns)
        return [], self._nodes(fault.on), self._disturb(act, disturbance, fault.to)

    def _stop_proxy(self, act: Act, fault: models.StopProxy) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.targets)
        for name in self._take("proxy stopped", nodes):
            self._machinery.stop_proxy(name)

        def undo() -> None:
            for name in self._give_back("proxy stopped", nodes):
                self._machinery.start_proxy(name)

        return [], nodes, undo

    def _api_server(self, act: Act, fault: models.ApiServer) -> tuple[list[Pod], list[str], Undo | None]:
        if self._take("away", ["API server"]):
            self._machinery.api_server(available=False)

        def undo() -> None:
            if self._give_back("away", ["API server"]):
                self._machinery.api_server(available=True)

        return [], [], undo

    def _conntrack_max(self, act: Act, fault: models.ConntrackMax) -> tuple[list[Pod], list[str], Undo | None]:
        hosts = self._hosts(self._nodes(fault.on))
        for host in hosts:
            # What was set last holds; -1 stands for what the node came with.
            limits = self._limits.setdefault(host.name, {-1: host.conntrack.limit})
            limits[act.index] = host.conntrack.limit = fault.conntrack_max

        def undo() -> None:
            for host in hosts:
                limits = self._limits[host.name]
                del limits[act.index]
                host.conntrack.limit = list(limits.values())[-1]

        return [], [host.name for host in hosts], undo

    def _ipvs_modules(self, act: Act, fault: models.IpvsModules) -> tuple[list[Pod], list[str], Undo | None]:
        nodes = self._nodes(fault.on)
        for name in nodes:
            self._machinery.lose_ipvs_modules(name)
        return [], nodes, None


def _model_of(target: Target) -> type[KubeObject]:
    from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
    from svcsim.kube.api.ingress import Ingress
    from svcsim.kube.api.service import Service
    from svcsim.kube.api.workloads import DaemonSet

    models_by_kind: dict[str, type[KubeObject]] = {
        "deployment": Deployment, "daemonset": DaemonSet, "statefulset": StatefulSet, "replicaset": ReplicaSet,
        "replicationcontroller": ReplicationController, "pod": Pod, "node": Node, "service": Service, "endpoints": Endpoints,
        "endpointslice": EndpointSlice, "ingress": Ingress,
    }
    return models_by_kind[target.kind]


def _applied(old: Any, new: Any) -> Any:
    """What `kubectl apply` makes of an object: the new spec and labels, what the API server had filled in kept."""
    metadata = old.metadata.model_copy(
        update={"labels": dict(new.metadata.labels), "annotations": {**old.metadata.annotations, **new.metadata.annotations}}
    )
    kept = ("metadata", "status", "kind", "api_version")
    fields = {name: getattr(new, name) for name in new.model_fields_set if name not in kept}
    if "spec" in fields:
        given = {name: getattr(new.spec, name) for name in new.spec.model_fields_set}
        if given.get("cluster_ip") and "cluster_ips" not in given:
            given["cluster_ips"] = (given["cluster_ip"],)
        fields["spec"] = old.spec.model_copy(update=given)
    return old.model_copy(update={"metadata": metadata, **fields})
