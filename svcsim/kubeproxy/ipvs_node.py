"""A node in IPVS mode, as first packets meet it: a few iptables rules, IPVS in the middle, a few more rules.

    PREROUTING  nat PREROUTING; for an address of the node (kube-ipvs0 has the virtual ones): filter INPUT, then IPVS
    OUTPUT      nat OUTPUT, then IPVS at once
    both        what IPVS sends on: filter OUTPUT, nat POSTROUTING

The rules only mark for masquerading, and refuse. A process of the node that talks to a virtual address has that address as its
source, since kube-ipvs0 makes it local. `walk` examines the rules. `decide` sorts the packet into a class by all that the rules
ask, and remembers what the rules said to the first of its class; so both agree by construction, and a test holds them equal.

Sources: Linux net/netfilter/ipvs/ip_vs_core.c (`ip_vs_ops4`), ip_vs_xmit.c (`ip_vs_nat_xmit`).
"""

from __future__ import annotations

from typing import NamedTuple

from svcsim.kubeproxy import ipvs_sets as sets
from svcsim.kubeproxy.ipvs_programme import Destination, VirtualServer
from svcsim.kubeproxy.ipvs_proxier import IpvsProxier
from svcsim.kubeproxy.ipvs_sets import Membership, set_name
from svcsim.linux.address import Prefix, format_endpoint
from svcsim.linux.ipvs.connections import IpvsConnection
from svcsim.linux.ipvs.fates import Dropped
from svcsim.linux.ipvs.services import VirtualService
from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import Ruleset
from svcsim.linux.netfilter.walk import KernelState, Walk
from svcsim.linux.packet import SCTP, Decision, Hook, Packet, Step, Verdict

_OUTPUT = Hook.OUTPUT
_DNAT = Verdict.DNAT
_CLUSTER = int(Membership.CLUSTER_IP)
_BALANCER = int(Membership.LOAD_BALANCER)
_FIREWALL = int(Membership.LOAD_BALANCER_FIREWALL)
_MEMBERSHIP_OF = {
    sets.CLUSTER_IP.name: Membership.CLUSTER_IP,
    sets.EXTERNAL_IP.name: Membership.EXTERNAL_IP,
    sets.EXTERNAL_IP_LOCAL.name: Membership.EXTERNAL_IP_LOCAL,
    sets.LOAD_BALANCER.name: Membership.LOAD_BALANCER,
    sets.LOAD_BALANCER_LOCAL.name: Membership.LOAD_BALANCER_LOCAL,
    sets.LOAD_BALANCER_FW.name: Membership.LOAD_BALANCER_FIREWALL,
}
_NODE_PORT_NAMES = {
    ipset.name: (protocol, ipset is pair[1]) for protocol, pair in sets.NODE_PORT_SETS.items() for ipset in pair
}


class _Before(NamedTuple):
    """What the rules before IPVS say to a class of packets; `mark` is the packet's mark after them."""

    verdict: Verdict | None
    mark: int
    masquerade: bool
    rules: int


class _After(NamedTuple):
    """What the rules after IPVS say."""

    verdict: Verdict | None
    masquerade: bool
    rules: int


class _Door:
    """A virtual server as packets find it: what is asked for, what stands in the kernel, and what the rules said so far.

    `latest` is what they said after IPVS to a packet lately, with the decision that it met: the next one like it costs the same.
    """

    __slots__ = ("balancer", "before", "guarded", "latest", "service", "wanted")

    def __init__(self, wanted: VirtualServer, membership: int) -> None:
        self.wanted = wanted
        self.service: VirtualService | None = None
        self.guarded = bool(membership & _FIREWALL)
        self.balancer = bool(membership & _BALANCER)
        self.before: dict[int, _Before] = {}
        self.latest: tuple[_After, Decision] | None = None


class IpvsNode:
    """Implements `svcsim.linux.packet.FirstPacketPath` over what a node's proxier has programmed."""

    def __init__(self, proxier: IpvsProxier) -> None:
        self.proxier = proxier
        settings = proxier.settings
        self._loopback = _compared(settings.loopback)
        pods = settings.cluster_cidr if settings.detects_local_traffic else None
        self._pods = _compared(pods) if pods is not None else (0, -1)
        self._own = frozenset(settings.local_ips)
        self._names = {set_name(ipset, ipv6=settings.is_ipv6): ipset.name for ipset in sets.IPSETS}
        self._kernel = KernelState(self.is_local, RecentState(), in_set=self._in_set)
        self._generation = -1
        self._rules: Ruleset = {}
        self._doors: dict[Destination, _Door] = {}
        self._before: dict[tuple[object, ...], _Before] = {}
        self._after: dict[tuple[object, ...], _After] = {}
        self._views: dict[int, int] = {}
        self._passed: dict[Destination, dict[int, Decision]] = {}

    def is_local(self, address: int) -> bool:
        """Whether the node's kernel delivers packets for this address itself: its own, those of kube-ipvs0, loopback."""
        shift, value = self._loopback
        return address in self.proxier.contents.bound or address in self._own or address >> shift == value

    def _refresh(self) -> None:
        """A sync has gone by: the rules, and so what they say, may have changed."""
        self._generation = self.proxier.generation
        self._doors.clear()
        self._views.clear()
        self._passed.clear()
        rules = self.proxier.rules()
        if rules != self._rules:
            self._rules = rules
            self._before.clear()
            self._after.clear()

    # ---- the fast way ------------------------------------------------------------------------------------------------

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """The outcome of a first packet; IPVS's own scheduler chooses, so `uniform` is not used."""
        proxier = self.proxier
        if self._generation != proxier.generation:
            self._refresh()
        protocol, source, source_port, destination, port, hook = packet
        place = (destination, protocol, port)
        door = self._doors.get(place)
        if door is None:
            passed = self._passed.get(place)
            if passed is None and (wanted := proxier.wanted(place)) is not None:
                door = self._doors[place] = _Door(wanted, proxier.contents.membership(place))
            else:
                return self._pass(packet, passed, now_ns)
        if hook is _OUTPUT:
            source = self._source(packet)
        view = self._view(source, protocol, port, hook)
        if door.guarded:
            view |= self._guard(source, place) << 5
        before = door.before.get(view)
        if before is None:
            before = door.before[view] = self._say(packet, door.wanted, view, now_ns)
        if before.verdict is not None:
            return Decision(before.verdict, destination, port, before.masquerade, 0, 0, before.rules)
        service = door.service
        if service is None:
            service = door.service = proxier.service(place, door.wanted, now_ns)
        flow = proxier.table.connect(service, source, source_port, now_ns)
        if flow is None:
            return Decision(Verdict.REJECT, destination, port, False, 0, 0, before.rules)
        if flow is Dropped.SILENTLY:
            return Decision(Verdict.DROP, destination, port, False, 0, 0, before.rules)
        server = flow.server
        hairpin = source == server.address and self._loops_back(door.wanted, server.address, server.port)
        after_key = (before.mark, hairpin, place if door.balancer and source == destination else None)
        after = self._after.get(after_key)
        if after is None:
            after = self._after[after_key] = self._walk_after(packet, flow, before.mark, now_ns)[0]
        endpoints = len(service.servers)
        decision = Decision(
            after.verdict if after.verdict is not None else _DNAT, server.address, server.port, after.masquerade, 0, 0,
            before.rules + after.rules, flow, endpoints,
        )
        latest = door.latest
        if latest is None or latest[0] is not after or latest[1].endpoints != endpoints:
            door.latest = after, decision
        else:
            decision.cost_ns = latest[1].cost_ns
        return decision

    def _pass(self, packet: Packet, passed: dict[int, Decision] | None, now_ns: int) -> Decision:
        """What is no virtual server's goes all the way by the rules; `passed` are the decisions for its destination by view."""
        protocol, source, _, destination, port, hook = packet
        if hook is _OUTPUT:
            source = self._source(packet)
        view = self._view(source, protocol, port, hook)
        if passed is None:
            passed = self._passed[(destination, protocol, port)] = {}
        decision = passed.get(view)
        if decision is None:
            before = self._say(packet, None, view, now_ns)
            verdict = before.verdict if before.verdict is not None else Verdict.NO_MATCH
            decision = passed[view] = Decision(verdict, destination, port, before.masquerade, 0, 0, before.rules)
        return decision

    def _source(self, packet: Packet) -> int:
        """The source of a packet of the node: a virtual address answers to itself."""
        destination = packet.destination
        contents = self.proxier.contents
        if packet.hook is _OUTPUT and destination in contents.bound and destination not in self.proxier.node_addresses:
            return destination
        return packet.source

    def _view(self, source: int, protocol: int, port: int, hook: Hook) -> int:
        """What the rules ask about a packet's source, and the hook, as bits."""
        view = self._views.get(source)
        if view is None:
            view = self._look(source, protocol, port)
        return view | 1 if hook is _OUTPUT else view

    def _look(self, source: int, protocol: int, port: int) -> int:
        """The view without the hook; kept where it is the same for all packets of the source."""
        view = 0
        shift, value = self._pods
        if source >> shift == value:
            view |= 2
        shift, value = self._loopback
        if source >> shift == value:
            view |= 4 | 8
        contents = self.proxier.contents
        if source in contents.bound:
            view |= 8
            if contents.membership((source, protocol, port)) & _CLUSTER:
                view |= 16
            return view
        if source in self._own:
            view |= 8
        self._views[source] = view
        return view

    def _say(self, packet: Packet, wanted: VirtualServer | None, view: int, now_ns: int) -> _Before:
        """What the rules before IPVS say, remembered by all that they ask."""
        key = self._class(packet, wanted, view)
        before = self._before.get(key)
        if before is None:
            before = self._before[key] = self._walk_before(packet, wanted, now_ns)[0]
        return before

    def _class(self, packet: Packet, wanted: VirtualServer | None, view: int) -> tuple[object, ...]:
        """All that the rules before IPVS ask about a packet."""
        protocol, destination, port = packet.protocol, packet.destination, packet.destination_port
        proxier = self.proxier
        contents = proxier.contents
        if wanted is None and not self.is_local(destination):
            return (view,)
        node_port = contents.destinations.get((0, protocol, port))
        return (
            view,
            wanted is None,
            contents.membership((destination, protocol, port)),
            protocol,
            0 if node_port is None else 1 + node_port.policy_local,
            destination in proxier.node_port_addresses,
            destination in contents.bound and destination not in proxier.node_addresses,
            port in contents.health_checks,
        )

    def _guard(self, source: int, destination: Destination) -> int:
        """1 if a balancer's source ranges hold the source, 2 if only the balancer itself is allowed, 0 if neither."""
        allowed = 0
        for claim in self.proxier.contents.claims(destination):
            if any(source in block for block in claim.source_ranges):
                return 1
            if claim.source_ranges and claim.allow_from_node and source == claim.address:
                allowed = 2
        return allowed

    def _loops_back(self, wanted: VirtualServer, address: int, port: int) -> bool:
        """Whether KUBE-LOOP-BACK has this real server."""
        programme = self.proxier.contents.programmes[wanted.owner]
        return programme.is_local(address, port, self.proxier.settings.node_name)

    # ---- the way rule by rule ----------------------------------------------------------------------------------------

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same by examining the rules, with the way."""
        proxier = self.proxier
        if self._generation != proxier.generation:
            self._refresh()
        protocol, _, source_port, destination, port, _ = packet
        wanted = proxier.wanted((destination, protocol, port))
        before, steps = self._walk_before(packet, wanted, now_ns)
        if before.verdict is not None or wanted is None:
            verdict = before.verdict if before.verdict is not None else Verdict.NO_MATCH
            return Decision(verdict, destination, port, before.masquerade, 0, 0, before.rules), steps
        service = proxier.service((destination, protocol, port), wanted, now_ns)
        flow = proxier.table.connect(service, self._source(packet), source_port, now_ns)
        name = format_endpoint(destination, port)
        if not isinstance(flow, IpvsConnection):
            verdict, effect = (Verdict.REJECT, "no server: ICMP port unreachable")
            if flow is Dropped.SILENTLY:
                verdict, effect = (Verdict.DROP, "the flow's server was deleted: dropped")
            steps.append(Step("ipvs", service.scheduler_name, name, True, effect))
            return Decision(verdict, destination, port, False, 0, 0, before.rules), steps
        server = flow.server
        effect = f"to {format_endpoint(server.address, server.port)}"
        steps.append(Step("ipvs", service.scheduler_name, name, True, effect))
        after, more = self._walk_after(packet, flow, before.mark, now_ns)
        verdict = after.verdict if after.verdict is not None else Verdict.DNAT
        rules = before.rules + after.rules
        decision = Decision(verdict, server.address, server.port, after.masquerade, 0, 0, rules, flow, len(service.servers))
        return decision, steps + more

    def _start(self, packet: Packet, now_ns: int) -> Walk:
        return Walk(
            self._kernel, self._rules, packet.protocol, self._source(packet), packet.destination, packet.destination_port,
            now_ns, 0.0,
        )

    def _walk_before(
        self, packet: Packet, wanted: VirtualServer | None, now_ns: int
    ) -> tuple[_Before, list[Step]]:
        """Up to IPVS; for what is no virtual server's, all the way."""
        way = self._start(packet, now_ns)
        output = packet.hook is _OUTPUT
        local = self.is_local(packet.destination)
        hooks = [("nat", "OUTPUT")] if output else [("nat", "PREROUTING")]
        if wanted is None:
            if output:
                hooks += [("filter", "OUTPUT"), ("nat", "POSTROUTING")]
            hooks += [("filter", "INPUT")] if local else [] if output else [("filter", "FORWARD"), ("nat", "POSTROUTING")]
        elif not output:
            hooks.append(("filter", "INPUT"))
        verdict = _through(way, hooks)
        return _Before(verdict, way.mark, way.masquerade, way.rules), way.steps

    def _walk_after(
        self, packet: Packet, flow: IpvsConnection, mark: int, now_ns: int
    ) -> tuple[_After, list[Step]]:
        """From IPVS on, which has rewritten the destination."""
        way = self._start(packet, now_ns)
        way.mark = mark
        way.virtual = (packet.destination, packet.destination_port)
        way.destination, way.port, way.rewritten = flow.server.address, flow.server.port, True
        verdict = _through(way, [("filter", "OUTPUT"), ("nat", "POSTROUTING")])
        return _After(verdict, way.masquerade, way.rules), way.steps

    def _in_set(self, walk: Walk, name: str, fields: str) -> bool:
        """Whether an ipset holds the packet's fields, asked of what the sets are made from."""
        contents = self.proxier.contents
        ipset = self._names[name]
        membership = _MEMBERSHIP_OF.get(ipset)
        address = walk.source if fields.startswith("src") else walk.destination
        destination = (address, walk.protocol, walk.port)
        if membership is not None:
            return bool(membership & contents.membership(destination))
        if ipset == sets.LOAD_BALANCER_SOURCE_CIDR.name:
            return any(walk.source in block for claim in contents.claims(destination) for block in claim.source_ranges)
        if ipset == sets.LOAD_BALANCER_SOURCE_IP.name:
            return any(
                claim.source_ranges and claim.allow_from_node and walk.source == address
                for claim in contents.claims(destination)
            )
        if ipset in _NODE_PORT_NAMES:
            protocol, local_only = _NODE_PORT_NAMES[ipset]
            server = contents.destinations.get((0, protocol, walk.port))
            if server is None or protocol != walk.protocol or (local_only and not server.policy_local):
                return False
            return protocol != SCTP or address in self.proxier.node_port_addresses
        if ipset == sets.HEALTH_CHECK_NODE_PORT.name:
            return walk.port in contents.health_checks
        if ipset == sets.IPVS_IPS.name:
            return address in contents.bound and address not in self.proxier.node_addresses
        return walk.source == walk.destination and self._is_looped(walk)

    def _is_looped(self, walk: Walk) -> bool:
        """Whether KUBE-LOOP-BACK has the real server that IPVS chose."""
        if walk.virtual is None:
            return False
        wanted = self.proxier.wanted((walk.virtual[0], walk.protocol, walk.virtual[1]))
        return wanted is not None and self._loops_back(wanted, walk.destination, walk.port)


def _through(way: Walk, hooks: list[tuple[str, str]]) -> Verdict | None:
    for table, chain in hooks:
        verdict = way.hook(table, chain)
        if verdict is not None:
            return verdict
    return None


def _compared(block: Prefix) -> tuple[int, int]:
    """Shift and value by which an address is seen to lie in a block: `address >> shift == value`."""
    shift = block.bits - block.length
    return shift, block.base >> shift
