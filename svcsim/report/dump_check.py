"""What was read of a node's dump, and what becomes of packets in it: as text and as a JSON-able structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from svcsim.linux.address import format_endpoint
from svcsim.linux.dump import Dump
from svcsim.linux.dump_services import DumpedService, count_of_rules, services_of
from svcsim.linux.dump_walk import Host, PacketWalk, taken_as_foreign
from svcsim.linux.exploring import Branch, Outcome, Share
from svcsim.linux.flow_text import format_packet
from svcsim.linux.packet import PROTOCOL_NAME, Hook, Verdict
from svcsim.report.packet_way import wrapped
from svcsim.report.terminal import WIDTH, Ink

_PLAIN = Ink()
SHOWN_SERVICES = 20
SHOWN_PROBLEMS = 20


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def _protocol(number: int) -> str:
    return PROTOCOL_NAME.get(number, str(number)).lower()


# ---- what was read -------------------------------------------------------------------------------------------------------


def render_dump(dump: Dump, ink: Ink = _PLAIN, *, all_services: bool = False) -> str:
    """What was read: sources, tables, Services, and what was not understood."""
    lines = [f"{ink.bold(name)}   {kind}" for name, kind in dump.sources]
    lines += [f"  {line}" for line in _tables(dump)]
    services = services_of(dump)
    lines += ["", *_services(services, ink, all_services)]
    lines += ["", *_not_understood(dump, ink)]
    return "\n".join(lines)


def _tables(dump: Dump) -> Iterator[str]:
    for family, tables in dump.iptables.items():
        for name, table in tables.items():
            rules, chains = count_of_rules({name: table})
            yield f"iptables {family} {name}: {_many(rules, 'rule')} in {_many(chains, 'chain')}"
    for nft_table in dump.tables:
        rules = sum(len(chain.rules) for chain in nft_table.chains.values())
        elements = sum(map(len, nft_table.elements.values())) + sum(map(len, nft_table.blocks.values()))
        dormant = ", dormant" if nft_table.dormant else ""
        yield (
            f"table {nft_table.table_family} {nft_table.name}: {_many(rules, 'rule')} in "
            f"{_many(len(nft_table.chains), 'chain')}, {_many(elements, 'element')} in "
            f"{_many(len(nft_table.sets), 'set')}{dormant}"
        )
    for left_out in dump.left_out:
        yield f"{left_out}: left out, routed packets don't pass it"
    if dump.sets:
        elements = sum(len(each.elements) for each in dump.sets.values())
        yield f"ipset: {_many(elements, 'element')} in {_many(len(dump.sets), 'set')}"
    if dump.services:
        servers = sum(len(each.servers) for each in dump.services.values())
        yield f"IPVS: {_many(len(dump.services), 'virtual service')}, {_many(servers, 'real server')}"


def _services(services: Sequence[DumpedService], ink: Ink, all_services: bool) -> Iterator[str]:
    if not services:
        yield "no Services"
        return
    names = len({each.name.partition(":")[0] for each in services if each.name})
    empty = sum(each.refused or not (each.endpoints or each.by) for each in services)
    head = f"{_many(len(services), 'address')} of Services"
    if names:
        head = f"{_many(names, 'Service')}, {_many(len(services), 'address')}"
    yield ink.bold(head) + (f"; {empty:,} without endpoints" if empty else "")
    shown = services if all_services else services[:SHOWN_SERVICES]
    places = [f"{format_endpoint(each.address, each.port)}/{_protocol(each.protocol)}" for each in shown]
    name_width = min(max((len(each.name) for each in shown), default=0), 40)
    place_width = max(map(len, places))
    for each, place in zip(shown, places, strict=True):
        name = each.name if len(each.name) <= 40 else f"{each.name[:39]}…"
        what = each.by if each.by and not each.endpoints else _many(len(each.endpoints), "endpoint")
        head = f"  {name:<{name_width}}" if name_width else ""
        yield f"{head}  {place:<{place_width}}  {'no endpoints' if each.refused else what}"
    if len(shown) < len(services):
        yield ink.dim(f"  … and {len(services) - len(shown):,} more (--all-services)")


def _not_understood(dump: Dump, ink: Ink) -> Iterator[str]:
    found = dump.not_understood
    if not found:
        yield ink.good("every rule is understood")
        return
    yield ink.bad(f"{_many(len(found), 'part')} of rules not understood")
    for each in found[:SHOWN_PROBLEMS]:
        yield from wrapped(str(each), "  ", WIDTH)
    if len(found) > SHOWN_PROBLEMS:
        yield ink.dim(f"  … and {len(found) - SHOWN_PROBLEMS:,} more")


# ---- packets -------------------------------------------------------------------------------------------------------------


def render_walk(walk: PacketWalk, ink: Ink = _PLAIN) -> str:
    """What becomes of one packet."""
    entered = "from a process of the node" if walk.packet.hook is Hook.OUTPUT else "from an interface"
    lines = [f"{ink.bold(format_packet(walk.packet))}   {entered}"]
    possible = walk.possibilities
    if not possible.decided:
        lines.append(ink.bad("  depends on what svcsim can't know:"))
    for branch in possible.branches:
        indent = "  "
        if not possible.decided:
            lines += _assumptions(branch)
            indent = "    "
        lines += _shares(branch.shares, walk, ink, indent)
    if not possible.complete:
        lines.append(ink.bad("  further possibilities are not followed: too much is not known"))
    return "\n".join(lines)


def render_foreign(walks: Sequence[PacketWalk], host: Host, ink: Ink = _PLAIN) -> str:
    """The addresses that are taken as none of the node's, since nobody said which are."""
    foreign = dict.fromkeys(address for walk in walks for address in taken_as_foreign(walk.packet, host))
    if not foreign:
        return "every address is known to be the node's own"
    text = f"taken as not the node's own: {', '.join(foreign)} (--local says which addresses are)"
    return "\n".join(map(ink.dim, wrapped(text, "", WIDTH)))


def _assumptions(branch: Branch) -> list[str]:
    words = " and ".join(condition(text, holds) for text, holds in branch.assumed)
    return wrapped(f"if {words}", "  ", WIDTH)


def condition(text: str, holds: bool) -> str:
    """Something that is not known and taken as so, in words."""
    if text.startswith("it "):
        return text if holds else text.replace("it comes in", "it does not come in").replace("it leaves", "it does not leave")
    return f"`{text}` {'matches' if holds else 'does not match'}"


def _shares(shares: Sequence[Share], walk: PacketWalk, ink: Ink, indent: str) -> Iterator[str]:
    listed = sorted(shares, key=lambda share: -round(share.probability, 9))
    for share in listed:
        endpoints = len(shares) > 1 and not walk.shares_known and share.outcome.verdict is Verdict.DNAT
        chance = "?" if endpoints else percentage(share.probability)
        for place, line in enumerate(wrapped(outcome_words(share.outcome, walk), "", WIDTH - len(indent) - 8)):
            colour = ink.good if share.outcome.verdict in (Verdict.DNAT, Verdict.NO_MATCH) else ink.bad
            yield f"{indent}{chance if not place else '':>6}  {colour(line)}"
    if walk.scheduler and not walk.shares_known and len(shares) > 1:
        yield f"{indent}        the scheduler {walk.scheduler} chooses by more than chance"


def percentage(probability: float) -> str:
    """`33.3 %`."""
    return f"{probability * 100:.3g} %"


def outcome_words(outcome: Outcome, walk: PacketWalk) -> str:
    """What becomes of the packet, in words."""
    verdict = outcome.verdict
    if verdict is None:
        return f"not known: it comes to {outcome.why}"
    if verdict is Verdict.REJECT:
        return f"refused by {outcome.why}" if outcome.why else "refused"
    if verdict is Verdict.DROP:
        return f"dropped by {outcome.why}" if outcome.why else "dropped"
    end = format_endpoint(outcome.destination, outcome.port)
    words = f"to {end}" if verdict is Verdict.DNAT else "goes on as it is: no rule translates it"
    if outcome.masquerade:
        words += ", masqueraded"
    elif outcome.source_after is not None:
        address, port = outcome.source_after
        words += f", from {format_endpoint(address, port or walk.packet.source_port)}"
    return words


# ---- JSON ----------------------------------------------------------------------------------------------------------------


def dump_json(dump: Dump) -> dict[str, Any]:
    """What was read."""
    return {
        "sources": [{"file": name, "kind": kind} for name, kind in dump.sources],
        "services": [
            {
                "name": each.name,
                "address": format_endpoint(each.address, each.port),
                "protocol": _protocol(each.protocol),
                "endpoints": [format_endpoint(*endpoint) for endpoint in each.endpoints],
                "refused": each.refused,
            }
            for each in services_of(dump)
        ],
        "notUnderstood": [
            {"file": each.file, "line": each.line, "column": each.column, "text": each.text, "place": each.place}
            for each in dump.not_understood
        ],
        "leftOut": dump.left_out,
    }


def walk_json(walk: PacketWalk) -> dict[str, Any]:
    """What becomes of one packet."""
    return {
        "packet": format_packet(walk.packet),
        "hook": walk.packet.hook.name.lower(),
        "decided": walk.possibilities.decided,
        "complete": walk.possibilities.complete,
        "scheduler": walk.scheduler,
        "possibilities": [
            {
                "assumed": [{"what": what, "holds": holds} for what, holds in branch.assumed],
                "outcomes": [_outcome_json(share, walk) for share in branch.shares],
            }
            for branch in walk.possibilities.branches
        ],
    }


def _outcome_json(share: Share, walk: PacketWalk) -> dict[str, Any]:
    outcome = share.outcome
    source = None
    if outcome.source_after is not None:
        source = format_endpoint(outcome.source_after[0], outcome.source_after[1] or walk.packet.source_port)
    return {
        "verdict": outcome.verdict.name.lower() if outcome.verdict is not None else "not known",
        "destination": format_endpoint(outcome.destination, outcome.port),
        "probability": round(share.probability, 9) if walk.shares_known else None,
        "masquerade": outcome.masquerade,
        "source": source,
        "why": outcome.why,
    }
