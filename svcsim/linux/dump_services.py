"""The Services that a dump has been programmed for: names as far as rules tell them, where they answer, and their endpoints.

Taken from the layout of kube-proxy's rules: jumps of nat KUBE-SERVICES and refusals of filter KUBE-SERVICES (iptables), portals
(userspace), the maps `service-ips` and `no-endpoint-services` (nftables), virtual services (IPVS).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from svcsim.linux.dump import Dump
from svcsim.linux.netfilter.rules import (
    Comment,
    Destination,
    DestinationPort,
    Dnat,
    Drop,
    Goto,
    Jump,
    Protocol,
    Redirect,
    Reject,
    Rule,
    Table,
)
from svcsim.linux.nftables.dump import TableDump
from svcsim.linux.nftables.ruleset import DnatStatement, RandomVerdict, Verdict

_NAME = re.compile(r"^(\S+/\S+)")
_CHAIN_NAME = re.compile(r"^(?:service|external|firewall)-[A-Z0-9]{8}-(.+)$")


@dataclass(frozen=True, slots=True)
class DumpedService:
    """One address and port of a Service: `name` may be empty; `refused` tells that it has no endpoints."""

    name: str
    address: int
    protocol: int
    port: int
    endpoints: tuple[tuple[int, int], ...] = ()
    refused: bool = False
    by: str = ""


def services_of(dump: Dump) -> list[DumpedService]:
    """All of them, sorted by name and address; a destination stands once."""
    found: dict[tuple[int, int, int], DumpedService] = {}
    for each in _all(dump):
        key = (each.address, each.protocol, each.port)
        known = found.get(key)
        if known is None or (known.refused and not each.refused):
            found[key] = each
        elif not known.name and each.name:
            found[key] = replace(known, name=each.name)
    return sorted(found.values(), key=lambda one: (one.name, one.address, one.protocol, one.port))


def _all(dump: Dump) -> Iterator[DumpedService]:
    for tables in dump.iptables.values():
        if "nat" in tables:
            yield from _listed(tables["nat"])
        if "filter" in tables:
            yield from _refused(tables["filter"])
    for table in dump.tables:
        yield from _mapped(table)
    for service in dump.services.values():
        if not service.fwmark:
            endpoints = tuple((server.address, server.port) for server in service.servers if server.weight)
            yield DumpedService("", service.address, service.protocol, service.port, endpoints, not endpoints, service.scheduler)


def _place(rule: Rule) -> tuple[str, int, int, int] | None:
    """Name, address, protocol and port that a rule of a list of Services is for."""
    name, address, protocol, port = "", -1, 0, -1
    for match in rule.matches:
        match match:
            case Comment(text):
                named = _NAME.match(text)
                name = named[1] if named else ""
            case Destination(block, False) if block.length == block.bits:
                address = block.base
            case Protocol(number, False):
                protocol = number
            case DestinationPort(number):
                port = number
    return (name, address, protocol, port) if address >= 0 and port >= 0 and protocol else None


def _listed(nat: Table) -> Iterator[DumpedService]:
    memory: dict[str, tuple[tuple[int, int], ...]] = {}
    for chain in ("KUBE-SERVICES", "KUBE-PORTALS-CONTAINER"):
        for rule in nat.chains.get(chain, ()):
            place = _place(rule)
            if place is None:
                continue
            if isinstance(rule.target, Redirect):
                yield DumpedService(*place, by=f"kube-proxy's port {rule.target.port}")
            elif isinstance(rule.target, Jump | Goto) and rule.target.chain != "KUBE-MARK-MASQ":
                yield DumpedService(*place, endpoints=_endpoints(nat, rule.target.chain, memory))


def _endpoints(
    nat: Table, start: str, memory: dict[str, tuple[tuple[int, int], ...]]
) -> tuple[tuple[int, int], ...]:
    """Where the chains from one on translate to."""
    if start in memory:
        return memory[start]
    found: dict[tuple[int, int], None] = {}
    waiting, seen = [start], {start}
    while waiting:
        for rule in nat.chains.get(waiting.pop(), ()):
            if isinstance(rule.target, Dnat):
                found[rule.target.address, rule.target.port] = None
            elif isinstance(rule.target, Jump | Goto) and rule.target.chain not in seen:
                seen.add(rule.target.chain)
                waiting.append(rule.target.chain)
    memory[start] = tuple(sorted(found))
    return memory[start]


def _refused(filter_table: Table) -> Iterator[DumpedService]:
    for chain in ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"):
        for rule in filter_table.chains.get(chain, ()):
            place = _place(rule)
            if place is not None and isinstance(rule.target, Reject | Drop):
                yield DumpedService(*place, refused=True)


def _mapped(table: TableDump) -> Iterator[DumpedService]:
    memory: dict[str, tuple[tuple[int, int], ...]] = {}
    for name, refused in (("service-ips", False), ("no-endpoint-services", True)):
        for key, element in table.elements.get(name, {}).items():
            if len(key) != 3 or element.verdict is None:
                continue
            named = _CHAIN_NAME.match(element.verdict.chain)
            words = element.comment or (_service_name(named[1]) if named else "")
            endpoints = () if refused else _translated(table, element.verdict.chain, memory)
            yield DumpedService(words, key[0], key[1], key[2], endpoints, refused)


def _service_name(text: str) -> str:
    """`default/web/tcp/http` is port http of web."""
    parts = text.split("/")
    return f"{parts[0]}/{parts[1]}" + (f":{parts[3]}" if len(parts) > 3 and parts[3] else "") if len(parts) > 1 else text


def _translated(
    table: TableDump, start: str, memory: dict[str, tuple[tuple[int, int], ...]]
) -> tuple[tuple[int, int], ...]:
    if start in memory:
        return memory[start]
    found: dict[tuple[int, int], None] = {}
    waiting, seen = [start], {start}
    while waiting:
        chain = table.chains.get(waiting.pop())
        for rule in chain.rules if chain is not None else ():
            for expression in rule.expressions:
                if isinstance(expression, DnatStatement):
                    found[expression.address, expression.port] = None
                verdicts = expression.verdicts if isinstance(expression, RandomVerdict) else (expression,)
                for verdict in verdicts:
                    if isinstance(verdict, Verdict) and verdict.chain and verdict.chain not in seen:
                        seen.add(verdict.chain)
                        waiting.append(verdict.chain)
    memory[start] = tuple(sorted(found))
    return memory[start]


def count_of_rules(tables: Mapping[str, Table]) -> tuple[int, int]:
    """Rules and chains of some tables."""
    chains = [rules for table in tables.values() for rules in table.chains.values()]
    return sum(map(len, chains)), len(chains)
