"""A connection's first packet on its way through a node's iptables rules, rule by rule.

    PREROUTING: raw, mangle and nat PREROUTING, routing, then INPUT for the node itself, or FORWARD and POSTROUTING
    OUTPUT:     raw, mangle, nat and filter OUTPUT, POSTROUTING, and if the node sends to itself PREROUTING without nat, INPUT

The packet is NEW to conntrack, so the nat table sees it. The random choice is one uniform number u: a `statistic` rule with
probability p matches if u lies in the next share p of what earlier rules left, so that one u makes one choice however many rules
it takes. At its end a walk knows the range of u, from `passed` up to `below`, in which it goes the same way.

Sources: net/ipv4/netfilter/ip_tables.c (ipt_do_table), iptables-extensions(8), the packet flow of netfilter.org.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    ConnectionMark,
    ConntrackState,
    Destination,
    DestinationPort,
    Dnat,
    Drop,
    Goto,
    InInterface,
    IpvsVirtual,
    Jump,
    Mark,
    Masquerade,
    Match,
    OutInterface,
    PhysdevIsIn,
    Ports,
    Protocol,
    RecentCheck,
    RecentSet,
    Redirect,
    Reject,
    Return,
    Rule,
    Ruleset,
    SetConnectionMark,
    SetMark,
    SetMatch,
    Snat,
    Source,
    Statistic,
    TcpFlags,
    UnknownMatch,
    UnknownTarget,
)
from svcsim.linux.netfilter.text import render_rule, target_text
from svcsim.linux.packet import TCP, Decision, Hook, Packet, Step, Verdict

POLICY = "the policy of the chain"

_TABLES = ("raw", "mangle", "nat", "filter", "security")
"""Tables in the order of their priorities at PREROUTING, FORWARD and OUTPUT (nf_ip_hook_priorities)."""

_TABLES_AT_INPUT = ("mangle", "filter", "security", "nat")
"""At INPUT nat comes last: it translates sources there."""

SetLookup = Callable[["Walk", str, str], bool]
"""(walk, set name, fields as `dst,dst`) -> whether the set holds the packet's fields."""


def _no_sets(walk: Walk, name: str, fields: str) -> bool:
    raise ValueError(f"no ipset {name}")


def _holds(match: Match) -> bool:
    return True


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
    assume: Callable[[Match], bool] = _holds
    """Whether a match holds that the packet's addresses, ports and mark don't decide: of an interface, or an unknown one."""


class NotKnownError(Exception):
    """A packet has come to a rule whose effect svcsim does not know: nothing can be said of what follows."""

    def __init__(self, table: str, chain: str, rule: Rule) -> None:
        super().__init__(f"{table} {chain}: {words_of(rule)}")
        self.table = table
        self.chain = chain
        self.rule = rule


def words_of(rule: Rule) -> str:
    """The rule as it was written where it was read, else as kube-proxy writes it."""
    return rule.written.text if rule.written is not None else render_rule(rule)


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
    below: float = 1.0
    """Where the range ends that `statistic` rules have accepted."""
    source_port: int = 0
    mark: int = 0
    connection_mark: int = 0
    rewritten: bool = False
    virtual: tuple[int, int] | None = None
    """The virtual address and port, once IPVS has sent the packet on to a real server."""
    masquerade: bool = False
    source_after: tuple[int, int] | None = None
    """The address and port (0: as before) that SNAT gives the connection as its source."""
    rules: int = 0
    service_rules: int = 0
    statistic_rules: int = 0
    endpoints: int = 0
    """Among how many the last chain chose that has `statistic` rules: its last endpoint has none."""
    steps: list[Step] = field(default_factory=list)

    def hook(self, table: str, chain: str) -> Verdict | None:
        """Traverse a built-in chain; REJECT or DROP if the packet ends here, None if it goes on."""
        found = self.ruleset.get(table)
        if found is None or chain not in found.chains:
            return None
        outcome = self._chain(table, chain)
        if outcome is None and found.policies.get(chain) == "DROP":
            self.steps.append(Step(table, chain, POLICY, True, "DROP"))
            return Verdict.DROP
        return outcome if isinstance(outcome, Verdict) else None

    def through(self, *hooks: str, without: str = "") -> Verdict | None:
        """Traverse hooks, at each the chains of all tables in the kernel's order; `without` is a table to pass over."""
        for name in hooks:
            for table in _TABLES_AT_INPUT if name == "INPUT" else _TABLES:
                if table != without:
                    verdict = self.hook(table, name)
                    if verdict is not None:
                        return verdict
        return None

    def _chain(self, table: str, chain: str) -> Verdict | Accept | None:
        """REJECT or DROP, Accept if the table is done, or None at the chain's end."""
        counted = (table, chain) in self.kernel.service_chains
        for rule in self.ruleset[table].chains[chain]:
            self.rules += 1
            self.service_rules += counted
            matched = self._matches(rule)
            self.steps.append(Step(table, chain, words_of(rule), matched, target_text(rule.target) if matched else ""))
            if not matched or rule.target is None:
                continue
            match rule.target:
                case Jump(to):
                    self._leave(table, chain)
                    outcome = self._chain(table, to)
                    if outcome is not None:
                        return outcome
                case Goto(to):
                    self._leave(table, chain)
                    return self._chain(table, to)
                case Return():
                    return None
                case Accept():
                    return rule.target
                case Drop():
                    return Verdict.DROP
                case Reject():
                    return Verdict.REJECT
                case SetMark(operation, value, mask):
                    self._set_mark(operation, value, mask)
                case SetConnectionMark():
                    self._set_connection_mark(rule.target)
                case Dnat(address, port):
                    self._rewrite(address, port)
                    return Accept()
                case Redirect(port):
                    self._rewrite(self.kernel.redirect_to, port)
                    return Accept()
                case Masquerade():
                    self.masquerade = True
                    return Accept()
                case Snat(address, port):
                    self.source_after = address, port
                    return Accept()
                case UnknownTarget():
                    raise NotKnownError(table, chain, rule)
        return None

    def _leave(self, table: str, chain: str) -> None:
        """The packet goes on to another chain: an endpoint's, if this one chooses."""
        choices = sum(any(isinstance(match, Statistic) for match in rule.matches) for rule in self.ruleset[table].chains[chain])
        if choices:
            self.endpoints = choices + 1

    def _rewrite(self, address: int, port: int) -> None:
        self.destination, self.port, self.rewritten = address, port or self.port, True

    def _set_mark(self, operation: str, value: int, mask: int) -> None:
        if operation == "or":
            self.mark |= value
        elif operation == "xor":
            self.mark ^= value
        else:
            self.mark = (self.mark & ~mask) ^ value

    def _set_connection_mark(self, target: SetConnectionMark) -> None:
        """Source: net/netfilter/xt_connmark.c (`connmark_tg_shift`)."""
        if target.operation == "set":
            self.connection_mark = (self.connection_mark & ~target.connection_mask) ^ target.value
        elif target.operation == "save":
            self.connection_mark = (self.connection_mark & ~target.connection_mask) ^ (self.mark & target.packet_mask)
        else:
            self.mark = (self.mark & ~target.packet_mask) ^ (self.connection_mark & target.connection_mask)

    def _matches(self, rule: Rule) -> bool:
        return all(self._match(match) for match in rule.matches)

    def _match(self, match: Match) -> bool:
        match match:
            case Protocol(number, negated):
                return (number in (0, self.protocol)) != negated
            case Destination(block, negated):
                return (self.destination in block) != negated
            case Source(block, negated):
                return (self.source in block) != negated
            case DestinationPort(port):
                return self.port == port
            case Mark(value, mask, negated):
                return (self.mark & mask == value) != negated
            case ConnectionMark(value, mask, negated):
                return (self.connection_mark & mask == value) != negated
            case Ports(side, ranges, negated):
                return self._is_port_in(side, ranges) != negated
            case TcpFlags(mask, flags, negated):
                return self.protocol == TCP and (flags == (("SYN",) if "SYN" in mask else ())) != negated
            case ConntrackState(states, negated):
                return ("NEW" in states or (self.rewritten and "DNAT" in states)) != negated
            case AddressType(side, "LOCAL", negated):
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
            case UnknownMatch() | InInterface() | OutInterface() | AddressType():
                return self.kernel.assume(match)
            case _:
                return True

    def _is_port_in(self, side: str, ranges: tuple[tuple[int, int], ...]) -> bool:
        ports = {"s": (self.source_port,), "d": (self.port,)}.get(side, (self.source_port, self.port))
        return any(low <= port <= high for port in ports for low, high in ranges)

    def _draw(self, match: Statistic) -> bool:
        self.statistic_rules += 1
        bound = self.passed + (self.below - self.passed) * match.effective
        if self.uniform < bound:
            self.below = bound
            return True
        self.passed = bound
        return False


def walk(
    ruleset: Ruleset, kernel: KernelState, packet: Packet, uniform: float, now_ns: int
) -> tuple[Decision, list[Step]]:
    """What the rules do with a connection's first packet, and the way; `recent` lists change as in the kernel."""
    way = walk_of(ruleset, kernel, packet, uniform, now_ns)
    verdict = traverse(way, packet.hook)
    if verdict is None:
        verdict = Verdict.DNAT if way.rewritten else Verdict.NO_MATCH
    decision = Decision(
        verdict, way.destination, way.port, way.masquerade, way.service_rules, way.statistic_rules, way.rules,
        endpoints=way.endpoints,
    )
    return decision, way.steps


def walk_of(ruleset: Ruleset, kernel: KernelState, packet: Packet, uniform: float, now_ns: int) -> Walk:
    """A walk that is about to begin."""
    return Walk(
        kernel, ruleset, packet.protocol, packet.source, packet.destination, packet.destination_port, now_ns, uniform,
        source_port=packet.source_port,
    )


def traverse(way: Walk, hook: Hook) -> Verdict | None:
    """The whole way from a hook on: REJECT or DROP, or None if the packet gets through; NotKnownError from an unknown target."""
    if hook == Hook.PREROUTING:
        verdict = way.through("PREROUTING")
        if verdict is not None:
            return verdict
        return way.through("INPUT") if way.kernel.is_local(way.destination) else way.through("FORWARD", "POSTROUTING")
    verdict = way.through("OUTPUT", "POSTROUTING")
    if verdict is not None or not way.kernel.is_local(way.destination):
        return verdict
    looped = way.through("PREROUTING", without="nat")
    return looped if looped is not None else way.through("INPUT", without="nat")
