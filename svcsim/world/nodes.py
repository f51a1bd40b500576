"""The nodes of a world at work: what packets meet on each, its kube-proxy, and what becomes of both when power goes and comes."""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.datapath.host import Host
from svcsim.datapath.network import Network
from svcsim.engine.journal import Happening
from svcsim.engine.streams import Stream
from svcsim.kube.cluster import ControlPlane
from svcsim.kube.timings import Timings
from svcsim.kubeproxy.change_tracker import Changes
from svcsim.kubeproxy.service_health import HealthServer
from svcsim.kubeproxy.sync_loop import KubeProxy, Proxier, SyncSettings
from svcsim.workload.resolving import Resolvers
from svcsim.world.addressing import Machine
from svcsim.world.clients import Clients
from svcsim.world.hosts import charges_of
from svcsim.world.proxies import NodeProxy, Proxies


@dataclass(slots=True)
class NodeAtWork:
    """A node's machine, host, translator and kube-proxy."""

    machine: Machine
    host: Host
    proxy: NodeProxy
    kube_proxy: KubeProxy
    health: HealthServer | None = None
    """kube-proxy's HTTP servers; None where no balancer asks them."""
    power: int = 0
    """How often power has gone or come back: what began before the last time is over."""
    booting: bool = False

    def answer_health_checks(self) -> None:
        """kube-proxy has synced: its HTTP servers answer by what it knows now."""
        if self.health is None:
            return
        ports: dict[str, int] = {}
        counts: dict[str, int] = {}
        for proxier in self.proxy.proxiers:
            ports.update(proxier.tracker.health_check_node_ports())
            for key, count in proxier.tracker.local_ready_endpoints().items():
                counts[key] = max(count, counts.get(key, 0))
        self.health.update(ports, counts)


class Nodes:
    """All nodes of a world."""

    def __init__(
        self, network: Network, control: ControlPlane, proxies: Proxies, clients: Clients, resolvers: Resolvers, timings: Timings,
        seed: int, *, has_balancers: bool,
    ) -> None:
        """`has_balancers`: somebody asks kube-proxy's HTTP servers."""
        self._network = network
        self._clock = network.fabric.clock
        self._journal = network.fabric.journal
        self._control = control
        self._proxies = proxies
        self._clients = clients
        self._resolvers = resolvers
        self._timings = timings
        self._seed = seed
        self._has_balancers = has_balancers
        self.by_name: dict[str, NodeAtWork] = {}

    # ---- kube-proxy --------------------------------------------------------------------------------------------------

    def add(self, machine: Machine, host: Host) -> None:
        """A node with its kube-proxy in the mode that its kernel allows, programmed with what there is."""
        made = self._proxies.make(machine, host)
        proxies, mode = self._proxies, made.mode

        def committed(proxier: Proxier, changes: Changes) -> None:
            self._lead_packets(node)
            proxies.clean_conntrack(host, proxier, changes)
            node.answer_health_checks()

        kube_proxy = KubeProxy(
            machine.name, made.proxiers, self._control.node_client(machine.name, "kube-proxy"), self._clock, self._journal,
            lambda: proxies.pace(mode), self._sync_settings(mode), proxies.sync_cost(mode), committed,
        )
        health = HealthServer(host, self._network.exchanges) if self._has_balancers else None
        node = NodeAtWork(machine, host, made, kube_proxy, health)
        kube_proxy.settle(Stream(self._seed, "kube-proxy/phase").uniform(host.index))
        self._lead_packets(node)
        node.answer_health_checks()
        self.by_name[machine.name] = node

    def _sync_settings(self, mode: str) -> SyncSettings:
        timings = self._timings
        return SyncSettings(self._proxies.period_ns(mode), timings.proxy_full_sync_period_ns, timings.proxy_start_ns)

    def _lead_packets(self, node: NodeAtWork) -> None:
        """Let packets meet what the node's translator has programmed, at the costs of its mode."""
        path = node.proxy.path()
        if node.host.path is not path:
            node.host.path = path
            node.host.charges = charges_of(self._proxies.costs(node.proxy.mode))

    def _choose_mode(self, node: NodeAtWork) -> None:
        """kube-proxy is about to start: in which mode depends on what the node's kernel has by now.

        What it finds from before stays in use until its first sync has been written.
        """
        mode = self._proxies.mode_of(node.machine)
        if mode != node.proxy.mode:
            node.proxy = self._proxies.make(node.machine, node.host)
            node.kube_proxy.become(
                node.proxy.proxiers, lambda: self._proxies.pace(mode), self._sync_settings(mode), self._proxies.sync_cost(mode)
            )

    def stop_proxy(self, name: str) -> None:
        """End a node's kube-proxy: rules stay, connections through a userspace proxy end."""
        node = self.by_name[name]
        node.kube_proxy.stop()
        node.proxy.stopped()
        if node.health is not None:
            node.health.stop()

    def start_proxy(self, name: str) -> None:
        """Start a node's kube-proxy again."""
        node = self.by_name[name]
        if node.host.up and not node.kube_proxy.running:
            self._choose_mode(node)
            node.proxy.started()
            node.kube_proxy.start()

    # ---- power -------------------------------------------------------------------------------------------------------

    def power_off(self, name: str) -> None:
        """Power off: whatever the node held in memory is gone, and nobody is told."""
        node = self.by_name[name]
        if node.host.up or node.booting:
            node.power += 1
            node.booting = False
            self._journal.add(self._clock.now, Happening.NODE_DOWN, name)
            if node.host.up:
                self.lose_power(node)
            self._control.kubelet(name).power_off()

    def lose_power(self, node: NodeAtWork) -> None:
        """The node's memory is gone: its tables, its kube-proxy, and who sends from it."""
        host = node.host
        host.up = False
        host.conntrack.flush()
        host.icmp.clear()
        host.neighbours.clear()
        if self._resolvers.node_caches is not None:
            self._resolvers.node_caches.power_off(host)
        self._network.fabric.changed()
        node.proxy.stopped()
        node.kube_proxy.stop()
        if node.health is not None:
            node.health.stop()
        host.namespace.listeners.clear()
        self._clients.host_power(host, up=False)

    def power_on(self, name: str) -> None:
        """Power on: the node boots, silent until its network is there, which takes as long as until its kubelet starts."""
        node = self.by_name[name]
        if node.host.up or node.booting:
            return
        node.power += 1
        node.booting = True
        power = node.power
        self._journal.add(self._clock.now, Happening.NODE_UP, name)
        self._clock.after(self._timings.node_boot_ns, lambda: self._booted(name, power))
        self._control.kubelet(name).power_on()

    def _booted(self, name: str, power: int) -> None:
        """The node is there again, with empty tables; kube-proxy writes everything anew."""
        node = self.by_name[name]
        host = node.host
        if power != node.power:
            return
        node.booting = False
        host.up = True
        host.queues[:] = [self._clock.now] * len(host.queues)
        self._network.fabric.changed()
        self._choose_mode(node)
        node.proxy.started()
        node.kube_proxy.start(forgotten=True)
        self._lead_packets(node)
        self._clients.host_power(host, up=True)
