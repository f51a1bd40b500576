"""One kube-proxy a node: the translator of its mode, what its packets then meet, and what a sync costs.

Everything that nodes can share (read objects, rules of a Service for one flavour of node) is made once a world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from svcsim.calibration.costs import Costs, costs_of
from svcsim.calibration.profile import Profile
from svcsim.datapath.host import Host, NoRules
from svcsim.datapath.network import Network
from svcsim.engine.journal import Happening
from svcsim.engine.streams import permuted, splitmix64, stream_seed
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.timings import Timings
from svcsim.kubeproxy.change_tracker import Catalogue, Changes, ChangeTracker, Snapshot
from svcsim.kubeproxy.conntrack_cleanup import stale_entries
from svcsim.kubeproxy.dual_stack import DualStackPath
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.pace import CompletionPace, Pace, TokenBucketPace
from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle
from svcsim.kubeproxy.settings import IPFamily, ProxySettings
from svcsim.kubeproxy.sync_loop import Prepared, Proxier
from svcsim.kubeproxy.userspace_proxier import Portal, UserspaceProxier
from svcsim.kubeproxy.userspace_proxy import DialTimeouts, ProxyCharges, ProxyPort, ProxyProcess
from svcsim.kubeproxy.userspace_udp import UdpProxyPort
from svcsim.linux.address import Prefix, is_ipv6
from svcsim.linux.ipvs.settings import IpvsKernel, IpvsSysctls, IpvsTimeouts
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.packet import TCP, UDP, FirstPacketPath
from svcsim.scenario.model import Scenario
from svcsim.world.addressing import Machine

USERSPACE_DIALS = 4
"""How many endpoints the userspace proxy dials for a connection (pkg/proxy/userspace/proxysocket.go, kubernetes 1.17)."""


@dataclass(slots=True)
class NodeProxy:
    """A node's translators in the mode that it runs, one a family, with what stopping them does to connections through them.

    `path` is what packets take once the translators have written; one that begins anew with an empty kernel has another.
    """

    mode: str
    proxiers: tuple[Proxier, ...]
    path: Callable[[], FirstPacketPath]
    stopped: Callable[[], None] = lambda: None
    started: Callable[[], None] = lambda: None
    cpu_ns: Callable[[], int] = lambda: 0

    @property
    def proxier(self) -> Proxier:
        """The translator of the node's primary family."""
        return self.proxiers[0]


@dataclass(slots=True)
class _Shared:
    """What the nodes' translators of one family have in common."""

    catalogue: Catalogue
    snapshot: Snapshot
    iptables: IptablesProgrammes = field(default_factory=IptablesProgrammes)
    nftables: ProgrammeLibrary = field(default_factory=ProgrammeLibrary)
    ipvs: IpvsLibrary = field(default_factory=IpvsLibrary)


@dataclass(slots=True)
class _IptablesOnNode:
    """The iptables translator as the sync loop knows it."""

    inner: IptablesProxier
    make: Callable[[], IptablesProxier]
    tracker: ChangeTracker = field(init=False)

    def __post_init__(self) -> None:
        self.tracker = self.inner.tracker

    def prepare(self, now_ns: int, *, full: bool) -> Prepared:
        """Work out a sync."""
        inner = self.inner
        plan = inner.prepare(now_ns, full=full)
        changed = len({name.service_key for name in plan.swaps})
        return Prepared(
            plan.changes, plan.full, changed, plan.nat_total + plan.filter_total, lambda: inner.commit(plan),
            saved=plan.deletes_chains,
        )

    def forget(self) -> None:
        """The node lost power: begin with an empty kernel."""
        self.inner = self.make()
        self.tracker = self.inner.tracker


class Proxies:
    """Makes the translators of a world."""

    def __init__(
        self, scenario: Scenario, network: Network, profile: Profile, costs: Costs, timings: Timings, seed: int,
        services: Iterable[Service], slices: Iterable[EndpointSlice],
    ) -> None:
        """`services` and `slices` are what the run starts with."""
        self._scenario = scenario
        self._network = network
        self._costs = costs
        self._profile = profile
        self._timings = timings
        self._seed = seed
        self._shared: dict[IPFamily, _Shared] = {}
        services, slices = list(services), list(slices)
        for family in scenario.cluster.network.node_families:
            catalogue = Catalogue(family, terminating_endpoints=scenario.kubernetes.has("proxy-terminating-endpoints"))
            self._shared[family] = _Shared(catalogue, catalogue.snapshot(services, slices))
        self.without_ipvs: set[str] = set()

    def mode_of(self, machine: Machine) -> str:
        """The mode in which kube-proxy starts on a node: the scenario's, or iptables where IPVS's kernel modules are missing.

        Source: cmd/kube-proxy/app/server_others.go, `getProxyMode`, `tryIPVSProxy` (kubernetes 1.17).
        """
        mode = self._scenario.kubernetes.mode
        return "iptables" if mode == "ipvs" and machine.name in self.without_ipvs else mode

    def families_of(self, mode: str) -> tuple[IPFamily, ...]:
        """The families that kube-proxy serves, the nodes' primary one first; userspace mode serves that one alone.

        Source: cmd/kube-proxy/app/server_others.go (kubernetes 1.17 to 1.34).
        """
        families = self._scenario.cluster.network.node_families
        return families[:1] if mode == "userspace" else families

    def settings(self, machine: Machine, mode: str, family: IPFamily) -> ProxySettings:
        """How a proxier of one family is set up on a node; without a block of pods it cannot tell their traffic from other."""
        kubernetes = self._scenario.kubernetes
        wants_ipv6 = family == "IPv6"
        pods = map(Prefix.parse, self._scenario.cluster.network.pod_cidr)
        return ProxySettings(
            mode=mode,  # type: ignore[arg-type]
            family=family,
            node_name=machine.name,
            node_ip=next(address for address in machine.addresses if is_ipv6(address) == wants_ipv6),
            local_ips=machine.addresses,
            node_labels=machine.labels,
            local_detector="ByCIDR",
            cluster_cidr=next((block for block in pods if is_ipv6(block.base) == wants_ipv6), None),
            masquerade_all=kubernetes.proxy.masquerade_all,
            service_cidrs=tuple(map(Prefix.parse, kubernetes.service_cidr)),
            scheduler=kubernetes.scheduler,
            large_cluster_endpoints=self._timings.proxy_large_cluster,
            sync_period_ns=kubernetes.proxy.sync_period_ns or self._timings.proxy_sync_period_ns,
        )

    def tracker(self, machine: Machine, family: IPFamily) -> ChangeTracker:
        """A node's view of Services and slices in one family, sharing what the run starts with."""
        shared = self._shared[family]
        return ChangeTracker(shared.catalogue, machine.name, shared.snapshot)

    def make(self, machine: Machine, host: Host) -> NodeProxy:
        """The translators of a node in its mode; a fall-back from the scenario's mode is noted in the journal."""
        mode = self.mode_of(machine)
        if mode != self._scenario.kubernetes.mode:
            self._network.fabric.journal.add(
                self._network.fabric.clock.now, Happening.NOTE,
                f"{machine.name}: kernel modules of IPVS are missing, kube-proxy uses iptables mode",
            )
        table = self._ipvs_table(machine)
        made = {}
        for family in self.families_of(mode):
            if mode == "userspace":
                made[family] = self._userspace(machine, host, family)
            elif mode == "nftables":
                made[family] = self._nftables_on(machine, family)
            elif mode == "ipvs":
                made[family] = self._ipvs(machine, family, table)
            else:
                made[family] = self._iptables_on(machine, family)
        return _together(mode, made, self._scenario.cluster.network.node_families)

    def _ipvs_table(self, machine: Machine) -> IpvsTable:
        """A node's IPVS as its kernel, its kube-proxy and the scenario make it."""
        kubernetes = self._scenario.kubernetes
        sysctls, timeouts = IpvsSysctls.of_kube_proxy(machine.kernel, kubernetes.minor), IpvsTimeouts()
        given = kubernetes.proxy.ipvs
        if given is not None:
            mode = given.conn_reuse_mode
            sysctls = replace(
                sysctls, conn_reuse_mode=sysctls.conn_reuse_mode if mode is None else mode,
                expire_nodest_conn=given.expire_nodest_conn, expire_quiescent_template=given.expire_quiescent_template,
            )
            timeouts = replace(
                timeouts,
                tcp_ns=given.tcp_timeout_ns or timeouts.tcp_ns,
                tcp_fin_ns=given.tcp_fin_timeout_ns or timeouts.tcp_fin_ns,
                udp_ns=given.udp_timeout_ns or timeouts.udp_ns,
            )
        return IpvsTable(sysctls, timeouts, IpvsKernel.of(machine.kernel))

    def _nftables_on(self, machine: Machine, family: IPFamily) -> NodeProxy:
        settings = self.settings(machine, "nftables", family)
        inner = NftablesProxier(settings, self.tracker(machine, family), self._shared[family].nftables)
        return NodeProxy("nftables", (inner,), lambda: inner.table)

    def _iptables_on(self, machine: Machine, family: IPFamily) -> NodeProxy:
        order = splitmix64(stream_seed(self._seed, f"iptables/order/{machine.name}{_suffix(family)}"))
        has = self._scenario.kubernetes.has
        partial, seldom = has("minimize-iptables-restore"), has("large-cluster-cleanup")

        def make() -> IptablesProxier:
            return IptablesProxier(
                self.settings(machine, "iptables", family), self.tracker(machine, family), self._shared[family].iptables,
                order=order, partial=partial, seldom_cleans=seldom,
            )

        proxier = _IptablesOnNode(make(), make)
        return NodeProxy("iptables", (proxier,), lambda: proxier.inner.table)

    def _ipvs(self, machine: Machine, family: IPFamily, table: IpvsTable) -> NodeProxy:
        clock = self._network.fabric.clock
        key = stream_seed(self._seed, f"ipvs/order/{machine.name}{_suffix(family)}")
        kubernetes = self._scenario.kubernetes
        is_sorted = not kubernetes.has("ipvs-unsorted")

        def order(endpoints: Sequence[EndpointInfo]) -> Iterable[EndpointInfo]:
            if is_sorted:
                return sorted(endpoints, key=str)
            places = sorted(range(len(endpoints)), key=lambda place: permuted(key, place, len(endpoints)))
            return [endpoints[place] for place in places]

        inner = IpvsProxier(
            self.settings(machine, "ipvs", family), self.tracker(machine, family), self._shared[family].ipvs, table,
            order=order, clock=lambda: clock.now, graceful=kubernetes.has("ipvs-graceful-termination"),
        )

        running = True
        check_ns = self._timings.proxy_graceful_check_ns

        def check() -> None:
            if running:
                inner.check_terminating(clock.now)
            clock.after(check_ns, check)

        def stopped() -> None:
            nonlocal running
            running = False

        def started() -> None:
            nonlocal running
            running = True
            inner.restart()

        clock.after(check_ns, check)
        node = IpvsNode(inner)
        return NodeProxy("ipvs", (inner,), lambda: node, stopped, started)

    def _userspace(self, machine: Machine, host: Host, family: IPFamily) -> NodeProxy:
        costs = self._costs.userspace
        charges = ProxyCharges(
            accept_ns=costs.accept_ns, dial_ns=costs.dial_ns, copy_ns=costs.copy_ns, copy_ns_per_kib=round(costs.copy_ns_per_kib),
            sockets_ns=costs.sockets_ns, unit_bytes=self._costs.unit_bytes,
            # What a unit costs beyond the direct path, less what the second leg is charged at its sockets.
            extra_unit_ns=max(0, costs.extra_unit_ns - self._costs.extra_unit_sockets_ns),
        )
        first_ns = self._timings.proxy_dial_ns
        dials = DialTimeouts(tuple(first_ns << i for i in range(USERSPACE_DIALS)), self._timings.proxy_udp_idle_ns)
        process = ProxyProcess(host, self._network, charges, dials)
        balancer: RoundRobin[tuple[int, int]] = RoundRobin(keyed_shuffle(self._seed, machine.name))
        clock = self._network.fabric.clock
        ports: dict[tuple[int, int], ProxyPort | UdpProxyPort] = {}

        def opened(portal: Portal) -> None:
            name = str(portal.info.name)

            def pick(client: int, reset: bool) -> tuple[int, int] | None:
                return balancer.next(name, client, clock.now, reset=reset)

            port: ProxyPort | UdpProxyPort
            port = ProxyPort(process, pick) if portal.info.protocol == "TCP" else UdpProxyPort(process, pick)
            place = (TCP if portal.info.protocol == "TCP" else UDP, portal.proxy_port)
            ports[place] = host.namespace.listeners[place] = port

        def closed(portal: Portal) -> None:
            place = (TCP if portal.info.protocol == "TCP" else UDP, portal.proxy_port)
            port = ports.pop(place, None)
            host.namespace.listeners.pop(place, None)
            if port is not None:
                port.close()

        def stopped() -> None:
            process.running = False
            for port in ports.values():
                port.stop()

        def started() -> None:
            process.running = True

        settings = self.settings(machine, "userspace", family)
        proxier = UserspaceProxier(settings, self.tracker(machine, family), balancer, opened, closed)
        return NodeProxy("userspace", (proxier,), lambda: proxier.path, stopped, started, lambda: process.cpu_ns)

    # ---- the loop's settings -----------------------------------------------------------------------------------------

    def pace(self, mode: str) -> Pace:
        """How often the loop may sync: the bucket of older versions, the pause after each sync of newer ones."""
        kubernetes = self._scenario.kubernetes
        given = kubernetes.proxy.min_sync_period_ns
        interval_ns = self._timings.proxy_min_sync_ns(mode) if given is None else given
        if kubernetes.has("pace-from-completion"):
            return CompletionPace(interval_ns)
        return TokenBucketPace(interval_ns, self._timings.proxy_burst)

    def period_ns(self, mode: str) -> int:
        """The longest time without a sync."""
        given = self._scenario.kubernetes.proxy.sync_period_ns
        if given is not None:
            return given
        often = mode in ("ipvs", "userspace") or (mode == "iptables" and not self._scenario.kubernetes.has("iptables-monitor"))
        return self._timings.proxy_sync_period_ns if often else self._timings.proxy_full_sync_period_ns

    def costs(self, mode: str) -> Costs:
        """What packets and syncs cost on a node in a mode; the scenario's own but for a node that fell back."""
        if mode == self._scenario.kubernetes.mode:
            return self._costs
        return costs_of(self._profile, mode, self._scenario.kubernetes.proxy.backend)

    def sync_cost(self, mode: str) -> Callable[[Prepared, int], int]:
        """How long a sync in a mode takes to write what it has to."""
        costs = self.costs(mode)

        def cost_ns(prepared: Prepared, services: int) -> int:
            kind: Literal["full", "partial"] = "full" if prepared.full else "partial"
            return costs.programming_ns(kind, services, prepared.services, prepared.rules, saved=prepared.saved)

        return cost_ns

    def clean_conntrack(self, host: Host, proxier: Proxier, changes: Changes) -> None:
        """Forget UDP flows that lead to nobody any more, after a sync."""
        if changes.conntrack_cleanup:
            for entry in stale_entries(host.conntrack.live(), proxier.tracker, changes):
                host.conntrack.delete(entry)


def _suffix(family: IPFamily) -> str:
    """What the streams of IPv6 are named after more: those of IPv4 are as they would be alone."""
    return "/IPv6" if family == "IPv6" else ""


def _together(mode: str, made: dict[IPFamily, NodeProxy], families: tuple[IPFamily, ...]) -> NodeProxy:
    """One node's translators as one thing; a family of the node that none of them serves has no rules."""
    parts = tuple(made.values())
    if len(families) == 1:
        return parts[0]
    unserved = NoRules()
    latest = DualStackPath(unserved, unserved)

    def path() -> FirstPacketPath:
        nonlocal latest
        ipv4, ipv6 = (made[family].path() if family in made else unserved for family in ("IPv4", "IPv6"))
        if latest.ipv4 is not ipv4 or latest.ipv6 is not ipv6:
            latest = DualStackPath(ipv4, ipv6)
        return latest

    def stopped() -> None:
        for part in parts:
            part.stopped()

    def started() -> None:
        for part in parts:
            part.started()

    proxiers = tuple(proxier for part in parts for proxier in part.proxiers)
    return NodeProxy(mode, proxiers, path, stopped, started, lambda: sum(part.cpu_ns() for part in parts))
