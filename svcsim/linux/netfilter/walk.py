"""A connection's first packet on its way through a node's iptables rules, rule by rule.

    PREROUTING: nat PREROUTING, routing, then filter INPUT for the node itself, or filter FORWARD and nat POSTROUTING
    OUTPUT:     nat OUTPUT, routing, filter OUTPUT, nat POSTROUTING, and filter INPUT if the node sends to itself

The packet is NEW to conntrack, so the nat table sees it. The random choice is one uniform number u: a `statistic` rule with
probability p matches if u lies in the next share p of what earlier rules left, so that one u makes one choice however many rules
it takes.

Sources: net/ipv4/netfilter/ip_tables.c (ipt_do_table), iptables-extensions(8), the packet flow of netfilter.org.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    ConntrackState,
    Destination,
    DestinationPort,
    Dnat,
    Drop,
    Goto,
    IpvsVirtual,
    Jump,
    Mark,
    Masquerade,
    Match,
    PhysdevIsIn,
    Protocol,
    RecentCheck,
    RecentSet,
    Redirect,
    Reject,
    Return,
    Rule,
    Ruleset,
    SetMark,
    SetMatch,
    Source,
    Statistic,
)
from svcsim.linux.netfilter.text import render_rule, target_text
from svcsim.linux.packet import Decision, Hook, Packet, Step, Verdict

SetLookup = Callable[["Walk", str, str], bool]
"""(walk, set name, fields as `dst,dst`) -> whether the set holds the packet's fields."""


def _no_sets(walk: Walk, name: str, fields: str) -> bool:
    raise ValueError(f"no ipset {name}")


@dataclass(frozen=True, slots=True)
class KernelState:
    """What a walk reads beside the rules: which addresses are the node's own, and the state that matches keep."""

    is_local: Callable[[int], bool]
    recent: RecentState
    service_chains: frozenset[tuple[str, str]] = frozenset()
    """(table, chain) of the linear Service list, whose rules `Decision.service_rules` counts."""
    in_set: SetLookup = _no_sets
    redirect_to: int = 0
    """The address that REDIRECT rewrites to: that of the incoming interface, or loopback for the node's own packets."""


@dataclass(slots=True)
class Walk:
    """A walk under way: the packet as rewritten so far, its marks, and what was counted."""

    kernel: KernelState
    ruleset: Ruleset
    protocol: int
    source: int
    destination: int
    port: int
    now_ns: int
    uniform: float
    passed: float = 0.0
    """The share of the uniform's range that `statistic` rules have turned down."""
    mark: int = 0
    rewritten: bool = False
    virtual: tuple[int, int] | None = None
    """The virtual address and port, once IPVS has sent the packet on to a real server."""
    masquerade: bool = False
    rules: int = 0
    service_rules: int = 0
    statistic_rules: int = 0
    steps: list[Step] = field(default_factory=list)

    def hook(self, table: str, chain: str) -> Verdict | None:
        """Traverse a built-in chain; REJECT or DROP if the packet ends here, None if it goes on."""
        found = self.ruleset.get(table)
        if found is None or chain not in found.chains:
            return None
        outcome = self._chain(table, chain)
        if outcome is None and found.policies.get(chain) == "DROP":
            return Verdict.DROP
        return outcome if isinstance(outcome, Verdict) else None

    def _chain(self, table: str, chain: str) -> Verdict | Accept | None:
        """REJECT or DROP, Accept if the table is done, or None at the chain's end."""
        counted = (table, chain) in self.kernel.service_chains
        for rule in self.ruleset[table].chains[chain]:
            self.rules += 1
            self.service_rules += counted
            matched = self._matches(rule)
            self.steps.append(Step(table, chain, render_rule(rule), matched, target_text(rule.target) if matched else ""))
            if not matched or rule.target is None:
                continue
            match rule.target:
                case Jump(to):
                    outcome = self._chain(table, to)
                    if outcome is not None:
                        return outcome
                case Goto(to):
                    return self._chain(table, to)
                case Return():
                    return None
                case Accept():
                    return rule.target
                case Drop():
                    return Verdict.DROP
                case Reject():
                    return Verdict.REJECT
                case SetMark(operation, value):
                    self._set_mark(operation, value)
                case Dnat(address, port):
                    self._rewrite(address, port)
                    return Accept()
                case Redirect(port):
                    self._rewrite(self.kernel.redirect_to, port)
                    return Accept()
                case Masquerade():
                    self.masquerade = True
                    return Accept()
        return None

    def _rewrite(self, address: int, port: int) -> None:
        self.destination, self.port, self.rewritten = address, port, True

    def _set_mark(self, operation: str, value: int) -> None:
        if operation == "or":
            self.mark |= value
        elif operation == "xor":
            self.mark ^= value
        else:
            self.mark = value

    def _matches(self, rule: Rule) -> bool:
        return all(self._match(match) for match in rule.matches)

    def _match(self, match: Match) -> bool:
        match match:
            case Protocol(number):
                return self.protocol == number
            case Destination(block, negated):
                return (self.destination in block) != negated
            case Source(block, negated):
                return (self.source in block) != negated
            case DestinationPort(port):
                return self.port == port
            case Mark(value, mask, negated):
                return (self.mark & mask == value) != negated
            case ConntrackState(states, negated):
                return ("NEW" in states or (self.rewritten and "DNAT" in states)) != negated
            case AddressType(side, _, negated):
                return self.kernel.is_local(self.source if side == "src" else self.destination) != negated
            case Statistic():
                return self._draw(match)
            case RecentCheck(name, seconds, reap):
                return self.kernel.recent.check(name, self.source, seconds, self.now_ns, reap=reap)
            case RecentSet(name):
                self.kernel.recent.stamp(name, self.source, self.now_ns)
                return True
            case SetMatch(name, fields, negated):
                return self.kernel.in_set(self, name, fields) != negated
            case PhysdevIsIn(negated):
                return negated
            case IpvsVirtual(address, protocol, port):
                return self.virtual == (address, port) and self.protocol == protocol
            case _:
                return True

    def _draw(self, match: Statistic) -> bool:
        self.statistic_rules += 1
        bound = self.passed + (1.0 - self.passed) * match.effective
        if self.uniform < bound:
            return True
        self.passed = bound
        return False


def walk(
    ruleset: Ruleset, kernel: KernelState, packet: Packet, uniform: float, now_ns: int
) -> tuple[Decision, list[Step]]:
    """What the rules do with a connection's first packet, and the way; `recent` lists change as in the kernel."""
    way = Walk(
        kernel, ruleset, packet.protocol, packet.source, packet.destination, packet.destination_port, now_ns, uniform
    )
    verdict = _hooks(way, packet.hook)
    if verdict is None:
        verdict = Verdict.DNAT if way.rewritten else Verdict.NO_MATCH
    decision = Decision(
        verdict, way.destination, way.port, way.masquerade, way.service_rules, way.statistic_rules, way.rules
    )
    return decision, way.steps


def _hooks(way: Walk, hook: Hook) -> Verdict | None:
    if hook == Hook.PREROUTING:
        verdict = way.hook("nat", "PREROUTING")
        if verdict is not None:
            return verdict
        if way.kernel.is_local(way.destination):
            return way.hook("filter", "INPUT")
        verdict = way.hook("filter", "FORWARD")
        return verdict if verdict is not None else way.hook("nat", "POSTROUTING")
    for table, chain in (("nat", "OUTPUT"), ("filter", "OUTPUT"), ("nat", "POSTROUTING")):
        verdict = way.hook(table, chain)
        if verdict is not None:
            return verdict
    return way.hook("filter", "INPUT") if way.kernel.is_local(way.destination) else None
