"""The way of a first packet through an nftables table, rule by rule.

Hooks run in the order of the kernel: prerouting, then (by routing) input or forward, then postrouting; or output, postrouting for
a packet of the node itself, and prerouting and input once more if it is addressed to the node. Within a hook base chains run by
priority. Verdicts (nft(8)): `drop` and `reject` end everything; `goto` does not come back; `return` and a chain's end go on in
the chain that jumped; the end of a base chain accepts. A translation ends its nat base chain (kernel
net/netfilter/nf_tables_core.c `nft_do_chain`, nf_nat_core.c `nf_nat_inet_fn`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from svcsim.linux.address import format_endpoint, is_ipv6
from svcsim.linux.exploring import Assume
from svcsim.linux.nftables.dynamic import DynamicSet
from svcsim.linux.nftables.rule_text import expression_text, key_text, rule_text, verdict_text
from svcsim.linux.nftables.ruleset import (
    AddressMatch,
    Chain,
    DnatStatement,
    DnatStatusMatch,
    Element,
    Expression,
    Family,
    FamilyMatch,
    HookName,
    InterfaceMatch,
    Key,
    LocalMatch,
    MapVerdict,
    MarkClearMatch,
    MarkMatch,
    MarkStatement,
    MasqueradeStatement,
    PortMatch,
    PortsMatch,
    ProtocolMatch,
    ProtocolsMatch,
    RandomMatch,
    RandomVerdict,
    RedirectStatement,
    Rule,
    Ruleset,
    SetDeclaration,
    SetMatch,
    SnatStatement,
    StateMatch,
    StateNewMatch,
    UnknownExpression,
    UnknownStatement,
    UpdateStatement,
    Verdict,
)
from svcsim.linux.packet import Decision, Hook, Packet, Step
from svcsim.linux.packet import Verdict as Fate


class TableView(Protocol):
    """A table as a walk looks into it."""

    @property
    def family(self) -> Family:
        """The table's address family."""

    @property
    def name(self) -> str:
        """The table's name."""

    def at_hook(self, hook: HookName) -> list[Chain]:
        """Base chains of a hook, by priority."""

    def chain(self, name: str, within: Element | None) -> Chain:
        """A chain by name; `within` is the map element by which the walk came here."""

    def declaration(self, set_name: str) -> SetDeclaration:
        """A set or map by name."""

    def element(self, set_name: str, key: Key) -> Element | None:
        """The element of a set or map with this key."""

    def dynamic(self, set_name: str, within: Element | None) -> DynamicSet | None:
        """The elements of a dynamic set; None if the set is not dynamic."""


@dataclass(frozen=True, slots=True)
class RulesetView:
    """A whole ruleset as a walk looks into it, and the elements that packets have put into its dynamic sets."""

    ruleset: Ruleset
    dynamic_sets: dict[str, DynamicSet] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        """The table's address family."""
        return self.ruleset.family

    @property
    def name(self) -> str:
        """The table's name."""
        return self.ruleset.table

    def at_hook(self, hook: HookName) -> list[Chain]:
        """Base chains of a hook, by priority; equal ones in order of declaration."""
        return chains_at_hook(self.ruleset.chains, hook)

    def chain(self, name: str, within: Element | None) -> Chain:
        """A chain by name."""
        return self.ruleset.chains[name]

    def declaration(self, set_name: str) -> SetDeclaration:
        """A set or map by name."""
        return self.ruleset.sets[set_name]

    def element(self, set_name: str, key: Key) -> Element | None:
        """The element of a set or map with this key."""
        return self.ruleset.elements.get(set_name, {}).get(key)

    def dynamic(self, set_name: str, within: Element | None) -> DynamicSet | None:
        """The elements of a dynamic set; None if the set is not dynamic."""
        declaration = self.ruleset.sets[set_name]
        if declaration.dynamic and set_name not in self.dynamic_sets:
            self.dynamic_sets[set_name] = DynamicSet((declaration.timeout_s or 0) * 1_000_000_000)
        return self.dynamic_sets.get(set_name)


def chains_at_hook(chains: Mapping[str, Chain], hook: HookName) -> list[Chain]:
    """The base chains among `chains` that are at a hook, by priority."""
    found = [(chain.base.priority, chain) for chain in chains.values() if chain.base is not None and chain.base.hook == hook]
    return [chain for _, chain in sorted(found, key=lambda pair: pair[0])]


class NotKnownError(Exception):
    """A packet has come to a statement whose effect svcsim does not know: nothing can be said of what follows."""

    def __init__(self, table: str, chain: str, rule: Rule, text: str) -> None:
        super().__init__(f"{table} {chain}: {text}")
        self.rule = rule


def _holds(subject: str, value: str) -> bool:
    return True


def walk(
    view: TableView,
    local_addresses: Container[int],
    packet: Packet,
    uniform: float,
    now_ns: int,
    service_chain: str = "services",
) -> tuple[Decision, list[Step]]:
    """What happens to the first packet of a connection, and each rule examined.

    `service_rules` counts the rules examined in `service_chain`. Dynamic sets are changed as the kernel would.
    """
    way = way_of((view,), local_addresses, packet, uniform, now_ns)
    fate = way.fate()
    destination, port = packet.destination, packet.destination_port
    if fate is Fate.DNAT:
        destination, port = way.destination, way.port
    decision = Decision(
        fate,
        destination,
        port,
        masquerade=way.masqueraded and fate in (Fate.DNAT, Fate.NO_MATCH),
        service_rules=sum(step.chain == service_chain for step in way.steps),
        rules=len(way.steps),
        endpoints=way.endpoints,
    )
    return decision, way.steps


def way_of(
    views: Sequence[TableView], local_addresses: Container[int], packet: Packet, uniform: float, now_ns: int,
    assume: Assume = _holds,
) -> Way:
    """A walk through all tables of a host that is about to begin."""
    return Way(
        views, local_addresses, packet, uniform, now_ns, packet.destination, packet.destination_port, views[0], assume=assume
    )


class _End(IntEnum):
    """How a chain ended."""

    RETURNED = 0  # the caller goes on
    ACCEPT = 1  # of this base chain: translated, or accepted
    DROP = 2
    REJECT = 3


_SIMPLE = {"return": _End.RETURNED, "accept": _End.ACCEPT, "drop": _End.DROP, "reject": _End.REJECT}
_RANDOM_ONE = 1 << 31
_SOURCE_HOOKS = ("input", "postrouting")


@dataclass(slots=True)
class Way:
    """One packet under way. `passed` and `below` bound the range of the uniform number that leads the same way.

    `endpoints` is among how many the last chain chose that did, 0 if none has.
    """

    views: Sequence[TableView]
    local_addresses: Container[int]
    packet: Packet
    uniform: float
    now_ns: int
    destination: int
    port: int
    view: TableView
    passed: float = 0.0
    below: float = 1.0
    mark: int = 0
    translated: bool = False
    masqueraded: bool = False
    source_after: tuple[int, int] | None = None
    assume: Assume = _holds
    within: Element | None = None
    endpoints: int = 0
    steps: list[Step] = field(default_factory=list)

    def fate(self) -> Fate:
        """Through all hooks; NotKnownError at a statement that is not known."""
        end = self.run()
        if end is _End.DROP or end is _End.REJECT:
            return Fate.DROP if end is _End.DROP else Fate.REJECT
        return Fate.DNAT if self.translated else Fate.NO_MATCH

    def run(self) -> _End:
        """Through all hooks, to the end of the last one."""
        if self.packet.hook is Hook.OUTPUT:
            end = self.hooks("output", "postrouting")
            if end is not _End.RETURNED or self.destination not in self.local_addresses:
                return end
            end = self.hooks("prerouting", looped=True)
        else:
            end = self.hooks("prerouting")
        if end is not _End.RETURNED:
            return end
        if self.destination in self.local_addresses:
            return self.hooks("input")
        return self.hooks("forward", "postrouting")

    def hooks(self, *names: HookName, looped: bool = False) -> _End:
        """Through hooks; what comes in by loopback has its translation already, so nat chains are passed over."""
        for name in names:
            for view, chain in self.base_chains(name):
                base = chain.base
                if base is None or (base.chain_type == "nat" and (looped or self.is_translated(name))):
                    continue
                self.within = None
                self.view = view
                end = self.run_chain(chain)
                if end in (_End.DROP, _End.REJECT):
                    return end
                if end is _End.RETURNED and base.policy == "drop":
                    self.steps.append(Step(view.name, chain.name, "the policy of the chain", True, "drop"))
                    return _End.DROP
        return _End.RETURNED

    def base_chains(self, hook: HookName) -> list[tuple[TableView, Chain]]:
        """The base chains of all tables at a hook, by priority."""
        found = [(view, chain) for view in self.views for chain in view.at_hook(hook)]
        if len(self.views) > 1:
            found.sort(key=lambda pair: pair[1].base.priority if pair[1].base is not None else 0)
        return found

    def is_translated(self, hook: HookName) -> bool:
        """Whether a nat chain has bound the address that this hook is for: later ones are passed over (nf_nat_inet_fn)."""
        return self.masqueraded or self.source_after is not None if hook in _SOURCE_HOOKS else self.translated

    def run_chain(self, chain: Chain) -> _End:
        """Rule after rule of a chain, and of those that it leads to."""
        for rule in chain.rules:
            at = len(self.steps)
            text = rule.written.text if rule.written is not None else rule_text(rule, self.view.family)
            self.steps.append(Step(self.view.name, chain.name, text, matched=False))
            verdict, effect, matched = self.run_rule(rule, chain)
            self.steps[at] = Step(self.view.name, chain.name, self.steps[at].rule, matched, effect)
            if verdict is None:
                continue
            if isinstance(verdict, _End):
                return verdict
            if verdict.kind not in ("jump", "goto"):
                return _SIMPLE[verdict.kind]
            self.endpoints = chain.choices or self.endpoints
            end = self.run_chain(self.view.chain(verdict.chain, self.within))
            if end is not _End.RETURNED or verdict.kind == "goto":
                return end
        return _End.RETURNED

    def run_rule(self, rule: Rule, chain: Chain) -> tuple[Verdict | _End | None, str, bool]:
        """The rule's verdict if it has one, what it did in words, and whether all its matches held."""
        effect = ""
        for expression in rule.expressions:
            match expression:
                case Verdict():
                    return expression, verdict_text(expression), True
                case MapVerdict():
                    return self.look_up(expression)
                case RandomVerdict(verdicts=verdicts):
                    index = self.draw(len(verdicts))
                    return verdicts[index], f"{index} : {verdict_text(verdicts[index])}", True
                case DnatStatement(address=address, port=port):
                    self.destination, self.port, self.translated = address, port or self.port, True
                    return _End.ACCEPT, f"dnat to {format_endpoint(address, self.port)}", True
                case RedirectStatement(port=port):
                    self.port, self.translated = port or self.port, True
                    return _End.ACCEPT, f"redirect to :{self.port}", True
                case SnatStatement(address=address, port=port):
                    self.source_after = address, port
                    return _End.ACCEPT, expression_text(expression, self.view.family), True
                case UnknownStatement(text=text):
                    raise NotKnownError(self.view.name, chain.name, rule, text)
                case MasqueradeStatement():
                    self.masqueraded = True
                    return _End.ACCEPT, "masquerade", True
                case MarkStatement(operator=operator, value=value):
                    marks = {"or": self.mark | value, "xor": self.mark ^ value, "and": self.mark & value, "set": value}
                    self.mark = marks[operator]
                    effect = f"mark 0x{self.mark:x}"
                case UpdateStatement(set_name=set_name):
                    remembered = self.view.dynamic(set_name, self.within)
                    if remembered is None or not remembered.update(self.packet.source, self.now_ns):
                        return None, "the set is full", False
                    effect = "remembered"
                case _:
                    if not self.holds(expression):
                        return None, effect, False
        return None, effect, True

    def draw(self, count: int) -> int:
        """One of `count` numbers by the uniform one."""
        index = int(self.uniform * count)
        below = (index + 1) / count
        while int(below * count) <= index:
            below = math.nextafter(below, 2.0)
        self.passed, self.below = max(self.passed, index / count), min(self.below, below)
        return index

    def look_up(self, expression: MapVerdict) -> tuple[Verdict | None, str, bool]:
        """The verdict of a map for the packet, in words too, and whether there is one."""
        known: dict[str, int] = {"daddr": self.destination, "l4proto": self.packet.protocol, "dport": self.port}
        key = tuple(known[name] for name in expression.fields)
        element = self.view.element(expression.map_name, key)
        if element is None or element.verdict is None:
            return None, "no element", False
        self.within = element
        text = key_text(key, self.view.declaration(expression.map_name).key_types)
        return element.verdict, f"{text} : {verdict_text(element.verdict)}", True

    def holds(self, expression: Expression) -> bool:
        """Whether a match holds."""
        packet = self.packet
        match expression:
            case AddressMatch(field=name, prefixes=prefixes, negated=negated):
                return any(self.address(name) in prefix for prefix in prefixes) is not negated
            case SetMatch(field=name, set_name=set_name, negated=negated):
                remembered = self.view.dynamic(set_name, self.within)
                if remembered is not None:
                    return ((self.address(name), self.now_ns) in remembered) is not negated
                return (self.view.element(set_name, (self.address(name),)) is not None) is not negated
            case LocalMatch(field=name, negated=negated):
                return (self.address(name) in self.local_addresses) is not negated
            case ProtocolMatch(protocol=protocol):
                return packet.protocol == protocol
            case PortMatch(protocol=protocol, port=port):
                return packet.protocol == protocol and self.port == port
            case MarkClearMatch(mask=mask):
                return not self.mark & mask
            case StateNewMatch():
                return True
            case _:
                return self.holds_elsewhere(expression)

    def holds_elsewhere(self, expression: Expression) -> bool:
        """Matches that kube-proxy does not write."""
        packet = self.packet
        match expression:
            case MarkMatch(mask=mask, value=value, negated=negated):
                return (self.mark & mask == value) is not negated
            case StateMatch(states=states, negated=negated):
                return ("new" in states) is not negated
            case DnatStatusMatch(negated=negated):
                return self.translated is not negated
            case ProtocolsMatch(protocols=protocols, negated=negated):
                return (packet.protocol in protocols) is not negated
            case PortsMatch(protocol=protocol, side=side, ranges=ranges, negated=negated):
                port = packet.source_port if side == "s" else self.port
                return protocol in (0, packet.protocol) and any(low <= port <= high for low, high in ranges) is not negated
            case FamilyMatch(family=family):
                return is_ipv6(packet.destination) == (family == "ip6")
            case InterfaceMatch(side=side, names=names, negated=negated):
                subject = "it comes in by" if side == "i" else "it leaves by"
                return any(self.assume(subject, name) for name in names) is not negated
            case RandomMatch(stored=stored):
                bound = self.passed + (self.below - self.passed) * stored / _RANDOM_ONE
                if self.uniform < bound:
                    self.below = bound
                    return True
                self.passed = bound
                return False
            case UnknownExpression(text=text):
                return self.assume("", text)
        raise TypeError(f"{expression!r} is no match")

    def address(self, name: str) -> int:
        """The packet's source, or its destination as it is by now."""
        return self.packet.source if name == "saddr" else self.destination
