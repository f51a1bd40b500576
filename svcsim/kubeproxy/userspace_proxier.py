"""kube-proxy in userspace mode: a port of the node for each Service port, and rules that hand its traffic to that port.

The kernel's rules only capture: which endpoint a connection goes to is decided by the process, when it accepts
(`svcsim.kubeproxy.userspace_proxy`). There is a rule for each address of each Service port in KUBE-PORTALS-CONTAINER (traffic
that comes in) and KUBE-PORTALS-HOST (the node's own); node ports come last. Rules are appended as Services appear.

Source: pkg/proxy/userspace/proxier.go (kubernetes 1.17).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svcsim.kubeproxy.change_tracker import ChangeTracker
from svcsim.kubeproxy.round_robin import RoundRobin
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.sync_loop import Prepared
from svcsim.linux.address import Address, Prefix
from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import (
    AddressType,
    Comment,
    Destination,
    DestinationPort,
    Dnat,
    Jump,
    Match,
    Protocol,
    Redirect,
    Rule,
    Ruleset,
    Table,
)
from svcsim.linux.netfilter.walk import KernelState, walk
from svcsim.linux.packet import Decision, Packet, Step, Verdict

FIRST_PROXY_PORT = 35000
"""Where the ports of the proxy begin here; the real one takes random ones."""

_PORTALS_COMMENT = "handle ClusterIPs; NOTE: this must be before the NodePort rules"
_NODEPORTS_COMMENT = "handle service NodePorts; NOTE: this must be the last rule in the chain"
_CONTAINER = ("nat", "KUBE-PORTALS-CONTAINER")
_HOST = ("nat", "KUBE-PORTALS-HOST")


@dataclass(frozen=True, slots=True)
class Portal:
    """A Service port, with the port that the proxy opened for it on this node."""

    info: ServicePortInfo
    proxy_port: int

    @property
    def addresses(self) -> tuple[int, ...]:
        """The addresses that lead to it."""
        return (self.info.cluster_ip, *self.info.external_ips, *self.info.load_balancer_vips)


Open = Callable[[Portal], None]
Close = Callable[[Portal], None]


class UserspacePath:
    """The kernel's part on one node; implements `svcsim.linux.packet.FirstPacketPath`."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.portals: tuple[Portal, ...] = ()
        self._services: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._node_ports: dict[tuple[int, int], tuple[int, int]] = {}
        self._rules = 0
        self._node_port_rules = 0

    def use(self, portals: tuple[Portal, ...]) -> None:
        """Work from these portals from now on, in the order of their rules."""
        self.portals = portals
        self._services = {}
        self._node_ports = {}
        position = 0
        for portal in portals:
            for address in portal.addresses:
                position += 1
                key = (address, portal.info.protocol_number, portal.info.port)
                self._services.setdefault(key, (portal.proxy_port, position))
        self._rules = position
        with_node_port = [portal for portal in portals if portal.info.node_port]
        self._node_port_rules = len(with_node_port)
        for place, portal in enumerate(with_node_port, 1):
            key2 = (portal.info.protocol_number, portal.info.node_port)
            self._node_ports.setdefault(key2, (portal.proxy_port, place))

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """Capture or let pass; the uniform is not used, since the process chooses."""
        found = self._services.get((packet.destination, packet.protocol, packet.destination_port))
        node_ip = self._settings.node_ip
        if found is not None:
            proxy_port, position = found
            return Decision(Verdict.DNAT, node_ip, proxy_port, service_rules=position, rules=position + 1)
        rules = self._rules + 2
        if self._settings.is_local_address(packet.destination):
            found = self._node_ports.get((packet.protocol, packet.destination_port))
            if found is not None:
                proxy_port, place = found
                return Decision(
                    Verdict.DNAT, node_ip, proxy_port, service_rules=self._rules + place, rules=rules + place
                )
            count = self._node_port_rules
            return Decision(
                Verdict.NO_MATCH, packet.destination, packet.destination_port, service_rules=self._rules + count,
                rules=rules + count,
            )
        return Decision(
            Verdict.NO_MATCH, packet.destination, packet.destination_port, service_rules=self._rules, rules=rules
        )

    def ruleset(self) -> Ruleset:
        """The rules that kube-proxy writes."""
        node_ip = self._settings.node_ip
        container: list[Rule] = []
        host: list[Rule] = []
        node_container: list[Rule] = []
        node_host: list[Rule] = []
        for portal in self.portals:
            info = portal.info
            common: tuple[Match, ...] = (Comment(str(info.name)), Protocol(info.protocol_number))
            for address in portal.addresses:
                block = Prefix(Address(address), 128 if self._settings.is_ipv6 else 32)
                matches = (*common, Destination(block), DestinationPort(info.port))
                container.append(Rule(matches, Redirect(portal.proxy_port)))
                host.append(Rule(matches, Dnat(node_ip, portal.proxy_port)))
            if info.node_port:
                matches = (*common, DestinationPort(info.node_port))
                node_container.append(Rule(matches, Redirect(portal.proxy_port)))
                node_host.append(Rule(matches, Dnat(node_ip, portal.proxy_port)))

        def entry(portals: str, node_ports: str) -> tuple[Rule, ...]:
            return (
                Rule((Comment(_PORTALS_COMMENT),), Jump(portals)),
                Rule((Comment(_NODEPORTS_COMMENT), AddressType("dst")), Jump(node_ports)),
            )

        nat = Table(
            {
                "PREROUTING": entry("KUBE-PORTALS-CONTAINER", "KUBE-NODEPORT-CONTAINER"),
                "OUTPUT": entry("KUBE-PORTALS-HOST", "KUBE-NODEPORT-HOST"),
                "KUBE-PORTALS-CONTAINER": tuple(container),
                "KUBE-PORTALS-HOST": tuple(host),
                "KUBE-NODEPORT-CONTAINER": tuple(node_container),
                "KUBE-NODEPORT-HOST": tuple(node_host),
            },
            {"PREROUTING": "ACCEPT", "OUTPUT": "ACCEPT"},
        )
        return {"nat": nat}

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same outcome, rule by rule."""
        node_ports = {("nat", "KUBE-NODEPORT-CONTAINER"), ("nat", "KUBE-NODEPORT-HOST")}
        kernel = KernelState(
            self._settings.is_local_address, RecentState(), frozenset({_CONTAINER, _HOST} | node_ports),
            redirect_to=self._settings.node_ip,
        )
        return walk(self.ruleset(), kernel, packet, uniform, now_ns)


class UserspaceProxier:
    """One node's proxier: opens a port for each Service port, keeps the balancer and the capturing rules."""

    def __init__(
        self, settings: ProxySettings, tracker: ChangeTracker, balancer: RoundRobin[tuple[int, int]], open_port: Open,
        close_port: Close,
    ) -> None:
        self.settings = settings
        self.tracker = tracker
        self.balancer = balancer
        self.path = UserspacePath(settings)
        self._open = open_port
        self._close = close_port
        self._portals: dict[str, dict[ServicePortName, Portal]] = {}
        self._next_port = FIRST_PROXY_PORT

    def prepare(self, now_ns: int, *, full: bool) -> Prepared:
        """Take over what is pending: new ports are opened and balanced now, captured once the rules are written."""
        changes = self.tracker.checkout()
        keys = dict.fromkeys(self.tracker.services) if full else dict.fromkeys(changes.keys)
        gone: list[Portal] = []
        changed = full
        for key in dict.fromkeys((*keys, *changes.services)):
            ports = self.tracker.services.get(key) or {}
            here = self._portals.setdefault(key, {})
            for name in [name for name in here if name not in ports]:
                gone.append(here.pop(name))
                self.balancer.remove_endpoints(str(name))
            for name, info in ports.items():
                if info.protocol in ("TCP", "UDP"):
                    changed = self._update(here, name, info) or changed
            if not here:
                del self._portals[key]
        portals = self.path.portals
        if changed or gone:
            portals = tuple(portal for here in self._portals.values() for portal in here.values())

        def commit() -> None:
            if portals is not self.path.portals:
                self.path.use(portals)
            for portal in gone:
                self._close(portal)

        rules = 2 * sum(len(portal.addresses) + bool(portal.info.node_port) for portal in portals)
        return Prepared(changes, full, len(keys), rules, commit)

    def _update(self, here: dict[ServicePortName, Portal], name: ServicePortName, info: ServicePortInfo) -> bool:
        """Bring one Service port up to date; True if its rules change."""
        portal = here.get(name)
        changed = portal is None or portal.info != info
        if portal is None:
            here[name] = Portal(info, self._next_port)
            self._next_port += 1
            self._open(here[name])
        elif changed:
            here[name] = Portal(info, portal.proxy_port)
        seconds = info.affinity_seconds
        self.balancer.set_affinity(str(name), None if seconds is None else seconds * 1_000_000_000)
        ready = [(each.address, each.port) for each in self.tracker.endpoints(name) if each.ready]
        self.balancer.set_endpoints(str(name), ready)
        return changed

    def forget(self) -> None:
        """The node lost power: rules and ports are gone."""
        for here in self._portals.values():
            for portal in here.values():
                self._close(portal)
        self._portals.clear()
        self.balancer.forget()
        self.path.use(())
