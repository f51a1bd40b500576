"""One packet's way through the nodes that it crosses, forth and back, rule by rule: as text and as a JSON-able structure.

A `NodeLeg` is what one node did with the packet: the decision, the rules examined with what each cost, and other charges. The way
back follows from the legs: conntrack undoes on each node what was done there. Nothing here asks the world; the caller walks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from svcsim.linux.address import format_endpoint
from svcsim.linux.packet import PROTOCOL_NAME, Decision, Hook, Packet, Step, Verdict
from svcsim.report.conntrack_entry import Leaves, entry_json, entry_text
from svcsim.report.terminal import WIDTH, Ink
from svcsim.units import format_ns

_PLAIN = Ink()
_COST_COLUMN = 10
_FOLD_FROM = 4
"""Runs of this many rules of a chain that do not match, or more, are told in one line."""

_VERDICTS = {
    Verdict.NO_MATCH: "no Service's: goes on as it is",
    Verdict.DNAT: "rewritten",
    Verdict.REJECT: "refused with ICMP port unreachable",
    Verdict.DROP: "dropped silently",
}


@dataclass(frozen=True, slots=True)
class Charge:
    """A cost that is no rule's: a look-up in conntrack, a veth hop, a wire."""

    name: str
    ns: float


@dataclass(frozen=True, slots=True)
class NodeLeg:
    """One node of the way forth. `step_ns` is the cost of each step (empty: not told); `source_after` the translated source.

    `hidden_source` tells that the source is masqueraded as an address that is not known, `known` whether the outcome is.
    """

    node: str
    packet: Packet
    decision: Decision
    steps: tuple[Step, ...] = ()
    step_ns: tuple[float, ...] = ()
    charges: tuple[Charge, ...] = ()
    source_after: tuple[int, int] | None = None
    hidden_source: bool = False
    known: bool = True

    @property
    def ns(self) -> float:
        """What the node cost in all."""
        return sum(self.step_ns) + sum(charge.ns for charge in self.charges)

    @property
    def leaves(self) -> tuple[int, int, int, int]:
        """Source, source port, destination and port after this node."""
        source, port = self.source_after or (self.packet.source, self.packet.source_port)
        return source, port, self.decision.destination, self.decision.destination_port

    @property
    def entry(self) -> tuple[Packet, Leaves] | None:
        """What conntrack notes on the node: the packet as it came, and as it leaves; None where it notes nothing."""
        if not self.known or self.decision.verdict in (Verdict.REJECT, Verdict.DROP):
            return None
        source, *rest = self.leaves
        return self.packet, (None if self.hidden_source else source, rest[0], rest[1], rest[2])


@dataclass(frozen=True, slots=True)
class ReturnLeg:
    """One node of the way back: the answer's source and destination before and after conntrack has undone the rewriting."""

    node: str
    before: tuple[int, int, int, int]
    after: tuple[int, int, int, int]
    charges: tuple[Charge, ...] = ()

    @property
    def ns(self) -> float:
        """What the node cost."""
        return sum(charge.ns for charge in self.charges)


@dataclass(frozen=True, slots=True)
class PacketWay:
    """A packet's way: a line that says what it is, the nodes forth, the nodes back (none where no answer comes).

    `ending` says what is wrong where the packet arrives, or why it does not.
    """

    title: str
    forth: tuple[NodeLeg, ...]
    back: tuple[ReturnLeg, ...] = ()
    ending: str = ""

    @property
    def ns(self) -> float:
        """What the way cost, forth and back."""
        return sum(leg.ns for leg in self.forth) + sum(leg.ns for leg in self.back)


def return_legs(forth: Sequence[NodeLeg], charges: Sequence[Sequence[Charge]] = ()) -> tuple[ReturnLeg, ...]:
    """The way back of an answer, node by node; none if a node refused or dropped the packet. `charges` in the order of return."""
    if any(leg.decision.verdict in (Verdict.REJECT, Verdict.DROP) for leg in forth):
        return ()
    legs = []
    for index, leg in enumerate(reversed(forth)):
        source, source_port, destination, port = leg.leaves
        before = (destination, port, source, source_port)
        after = (leg.packet.destination, leg.packet.destination_port, leg.packet.source, leg.packet.source_port)
        legs.append(ReturnLeg(leg.node, before, after, tuple(charges[index]) if index < len(charges) else ()))
    return tuple(legs)


def as_json(way: PacketWay) -> dict[str, Any]:
    """The way as plain values: addresses as text, times in nanoseconds."""
    return {
        "title": way.title,
        "ns": round(way.ns),
        "ending": way.ending,
        "forth": [_leg_json(leg) for leg in way.forth],
        "back": [
            {
                "node": leg.node,
                "before": _flow_json(leg.before),
                "after": _flow_json(leg.after),
                "charges": [{"name": charge.name, "ns": round(charge.ns)} for charge in leg.charges],
                "ns": round(leg.ns),
            }
            for leg in way.back
        ],
    }


def _flow_json(flow: tuple[int, int, int, int]) -> dict[str, str]:
    return {"source": format_endpoint(flow[0], flow[1]), "destination": format_endpoint(flow[2], flow[3])}


def _leg_json(leg: NodeLeg) -> dict[str, Any]:
    packet, decision = leg.packet, leg.decision
    costs = leg.step_ns or (None,) * len(leg.steps)
    return {
        "node": leg.node,
        "hook": Hook(packet.hook).name.lower(),
        "protocol": _protocol(packet),
        "before": _flow_json((packet.source, packet.source_port, packet.destination, packet.destination_port)),
        "after": _flow_json(leg.leaves),
        "verdict": decision.verdict.name.lower() if leg.known else "not known",
        "masquerade": decision.masquerade,
        "rules": decision.rules,
        "serviceRules": decision.service_rules,
        "statisticRules": decision.statistic_rules,
        "steps": [
            {
                "table": step.table,
                "chain": step.chain,
                "rule": step.rule,
                "matched": step.matched,
                "effect": step.effect,
                "ns": None if cost is None else round(cost),
            }
            for step, cost in zip(leg.steps, costs, strict=True)
        ],
        "charges": [{"name": charge.name, "ns": round(charge.ns)} for charge in leg.charges],
        "ns": round(leg.ns),
        "conntrack": entry_json(*leg.entry) if leg.entry is not None else None,
    }


def render(way: PacketWay, ink: Ink = _PLAIN, *, width: int = WIDTH, all_rules: bool = False) -> str:
    """The way as text; `all_rules` tells each rule that did not match, however many."""
    blocks = [[ink.bold(way.title)]]
    blocks += [list(_leg_lines(leg, ink, width, all_rules)) for leg in way.forth]
    if way.ending:
        blocks.append([ink.bad(line) for line in wrapped(way.ending, "", width)])
    if way.back:
        blocks.append(list(_back_lines(way.back, ink, width)))
    if way.ns:
        blocks.append([_costed("forth and back" if way.back else "in all", way.ns, width)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _protocol(packet: Packet) -> str:
    return PROTOCOL_NAME.get(packet.protocol, str(packet.protocol))


def _leg_lines(leg: NodeLeg, ink: Ink, width: int, all_rules: bool) -> Iterator[str]:
    packet, decision = leg.packet, leg.decision
    source = format_endpoint(packet.source, packet.source_port)
    destination = format_endpoint(packet.destination, packet.destination_port)
    entered = "from a process of the node" if packet.hook is Hook.OUTPUT else "from an interface"
    flow = f"{_protocol(packet)} {source} > {destination}, {entered}"
    if len(leg.node) + 3 + len(flow) <= width:
        yield f"{ink.bold(leg.node)}   {flow}"
    else:
        yield ink.bold(leg.node)
        yield from wrapped(flow, "  ", width)
    costs: tuple[float | None, ...] = leg.step_ns or (None,) * len(leg.steps)
    numbered = list(zip(leg.steps, costs, strict=True))
    for (table, chain), group in groupby(numbered, key=lambda pair: (pair[0].table, pair[0].chain)):
        yield ink.dim(_fitted(f"  {table} {chain}", width))
        for matched, run in groupby(group, key=lambda pair: pair[0].matched):
            yield from _run_lines(matched, list(run), ink, width, all_rules)
    for charge in leg.charges:
        yield _costed(f"  {charge.name}", charge.ns, width)
    if leg.known:
        yield from _outcome_lines(leg, ink, width)
    if leg.entry is not None:
        yield from wrapped(entry_text(*leg.entry), "  conntrack ", width)
    counted = [f"{decision.rules:,} rule{'' if decision.rules == 1 else 's'} examined"]
    if decision.service_rules:
        counted.append(f"{decision.service_rules:,} of them to find the Service")
    if decision.statistic_rules:
        counted.append(f"{decision.statistic_rules:,} to choose the endpoint")
    summary = "  " + ", ".join(counted)
    yield ink.dim(_costed(summary, leg.ns, width) if leg.ns else summary)


def _outcome_lines(leg: NodeLeg, ink: Ink, width: int) -> Iterator[str]:
    source, source_port, destination, port = leg.leaves
    verdict = leg.decision.verdict
    words = _VERDICTS[verdict]
    if verdict is Verdict.DNAT:
        words = f"rewritten to {format_endpoint(destination, port)}"
    if leg.decision.masquerade:
        words += ", masqueraded"
        if leg.source_after is not None:
            words += f" as {format_endpoint(source, source_port)}"
    colour = ink.bad if verdict in (Verdict.REJECT, Verdict.DROP) else ink.good
    for line in wrapped(words, "  = ", width):
        yield colour(line)


def _run_lines(
    matched: bool, run: list[tuple[Step, float | None]], ink: Ink, width: int, all_rules: bool
) -> Iterator[str]:
    if not matched and not all_rules and len(run) >= _FOLD_FROM:
        known = [cost for _, cost in run if cost is not None]
        line = f"    - {len(run):,} rules, none of which matches"
        yield ink.dim(_costed(line, sum(known), width) if known else line)
        return
    for step, cost in run:
        lines = wrapped(step.rule, "    + " if matched else "    - ", width - _COST_COLUMN)
        if cost is not None:
            lines[0] = _costed(lines[0], cost, width)
        yield from (lines if matched else map(ink.dim, lines))
        if step.effect and step.effect not in step.rule:
            yield from wrapped(step.effect, "      -> ", width - _COST_COLUMN)


def _back_lines(back: Sequence[ReturnLeg], ink: Ink, width: int) -> Iterator[str]:
    yield ink.bold("the answer")
    for leg in back:
        before = _flow_text(leg.before)
        undone = leg.before != leg.after
        yield f"{ink.bold(leg.node)}   {before}"
        if undone:
            yield from wrapped(f"conntrack makes it {_flow_text(leg.after)}", "  = ", width)
        else:
            yield "  = conntrack leaves it as it is"
        for charge in leg.charges:
            yield _costed(f"  {charge.name}", charge.ns, width)


def _flow_text(flow: tuple[int, int, int, int]) -> str:
    return f"{format_endpoint(flow[0], flow[1])} > {format_endpoint(flow[2], flow[3])}"


def _costed(text: str, ns: float, width: int) -> str:
    """The text with a cost at the right edge."""
    room = width - _COST_COLUMN
    return f"{_fitted(text, room):<{room}}{format_ns(ns):>{_COST_COLUMN}}"


def _fitted(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def wrapped(text: str, head: str, width: int) -> list[str]:
    """Lines of at most `width` columns behind a head; words that are longer are broken."""
    return textwrap.wrap(
        text, max(width, 30), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head.rstrip()]
