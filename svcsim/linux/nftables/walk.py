"""The way of a first packet through an nftables table, rule by rule.

Hooks run in the order of the kernel: prerouting, then (by routing) input or forward, then postrouting; or output, postrouting for
a packet of the node itself, and prerouting and input once more if it is addressed to the node. Within a hook base chains run by
priority. Verdicts (nft(8)): `drop` and `reject` end everything; `goto` does not come back; `return` and a chain's end go on in
the chain that jumped; the end of a base chain accepts. A translation ends its nat base chain (kernel
net/netfilter/nf_tables_core.c `nft_do_chain`, nf_nat_core.c `nf_nat_inet_fn`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from svcsim.linux.address import format_endpoint
from svcsim.linux.nftables.dynamic import DynamicSet
from svcsim.linux.nftables.rule_text import key_text, rule_text, verdict_text
from svcsim.linux.nftables.ruleset import (
    AddressMatch,
    Chain,
    DnatStatement,
    Element,
    Expression,
    Family,
    HookName,
    Key,
    LocalMatch,
    MapVerdict,
    MarkClearMatch,
    MarkStatement,
    MasqueradeStatement,
    PortMatch,
    ProtocolMatch,
    RandomVerdict,
    Rule,
    Ruleset,
    SetDeclaration,
    SetMatch,
    StateNewMatch,
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


def walk(
    view: TableView,
    local_addresses: Collection[int],
    packet: Packet,
    uniform: float,
    now_ns: int,
    service_chain: str = "services",
) -> tuple[Decision, list[Step]]:
    """What happens to the first packet of a connection, and each rule examined.

    `service_rules` counts the rules examined in `service_chain`. Dynamic sets are changed as the kernel would.
    """
    way = _Way(view, local_addresses, packet, uniform, now_ns, packet.destination, packet.destination_port)
    end = way.run()
    fate, destination, port = Fate.NO_MATCH, packet.destination, packet.destination_port
    if end is _End.DROP or end is _End.REJECT:
        fate = Fate.DROP if end is _End.DROP else Fate.REJECT
    elif way.translated:
        fate, destination, port = Fate.DNAT, way.destination, way.port
    decision = Decision(
        fate,
        destination,
        port,
        masquerade=way.masqueraded and fate in (Fate.DNAT, Fate.NO_MATCH),
        service_rules=sum(step.chain == service_chain for step in way.steps),
        rules=len(way.steps),
    )
    return decision, way.steps


class _End(IntEnum):
    """How a chain ended."""

    RETURNED = 0  # the caller goes on
    ACCEPT = 1  # of this base chain: translated
    DROP = 2
    REJECT = 3


_SIMPLE = {"return": _End.RETURNED, "drop": _End.DROP, "reject": _End.REJECT}


@dataclass(slots=True)
class _Way:
    """One packet under way."""

    view: TableView
    local_addresses: Collection[int]
    packet: Packet
    uniform: float
    now_ns: int
    destination: int
    port: int
    mark: int = 0
    translated: bool = False
    masqueraded: bool = False
    within: Element | None = None
    steps: list[Step] = field(default_factory=list)

    def run(self) -> _End:
        """Through all hooks."""
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
            for chain in self.view.at_hook(name):
                if looped and chain.base is not None and chain.base.chain_type == "nat":
                    continue
                self.within = None
                end = self.run_chain(chain)
                if end in (_End.DROP, _End.REJECT):
                    return end
        return _End.RETURNED

    def run_chain(self, chain: Chain) -> _End:
        for rule in chain.rules:
            at = len(self.steps)
            self.steps.append(Step(self.view.name, chain.name, rule_text(rule, self.view.family), matched=False))
            verdict, effect, matched = self.run_rule(rule)
            self.steps[at] = Step(self.view.name, chain.name, self.steps[at].rule, matched, effect)
            if verdict is None:
                continue
            if isinstance(verdict, _End):
                return verdict
            if verdict.kind not in ("jump", "goto"):
                return _SIMPLE[verdict.kind]
            end = self.run_chain(self.view.chain(verdict.chain, self.within))
            if end is not _End.RETURNED or verdict.kind == "goto":
                return end
        return _End.RETURNED

    def run_rule(self, rule: Rule) -> tuple[Verdict | _End | None, str, bool]:
        """The rule's verdict if it has one, what it did in words, and whether all its matches held."""
        effect = ""
        for expression in rule.expressions:
            match expression:
                case Verdict():
                    return expression, verdict_text(expression), True
                case MapVerdict():
                    return self.look_up(expression)
                case RandomVerdict(verdicts=verdicts):
                    index = int(self.uniform * len(verdicts))
                    return verdicts[index], f"{index} : {verdict_text(verdicts[index])}", True
                case DnatStatement(address=address, port=port):
                    self.destination, self.port, self.translated = address, port, True
                    return _End.ACCEPT, f"dnat to {format_endpoint(address, port)}", True
                case MasqueradeStatement():
                    self.masqueraded = True
                    return _End.ACCEPT, "masquerade", True
                case MarkStatement(operator=operator, value=value):
                    self.mark = self.mark | value if operator == "or" else self.mark ^ value
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

    def look_up(self, expression: MapVerdict) -> tuple[Verdict | None, str, bool]:
        known: dict[str, int] = {"daddr": self.destination, "l4proto": self.packet.protocol, "dport": self.port}
        key = tuple(known[name] for name in expression.fields)
        element = self.view.element(expression.map_name, key)
        if element is None or element.verdict is None:
            return None, "no element", False
        self.within = element
        text = key_text(key, self.view.declaration(expression.map_name).key_types)
        return element.verdict, f"{text} : {verdict_text(element.verdict)}", True

    def holds(self, expression: Expression) -> bool:
        match expression:
            case AddressMatch(field=name, prefixes=prefixes, negated=negated):
                return any(self.address(name) in prefix for prefix in prefixes) is not negated
            case SetMatch(field=name, set_name=set_name):
                remembered = self.view.dynamic(set_name, self.within)
                if remembered is not None:
                    return (self.address(name), self.now_ns) in remembered
                return self.view.element(set_name, (self.address(name),)) is not None
            case LocalMatch(field=name):
                return self.address(name) in self.local_addresses
            case ProtocolMatch(protocol=protocol):
                return self.packet.protocol == protocol
            case PortMatch(protocol=protocol, port=port):
                return self.packet.protocol == protocol and self.port == port
            case MarkClearMatch(mask=mask):
                return not self.mark & mask
            case StateNewMatch():
                return True
        raise TypeError(f"{expression!r} is no match")

    def address(self, name: str) -> int:
        return self.packet.source if name == "saddr" else self.destination
