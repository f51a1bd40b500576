"""A world: a scenario's cluster, data plane, traffic and faults on one clock."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from svcsim.calibration.costs import Costs, costs_of
from svcsim.calibration.profile import Profile
from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Journal
from svcsim.faults.acts import Acts
from svcsim.faults.owners import nodes_of
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.cluster import ControlPlane, NodeSpec
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, Store
from svcsim.kube.timings import Timings
from svcsim.linux.address import format_address, parse_address
from svcsim.results.records import RecordWriter
from svcsim.results.result import Result
from svcsim.scenario.faults import IpvsModules
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolved import resolved_yaml
from svcsim.units import MS, S
from svcsim.workload import distributions
from svcsim.workload.resolving import Resolvers
from svcsim.workload.server import Server, ServerProfile
from svcsim.world.addressing import Machine, machines_of
from svcsim.world.churn import Churn
from svcsim.world.clients import Clients
from svcsim.world.cloud import Cloud, has_balancers, routes_in
from svcsim.world.containers import Containers
from svcsim.world.environments import Environments
from svcsim.world.hosts import fabric_of
from svcsim.world.ingress import IngressControllers
from svcsim.world.naming import Naming, dns_objects
from svcsim.world.nodes import NodeAtWork, Nodes
from svcsim.world.outcome import counters_of, names_of, provenance_of, result_of, unended
from svcsim.world.probes import Probes
from svcsim.world.proxies import Proxies

if TYPE_CHECKING:
    from svcsim.world.recording import CapturePlan, Recording

OnProgress = Callable[[int, int], None]
"""Called now and then with the requests that have ended and the simulated time in nanoseconds."""

DRAIN_STEP_NS = 1 * S
SETTLE_PACKETS_NS = 1 * S
SETTLE_STEP_NS = 1 * MS
SETTLE_SOON_NS = 60 * S
SETTLE_LIMIT_NS = 24 * 3600 * S
"""How long a run waits for packets after its last request; slow links may hold some longer."""
DRAIN_LIMIT_NS = 3600 * S
"""How long after its end a run waits for requests, beyond their own time-outs; one that ends later has broken a law."""
STILL_ON_A_LINK = "still on a link at the end"
PROGRESS_STEPS = 200


class World:
    """One run of one variant of a scenario. Build it with `build`; `run` may be called once."""

    def __init__(
        self, scenario: Scenario, seed: int, label: str = "", replication: int = 0, *, discovery: bool = False,
        captures: CapturePlan | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.label = label or scenario.kubernetes.label
        self.replication = replication
        self.clock = Clock()
        self.journal = Journal()
        kubernetes = scenario.kubernetes
        self.profile: Profile = scenario.calibration.load()
        self.costs: Costs = costs_of(self.profile, kubernetes.mode, kubernetes.proxy.backend)
        self.timings: Timings = kubernetes.control_plane_timings()
        self.machines = machines_of(scenario)
        fabric = fabric_of(scenario, self.machines, self.costs, self.clock, self.journal, seed)
        self.recording: Recording | None = None
        if captures is not None:
            from svcsim.world.recording import Recording

            self.recording = Recording(captures, scenario, fabric, self)
        self.network = Network(fabric, self.recording.tap if self.recording is not None else None)
        self.records = RecordWriter()
        self.control = ControlPlane(
            self.clock, self.journal, self.timings, seed, nodes=[_registered(machine) for machine in self.machines],
            service_cidr=kubernetes.service_cidr,
        )
        self.naming = Naming(scenario, self.control.store, asked=discovery)
        self.resolvers = Resolvers(self.network, seed)
        self.environments = Environments(scenario, asked=discovery)
        self.clients = Clients(
            scenario, self.network, self.control.store, self.records, self.resolvers, self.naming.resolver_of,
            self.environments, seed,
        )
        self.resolvers.node_caches = self.naming.node_caches(self.network, self.timings, seed)
        dns_profile = ServerProfile(distributions.exponential(self.timings.dns_service_ns), workers=self.timings.dns_workers)
        outside = {host.name.lower(): tuple(map(parse_address, host.address)) for host in scenario.cluster.outside}
        self.ingress = IngressControllers(self.network, self.control, seed, kubernetes.dns.domain, outside)
        self.containers = Containers(
            scenario, self.network, self.control.store, self.clients,
            self.naming.service(self.timings, self.clock), dns_profile, self._process_exited, self.ingress.serve,
        )
        self.probes = Probes(self.network, self.containers, self.timings, seed)
        self._behind: dict[str, dict[int, None]] = {}
        self._cloud = Cloud(scenario, self.network, self.control, seed) if has_balancers(scenario) else None
        self.network.fabric.outside_routes.update(routes_in(scenario, self.network, seed))
        self._boot(list(scenario.objects) + dns_objects(scenario, asked=discovery))

    # ---- building ----------------------------------------------------------------------------------------------------

    def _boot(self, objects: list[KubeObject]) -> None:
        """Bring the cluster to where a run starts: everything placed, running, ready, known and programmed."""
        control = self.control
        generated = (obj for generator in self.scenario.services for obj in generator.objects())
        control.store.listen(EndpointSlice.__name__, self._slice_changed)
        if self._cloud is not None:
            objects = self._cloud.with_addresses(objects)
        control.settle([*objects, *generated], self.containers, self.probes)
        for piece in control.store.each(EndpointSlice):
            self._note_endpoints(piece)
        self.ingress.publish()
        control.propagation.nodes = len(self.machines)
        control.propagation.of_endpoints = not self.scenario.kubernetes.has("endpoint-slices")
        self.naming.follow(control.client("coredns"))
        self.environments.follow(control.client("kubelet"))
        self.proxies = Proxies(
            self.scenario, self.network, self.profile, self.costs, self.timings, self.seed, control.store.each(Service),
            control.store.each(EndpointSlice),
        )
        for fault in self.scenario.faults:
            # The rest of a run's faults begin with the clock; this one decides how nodes have been set up before.
            if isinstance(fault, IpvsModules) and fault.at_ns == 0:
                self.proxies.without_ipvs.update(nodes_of(control.store, fault.on))
        self.nodes = Nodes(
            self.network, control, self.proxies, self.clients, self.resolvers, self.timings, self.seed,
            has_balancers=self._cloud is not None,
        )
        hosts = {host.name: host for host in self.network.fabric.hosts}
        for machine in self.machines:
            self.nodes.add(machine, hosts[machine.name])
        for host in self.network.fabric.hosts:
            self.clients.add_host(host, "node" if host.is_node else "outside")
        self.clients.settle(self.naming)
        for name in control.down_at_start:
            self.nodes.lose_power(self.nodes.by_name[name])
        if self._cloud is not None:
            self._cloud.begin()

    def _process_exited(self, node: str, key: str, code: int) -> None:
        self.control.kubelet(node).exited(key, code)

    def _slice_changed(self, event: Event) -> None:
        if event.change is not Change.DELETED and isinstance(event.obj, EndpointSlice):
            self._note_endpoints(event.obj)

    def _note_endpoints(self, piece: EndpointSlice) -> None:
        """Keep who has ever stood behind a Service, so that idle endpoints count in its balance."""
        behind = self._behind.setdefault(piece.service_key, {})
        for endpoint in piece.endpoints:
            if endpoint.target_ref is not None and endpoint.conditions.ready is not False:
                behind[self.containers.endpoint_index(f"{endpoint.target_ref.namespace}/{endpoint.target_ref.name}")] = None

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, progress: OnProgress | None = None) -> Result:
        """Let the scenario's time pass, then wait until each request has ended; returns what the run left."""
        duration_ns = self.scenario.run.duration_ns
        self._begin()
        collecting = gc.isenabled()
        if len(_standing) > 1:
            gc.collect()  # worlds that nobody needs any more are full of cycles, and what is frozen stays
        frozen = gc.get_freeze_count() > 0  # by the caller, to keep what it has out of collections: so it stays
        if not frozen:
            gc.freeze()
        gc.disable()
        try:
            if self.recording is not None:
                self.recording.start()
            self._pass_time(duration_ns, progress)
            self._drain(duration_ns, progress)
        except BaseException:
            if self.recording is not None:
                self.recording.abandon()
            raise
        finally:
            if not frozen:
                gc.unfreeze()
            if collecting:
                gc.enable()
        if self.recording is not None:
            self.recording.finish()
        return self._result()

    def advance(self, until_ns: int, progress: OnProgress | None = None) -> None:
        """Let traffic and faults happen up to an instant, in order to look at the world then."""
        self._begin()
        self._pass_time(until_ns, progress)

    def _begin(self) -> None:
        """Arm the traffic, the changes of generated Services and the faults."""
        duration_ns = self.scenario.run.duration_ns
        self.clients.start(duration_ns)
        for generator in self.scenario.services:
            Churn(generator, self.control.store, self.clock, duration_ns).start()
        place = self.scenario.origin.place
        Acts(self.scenario.faults, self, self.network, self.clock, self.journal, place).schedule(duration_ns)

    def _pass_time(self, until_ns: int, progress: OnProgress | None) -> None:
        if progress is None:
            self.clock.run(until_ns)
            return
        for step in range(1, PROGRESS_STEPS + 1):
            at_ns = until_ns * step // PROGRESS_STEPS
            if at_ns > self.clock.now:
                self.clock.run(at_ns)
                progress(self.clients.ended, at_ns)

    def _drain(self, duration_ns: int, progress: OnProgress | None) -> None:
        limit_ns = duration_ns + DRAIN_LIMIT_NS + max((each.longest_ns for each in self.scenario.workloads), default=0)
        while self.clients.outstanding:
            if self.clock.now >= limit_ns:
                raise unended(self.clients, self.clock.now)
            self.clock.run(self.clock.now + DRAIN_STEP_NS)
            if progress is not None:
                progress(self.clients.ended, self.clock.now)
        # Packets that nobody waits for are still on their way, and probes and look-ups send further ones: stop when all are
        # counted.
        self.clock.run(self.clock.now + SETTLE_PACKETS_NS)
        fabric, began_ns = self.network.fabric, self.clock.now
        while fabric.counts.in_flight and (waited_ns := self.clock.now - began_ns) < SETTLE_LIMIT_NS:
            self.clock.run(self.clock.now + (SETTLE_STEP_NS if waited_ns < SETTLE_SOON_NS else waited_ns // 100))
        if fabric.counts.in_flight and any(link.free_ns > self.clock.now for link in fabric.topology.links()):
            fabric.counts.dropped[STILL_ON_A_LINK] += fabric.counts.in_flight

    def _result(self) -> Result:
        requests = self.records.columns()
        fabric = self.network.fabric
        cpu = {name: node.kube_proxy.cpu_ns + node.proxy.cpu_ns() for name, node in self.nodes.by_name.items()}
        behind = {
            workload.name: tuple(self._behind.get("/".join(place), ()))
            for workload in self.scenario.workloads
            if (place := self.clients.answering_service(workload)) is not None
        }
        return result_of(
            self.scenario, self.label, self.replication, requests, self.journal,
            names_of(self.scenario, fabric, self.containers.endpoint_names, self.containers.endpoint_homes(), behind),
            counters_of(fabric, cpu, requests, self.clock.events_scheduled, self.clock.now, self.control.propagation),
            provenance_of(
                self.scenario, resolved_yaml(self.scenario), self.seed, self.label, self.profile, self.costs.mode_key
            ),
        )

    # ---- what faults reach into (`svcsim.faults.stage.Machinery`) -------------------------------------------------------

    @property
    def store(self) -> Store:
        """The API server's objects."""
        return self.control.store

    def proxy_mode(self, host: str) -> str:
        """The mode of a node's kube-proxy; empty for a host without one."""
        node = self.nodes.by_name.get(host)
        return "" if node is None else node.proxy.mode

    def node(self, name: str) -> NodeAtWork:
        """A node by name."""
        return self.nodes.by_name[name]

    def servers_of(self, pods: Iterable[Pod]) -> list[Server]:
        """The processes that run in these pods now."""
        running = (self.containers.running.get(pod.metadata.key) for pod in pods)
        return [each.server for each in running if each is not None and each.server is not None]

    def kill_container(self, pod: Pod) -> None:
        """The pod's container exits; its kubelet will find out."""
        if pod.spec.node_name:
            self.control.kubelet(pod.spec.node_name).kill(pod.metadata.key)

    def fail_readiness(self, pod: Pod, failing: bool) -> None:
        """Let the pod's readiness probes fail, or judge by their answers again."""
        if pod.spec.node_name:
            self.control.kubelet(pod.spec.node_name).fail_readiness(pod.metadata.key, failing=failing)

    def node_down(self, name: str) -> None:
        """Power off: whatever the node held in memory is gone, and nobody is told."""
        self.nodes.power_off(name)

    def node_up(self, name: str) -> None:
        """Power on: the node boots, silent until its network is there, which takes as long as until its kubelet starts."""
        self.nodes.power_on(name)

    def cut_off(self, names: list[str]) -> None:
        """Separate nodes from all others and from the API server."""
        self.network.fabric.topology.cut_off(names)
        self.network.fabric.changed()
        for name in names:
            self.control.disconnect(name)

    def reconnect(self, names: list[str]) -> None:
        """Undo `cut_off`."""
        self.network.fabric.topology.reconnect(names)
        self.network.fabric.changed()
        for name in names:
            self.control.connect(name)

    def stop_proxy(self, name: str) -> None:
        """End a node's kube-proxy: rules stay, connections through a userspace proxy end."""
        self.nodes.stop_proxy(name)

    def start_proxy(self, name: str) -> None:
        """Start it again."""
        self.nodes.start_proxy(name)

    def api_server(self, *, available: bool) -> None:
        """Take the API server away, or bring it back."""
        self.control.store.set_available(available)

    def lose_ipvs_modules(self, name: str) -> None:
        """A node's kernel has no IPVS from now on; a kube-proxy that starts finds out."""
        self.proxies.without_ipvs.add(name)


_standing: weakref.WeakSet[World] = weakref.WeakSet()
"""The worlds that are in memory."""


def build(
    scenario: Scenario, seed: int | None = None, *, label: str = "", replication: int = 0, discovery: bool = False,
    captures: CapturePlan | None = None,
) -> World:
    """The world of a scenario that compares nothing, settled and ready to run.

    `discovery`: names and variables will be asked for, so cluster DNS runs though no workload needs it. `captures`: whose packets
    the run writes to files.
    """
    collecting = gc.isenabled()
    gc.disable()  # a large cluster is millions of objects that all stay
    try:
        chosen = scenario.run.seed if seed is None else seed
        world = World(scenario, chosen, label, replication, discovery=discovery, captures=captures)
        _standing.add(world)
        return world
    finally:
        if collecting:
            gc.enable()


def _registered(machine: Machine) -> NodeSpec:
    address, further_address = (*map(format_address, machine.addresses), "")[:2]
    pod_cidr, further_pod_cidr = (*map(str, machine.pod_cidrs), "")[:2]
    return NodeSpec(
        machine.name, address, pod_cidr, cores=machine.cores, zone=machine.zone, max_pods=machine.max_pods, labels=machine.labels,
        further_address=further_address, further_pod_cidr=further_pod_cidr,
    )

