"""A packet through what a user brought from a node: all outcomes with their probabilities, and the way of each.

The packet is the first of a connection, which conntrack does not know. What a dump does not say is taken so, or asked: the node's
own addresses are those given, loopback, those of IPVS's virtual services and those that rules name as the node's; nobody is in
an affinity list of iptables yet. Source: `svcsim.linux.netfilter.walk`, `svcsim.linux.nftables.walk`; Linux
net/netfilter/ipvs/ip_vs_core.c (`ip_vs_ops4`) for the place of IPVS between INPUT, or OUTPUT, and what it sends on.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from svcsim.errors import UsageError
from svcsim.linux.address import format_address, format_endpoint, is_ipv6
from svcsim.linux.dump import Dump, IPFamily
from svcsim.linux.exploring import Assume, Outcome, Possibilities, Trial, explore, is_named
from svcsim.linux.ipvs.saved import SavedServer, SavedService
from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import (
    AddressType,
    Destination,
    InInterface,
    Jump,
    Match,
    OutInterface,
    Table,
    UnknownMatch,
)
from svcsim.linux.netfilter.text import match_text
from svcsim.linux.netfilter.walk import KernelState, NotKnownError, Walk, traverse, walk_of, words_of
from svcsim.linux.nftables import walk as nft
from svcsim.linux.nftables.dump import TableDump
from svcsim.linux.packet import Hook, Packet, Step, Verdict

BY_TURN = ("rr", "wrr")
"""Schedulers of IPVS that share connections out by weight, whoever asks; others choose by who asks, or by what is under way."""

SERVICE_CHAINS = frozenset({
    ("nat", name)
    for name in (
        "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", "KUBE-NODEPORT-CONTAINER",
        "KUBE-NODEPORT-HOST",
    )
})
"""The linear lists of Services, in iptables and userspace mode."""


@dataclass(slots=True)
class Host:
    """What is known of a node beside its dump: its own addresses, and by which interfaces the packet comes and goes."""

    addresses: frozenset[int] = frozenset()
    comes_by: str = ""
    leaves_by: str = ""
    from_dump: frozenset[int] = frozenset()

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and (
            address in self.addresses or address in self.from_dump or address >> 24 == 127 or address == (1 << 128) | 1
        )

    def interface(self, side: str, name: str, assume: Assume) -> bool:
        """Whether the packet comes in (`i`) or leaves (`o`) by an interface, asked if it isn't known."""
        known = self.comes_by if side == "i" else self.leaves_by
        if known:
            return is_named(known, name)
        return assume("it comes in by" if side == "i" else "it leaves by", name)


@dataclass(frozen=True, slots=True)
class PacketWalk:
    """What a dump does with a packet: all possibilities. `scheduler` is that of IPVS where it chooses."""

    packet: Packet
    possibilities: Possibilities
    scheduler: str = ""

    @property
    def shares_known(self) -> bool:
        """Whether the probabilities of the endpoints are known."""
        return not self.scheduler or self.scheduler in BY_TURN


def own_addresses(dump: Dump) -> frozenset[int]:
    """Addresses that the dump itself shows to be the node's: of virtual services, of kube-ipvs0, where node ports answer."""
    found = {service.address for service in dump.services.values() if not service.fwmark}
    for ipset in dump.sets.values():
        if ipset.name.startswith(("KUBE-IPVS-IPS", "KUBE-6-IPVS-IPS")):
            found.update(element.fields[0].base for element in ipset.elements if element.fields)  # type: ignore[union-attr]
    for tables in dump.iptables.values():
        for rule in tables["nat"].chains.get("KUBE-SERVICES", ()) if "nat" in tables else ():
            if rule.target == Jump("KUBE-NODEPORTS"):
                found.update(
                    match.block.base for match in rule.matches
                    if isinstance(match, Destination) and not match.negated and match.block.length == match.block.bits
                )
    for table in dump.tables:
        found.update(key[0] for key in table.elements.get("nodeport-ips", {}))
    return frozenset(found)


def walk_packet(dump: Dump, packet: Packet, host: Host) -> PacketWalk:
    """All that can become of a packet; UsageError if the dump has no rules for its family, or both kinds of rules."""
    family: IPFamily = "IPv6" if is_ipv6(packet.destination) else "IPv4"
    tables = [table for table in dump.tables if table.table_family in ("inet", "ip6" if family == "IPv6" else "ip")]
    ruleset = dump.iptables.get(family)
    if ruleset is not None and tables:
        raise UsageError(
            "there are rules of iptables and of nftables: bring one of the two for a packet (iptables-nft's rules are in both)"
        )
    if ruleset is not None:
        return _Iptables(dump, ruleset, packet, host).explored()
    if tables:
        return PacketWalk(packet, explore(lambda uniform, assume: _nft_trial(tables, packet, host, uniform, assume)))
    if dump.services:
        return _Iptables(dump, {}, packet, host).explored()
    raise UsageError(f"there are no rules for {family} packets in what was read")


# ---- nftables ------------------------------------------------------------------------------------------------------------


def _nft_trial(tables: list[TableDump], packet: Packet, host: Host, uniform: float, assume: Assume) -> Trial:
    def answered(subject: str, value: str) -> bool:
        if subject.startswith("it "):
            return host.interface("i" if subject == "it comes in by" else "o", value, assume)
        return assume(subject, value)

    way = nft.way_of([table.fresh() for table in tables], host, packet, uniform, 0, answered)
    try:
        verdict: Verdict | None = way.fate()
        why = ""
    except nft.NotKnownError as error:
        verdict, why = None, str(error)
    gets_through = verdict in (Verdict.DNAT, Verdict.NO_MATCH)
    masquerade = way.masqueraded and gets_through
    destination, port = (way.destination, way.port) if way.translated else (packet.destination, packet.destination_port)
    if verdict in (Verdict.DROP, Verdict.REJECT):
        destination, port = packet.destination, packet.destination_port
        why = _last(way.steps)
    outcome = Outcome(verdict, destination, port, masquerade, way.source_after if gets_through else None, why)
    steps = tuple(way.steps)
    listed = sum(step.chain == "services" for step in steps)
    return Trial(outcome, way.passed, way.below, steps, listed, 0, len(steps), way.endpoints)


# ---- iptables, with IPVS -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Iptables:
    """One packet through iptables tables and, where it is for a virtual service, IPVS."""

    dump: Dump
    ruleset: dict[str, Table]
    packet: Packet
    host: Host
    scheduler: str = field(default="", init=False)

    def explored(self) -> PacketWalk:
        possibilities = explore(self.trial)
        return PacketWalk(self.packet, possibilities, self.scheduler)

    def trial(self, uniform: float, assume: Assume) -> Trial:
        packet = self.packet
        service = self.dump.services.get((0, packet.protocol, packet.destination, packet.destination_port))
        way = walk_of(self.ruleset, self.kernel(assume), packet, uniform, 0)
        try:
            verdict = traverse(way, packet.hook) if service is None else self.by_ipvs(way, service, uniform, assume)
        except NotKnownError as error:
            why = f"{error.table} {error.chain}: {words_of(error.rule)}"
            return _trial(way, Outcome(None, way.destination, way.port, way.masquerade, way.source_after, why))
        if verdict in (Verdict.DROP, Verdict.REJECT):
            return _trial(way, Outcome(verdict, packet.destination, packet.destination_port, why=_last(way.steps)))
        verdict = Verdict.DNAT if way.rewritten else Verdict.NO_MATCH
        return _trial(way, Outcome(verdict, way.destination, way.port, way.masquerade, way.source_after))

    def by_ipvs(self, way: Walk, service: SavedService, uniform: float, assume: Assume) -> Verdict | None:
        """The rules before IPVS, the choice of a real server, and the rules after it.

        IPVS comes before nat INPUT; of what it sends on the destination has been settled, so nat OUTPUT is passed over.
        """
        packet = self.packet
        output = packet.hook is Hook.OUTPUT
        verdict = way.through("OUTPUT") if output else way.through("PREROUTING")
        if verdict is None and not output and not way.rewritten:
            verdict = way.through("INPUT", without="nat")
        if verdict is not None or way.rewritten:
            return verdict
        name = format_endpoint(packet.destination, packet.destination_port)
        server = self.chosen(way, service, uniform)
        if server is None:
            way.steps.append(Step("ipvs", service.scheduler, name, True, "no server: ICMP port unreachable"))
            return Verdict.REJECT
        effect = f"to {format_endpoint(server.address, server.port)}"
        if server.forwarding != "masquerade":
            effect += f" by {server.forwarding}, its address unchanged"
        way.steps.append(Step("ipvs", service.scheduler, name, True, effect))
        way.endpoints = len(service.servers)
        way.virtual = (packet.destination, packet.destination_port)
        way.destination, way.port, way.rewritten = server.address, server.port, True
        verdict = way.through("OUTPUT", without="nat")
        return verdict if verdict is not None else way.through("POSTROUTING")

    def chosen(self, way: Walk, service: SavedService, uniform: float) -> SavedServer | None:
        """A server by weight; schedulers without weights, and those that look at other things, have equal shares here."""
        self.scheduler = service.scheduler
        servers = [server for server in service.servers if server.weight > 0]
        if not servers:
            return None
        weighted = service.scheduler != "rr"
        total = sum(server.weight for server in servers) if weighted else len(servers)
        done = 0
        for server in servers:
            done += server.weight if weighted else 1
            bound = done / total if done < total else 1.0
            if uniform < bound:
                # Rules after IPVS draw within the share of this server.
                way.below = bound
                return server
            way.passed = bound
        return None

    def kernel(self, assume: Assume) -> KernelState:
        def holds(match: Match) -> bool:
            match match:
                case InInterface(name, negated):
                    return self.host.interface("i", name, assume) != negated
                case OutInterface(name, negated):
                    return self.host.interface("o", name, assume) != negated
                case UnknownMatch(text):
                    return assume("", text)
                case AddressType(side, kind, negated):
                    return assume("", f"-m addrtype --{side}-type {kind}") != negated
            return assume("", match_text(match))

        return KernelState(
            self.host.__contains__, RecentState(), SERVICE_CHAINS, _sets_of(self.dump, assume), self.redirected(), holds
        )

    def redirected(self) -> int:
        """The address of a REDIRECT: loopback for the node's own packets, else one of the node's."""
        if self.packet.hook is Hook.OUTPUT:
            return (1 << 128) | 1 if is_ipv6(self.packet.destination) else 0x7F000001
        own = sorted(each for each in self.host.addresses if is_ipv6(each) == is_ipv6(self.packet.destination))
        return own[0] if own else self.packet.destination


def _sets_of(dump: Dump, assume: Assume) -> Callable[[Walk, str, str], bool]:
    def holds(way: Walk, name: str, fields: str) -> bool:
        ipset = dump.sets.get(name)
        if ipset is None or not ipset.understood:
            return assume("", f"-m set --match-set {name} {fields}")
        asked: list[int | tuple[int, int]] = []
        sides = fields.split(",")
        for kind, side in zip(ipset.kinds, sides, strict=False):
            if kind == "port":
                asked.append((way.protocol, way.source_port if side == "src" else way.port))
            else:
                asked.append(way.source if side == "src" else way.destination)
        return ipset.holds(tuple(asked))

    return holds


def _trial(way: Walk, outcome: Outcome) -> Trial:
    return Trial(
        outcome, way.passed, way.below, tuple(way.steps), way.service_rules, way.statistic_rules, way.rules, way.endpoints
    )


def _last(steps: list[Step]) -> str:
    """The rule that decided: the last one that matched."""
    for step in reversed(steps):
        if step.matched:
            return f"{step.table} {step.chain}: {step.rule}"
    return ""


def taken_as_foreign(packet: Packet, host: Host) -> Iterator[str]:
    """Addresses of the packet that are taken as none of the node's, since nothing says that they are."""
    for address in dict.fromkeys((packet.source, packet.destination)):
        if address not in host:
            yield format_address(address)


def hook_of(source: int, host: Container[int]) -> Hook:
    """Where a packet of that source enters: the node's own come from a process."""
    return Hook.OUTPUT if source in host else Hook.PREROUTING
