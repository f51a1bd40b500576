"""A node's nftables table at work: the way of a first packet by the rules, and the same outcome by a compiled table.

`walk` examines the rules. `decide` knows the layout of kube-proxy's table: which hooks a packet passes, how many rules stand in
each chain of the base, which map leads on; behind a map it follows the compiled chain. Both read and write the same affinity
sets, and a property test holds them equal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from svcsim.kubeproxy.nftables_base import TABLE_COMMENT, BaseTable
from svcsim.kubeproxy.nftables_contents import Contents
from svcsim.kubeproxy.nftables_names import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    NODEPORT_IPS,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    SERVICES,
    TABLE,
)
from svcsim.kubeproxy.nftables_programme import Entry
from svcsim.kubeproxy.settings import LOOPBACK
from svcsim.linux.nftables import text
from svcsim.linux.nftables.dynamic import DynamicSet
from svcsim.linux.nftables.ruleset import Chain, Element, Family, HookName, Key, Ruleset, SetDeclaration
from svcsim.linux.nftables.specialise import (
    DESTINATION_IN_PREFIXES,
    DNAT,
    GOTO,
    MARK,
    RANDOM,
    SOURCE_IN_PREFIX,
    SOURCE_IN_SET,
    SOURCE_LOCAL,
    prefix_compare,
)
from svcsim.linux.nftables.walk import walk
from svcsim.linux.packet import Decision, Hook, Packet, Step, Verdict

_OUTPUT = Hook.OUTPUT
_SECOND_NS = 1_000_000_000
_FILTER_RULES = 2
"""Rules before translation: the jump in filter-prerouting-pre-dnat or filter-output-pre-dnat, the look-up in firewall-check."""


class NftablesTable:
    """kube-proxy's table of one family on one node; implements `svcsim.linux.packet.FirstPacketPath`.

    `local_addresses` are those that the kernel delivers on the node, loopback included where packets may go there;
    `nodeport_ips` the elements of that set. `stale_chains` are out of use and empty, each since a time in ns.
    """

    def __init__(
        self, base: BaseTable, contents: Contents, local_addresses: Collection[int], nodeport_ips: Collection[int]
    ) -> None:
        self.base = base
        self.local_addresses = frozenset(local_addresses)
        self.nodeport_ips = tuple(dict.fromkeys(nodeport_ips))
        self.dynamic_sets: dict[str, DynamicSet] = {}
        self.stale_chains: dict[str, int] = {}
        loopback = LOOPBACK["IPv6" if base.family == "ip6" else "IPv4"]
        own = (address for address in self.local_addresses if address not in loopback)
        self._nodeport_addresses = frozenset(own if base.matches_all else nodeport_ips)
        self._cidrs = tuple(prefix_compare(block) for block in base.service_cidrs)
        self._masquerading = len(base.chains["masquerading"].rules)
        self.use(contents)

    def use(self, contents: Contents) -> None:
        """Work from these contents from now on."""
        self.contents = contents
        maps = contents.maps
        self._service_ips = maps[SERVICE_IPS]
        self._service_nodeports = maps[SERVICE_NODEPORTS]
        self._no_endpoint_services = maps[NO_ENDPOINT_SERVICES]
        self._no_endpoint_nodeports = maps[NO_ENDPOINT_NODEPORTS]
        self._firewall_ips = maps[FIREWALL_IPS]
        self._cluster_ips = maps[CLUSTER_IPS]

    def keep_sets(self, removed: Collection[str], kept: dict[str, SetDeclaration]) -> None:
        """Forget affinity sets that a sync deletes; those that it keeps take over its time-out for new entries."""
        if not self.dynamic_sets:
            return
        for name in removed:
            self.dynamic_sets.pop(name, None)
        for name, declaration in kept.items():
            if name in self.dynamic_sets:
                self.dynamic_sets[name].timeout_ns = (declaration.timeout_s or 0) * _SECOND_NS

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """The outcome of a first packet; `uniform` in [0, 1) chooses the endpoint."""
        protocol, source, _, destination, port, hook = packet
        masquerade = translated = False
        endpoints = 0
        rules = _FILTER_RULES
        key = (destination, protocol, port)
        if self._firewall_ips and (guard := self._firewall_ips.get(key)) is not None:
            rules += 1
            if self._is_refused(guard, source):
                return Decision(Verdict.DROP, destination, port, rules=rules)
        entry = self._service_ips.get(key)
        service_rules = 1
        if entry is None:
            service_rules = 2
            if destination in self._nodeport_addresses:
                entry = self._service_nodeports.get((protocol, port))
        rules += 1 + service_rules
        residue = None if entry is None else entry.residue or entry.compile(self.base.chains)
        while residue is not None:
            for examined, test, operand, wanted, action, argument in residue.steps:
                rules += examined
                if test:
                    if test == SOURCE_IN_PREFIX:
                        holds = source >> operand[0] == operand[1]
                    else:
                        holds = self._holds(test, operand, source, destination, now_ns)
                    if holds is not wanted:
                        continue
                if action == MARK:
                    masquerade = True
                    rules += argument
                elif action == RANDOM:
                    endpoints = residue.choices
                    residue = argument[int(uniform * len(argument))]
                    break
                elif action == DNAT:
                    destination, port = argument
                    translated = True
                    residue = None
                    break
                elif action == GOTO:
                    endpoints = residue.choices or endpoints
                    residue = argument
                    break
                else:
                    rules += self._remember(argument, source, now_ns)
            else:
                rules += residue.tail
                residue = None

        local = destination in self.local_addresses
        if local and hook is not _OUTPUT:
            return self._delivered(packet, destination, port, translated, False, service_rules, rules, endpoints)
        if self._no_endpoint_services:
            refusing = self._no_endpoint_services.get((destination, protocol, port))
            if refusing is not None:
                return _refused(refusing, packet, service_rules, rules + 2, endpoints)
        rules += 4
        if (destination,) in self._cluster_ips:
            return Decision(
                Verdict.REJECT, packet.destination, packet.destination_port, False, service_rules, 0, rules, None, endpoints
            )
        for shift, value in self._cidrs:
            if destination >> shift == value:
                rules += 1
                return Decision(
                    Verdict.DROP, packet.destination, packet.destination_port, False, service_rules, 0, rules, None, endpoints
                )
        rules += 3 if self._cidrs else 2
        if masquerade:
            rules += self._masquerading - 1
        if local:
            rules += _FILTER_RULES
            if self._firewall_ips and (guard := self._firewall_ips.get((destination, protocol, port))) is not None:
                rules += 1
                if self._is_refused(guard, source):
                    return Decision(
                        Verdict.DROP, packet.destination, packet.destination_port, False, service_rules, 0, rules, None, endpoints
                    )
            return self._delivered(packet, destination, port, translated, masquerade, service_rules, rules, endpoints)
        verdict = Verdict.DNAT if translated else Verdict.NO_MATCH
        return Decision(verdict, destination, port, masquerade, service_rules, 0, rules, None, endpoints)

    def _is_refused(self, guard: Entry, source: int) -> bool:
        """Whether a balancer's firewall chain, which is one rule, drops this source."""
        residue = guard.residue or guard.compile(self.base.chains)
        _, test, operand, wanted, _, _ = residue.steps[0]
        return self._holds(test, operand, source, 0, 0) is wanted

    def _holds(self, test: int, operand: Any, source: int, destination: int, now_ns: int) -> bool:
        """Whether a compiled test holds."""
        if test == SOURCE_IN_SET:
            remembered = self.dynamic_sets.get(operand)
            return remembered is not None and remembered.expiry_ns.get(source, -1) > now_ns
        if test == SOURCE_LOCAL:
            return source in self.local_addresses
        address = destination if test == DESTINATION_IN_PREFIXES else source
        compared = (operand,) if test == SOURCE_IN_PREFIX else operand
        return any(address >> shift == value for shift, value in compared)

    def _remember(self, argument: tuple[str, int], source: int, now_ns: int) -> int:
        """Put the client into an affinity set; no further rule is examined by that."""
        name, timeout_ns = argument
        remembered = self.dynamic_sets.get(name)
        if remembered is None:
            remembered = self.dynamic_sets[name] = DynamicSet(timeout_ns)
        remembered.update(source, now_ns)
        return 0

    def _delivered(
        self,
        packet: Packet,
        destination: int,
        port: int,
        translated: bool,
        masquerade: bool,
        service_rules: int,
        rules: int,
        endpoints: int,
    ) -> Decision:
        """Hook input: what the node itself is to receive may still be refused. Only its own packets were masqueraded before."""
        rules += 2
        if destination in self._nodeport_addresses:
            refusing = self._no_endpoint_nodeports.get((packet.protocol, port))
            if refusing is not None:
                return _refused(refusing, packet, service_rules, rules, endpoints)
        rules += 2
        refusing = self._no_endpoint_services.get((destination, packet.protocol, port))
        if refusing is not None:
            return _refused(refusing, packet, service_rules, rules, endpoints)
        verdict = Verdict.DNAT if translated else Verdict.NO_MATCH
        return Decision(verdict, destination, port, masquerade, service_rules, 0, rules, None, endpoints)

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same by examining the rules, with the way."""
        return walk(self, self.local_addresses, packet, uniform, now_ns, SERVICES)

    @property
    def family(self) -> Family:
        """The table's address family."""
        return self.base.family

    @property
    def name(self) -> str:
        """The table's name."""
        return TABLE

    def at_hook(self, hook: HookName) -> list[Chain]:
        """Base chains of a hook, by priority."""
        return self.base.hooks[hook]

    def chain(self, name: str, within: Element | None) -> Chain:
        """A chain of the base, or one of the port whose element the packet met."""
        if within is not None:
            entry = self.contents.maps[within.set_name][within.key]
            if name in entry.chains:
                return entry.chains[name]
        return self.base.chains[name]

    def declaration(self, set_name: str) -> SetDeclaration:
        """A set or map of the base by name."""
        return self.base.sets[set_name]

    def element(self, set_name: str, key: Key) -> Element | None:
        """The element of a set or map with this key."""
        if set_name == NODEPORT_IPS:
            return Element(NODEPORT_IPS, key) if key[0] in self.nodeport_ips else None
        entry = self.contents.maps[set_name].get(key)
        return entry.element if entry is not None else None

    def dynamic(self, set_name: str, within: Element | None) -> DynamicSet | None:
        """The clients that an affinity set remembers."""
        if set_name not in self.dynamic_sets and within is not None:
            declaration = self.contents.maps[within.set_name][within.key].sets.get(set_name)
            if declaration is not None:
                self.dynamic_sets[set_name] = DynamicSet((declaration.timeout_s or 0) * _SECOND_NS)
        return self.dynamic_sets.get(set_name)

    def ruleset(self) -> Ruleset:
        """The whole table, Service ports in order of their names; chains that await deletion are empty."""
        base = self.base
        ruleset = Ruleset(base.family, TABLE, TABLE_COMMENT, dict(base.sets), dict(base.chains))
        for address in self.nodeport_ips if NODEPORT_IPS in base.sets else ():
            ruleset.add_element(Element(NODEPORT_IPS, (address,)))
        for _, programme in sorted(self.contents.programmes.items()):
            ruleset.sets.update(programme.sets)
            ruleset.chains.update(programme.chains)
            for entry in programme.entries:
                standing = self.contents.maps[entry.element.set_name][entry.element.key]
                ruleset.add_element(standing.element)
        for name in self.stale_chains:
            ruleset.chains[name] = Chain(name)
        return ruleset

    def text(self) -> str:
        """The table as `nft -f` takes it."""
        return text.render(self.ruleset())


def _refused(entry: Entry, packet: Packet, service_rules: int, rules: int, endpoints: int) -> Decision:
    """A look-up in a no-endpoint map has hit: drop, or the one rule of the rejecting chain."""
    verdict = entry.element.verdict
    dropped = verdict is not None and verdict.kind == "drop"
    return Decision(
        Verdict.DROP if dropped else Verdict.REJECT,
        packet.destination,
        packet.destination_port,
        False,
        service_rules,
        0,
        rules if dropped else rules + 1,
        endpoints=endpoints,
    )
