"""The text of `iptables-save`: options in the order in which the tools print them, tables and chains in the kernel's.

Addresses, interfaces and the protocol come first, then each match in the order of the rule; a protocol's ports stand where its
match was loaded. Built-in chains come in the order of hooks, others by name. Checked against iptables 1.8.9, legacy and nft.
Sources: iptables 1.8 iptables/iptables-save.c, iptables/iptables.c (`print_rule4`), libxtables/xtables.c (`xtables_save_string`),
iptables/nft.c (order of tables).

>>> from svcsim.linux.netfilter.reading import parse_rule
>>> save_rule(parse_rule("-m comment --comment web -m tcp -p tcp -d 10.96.0.1 --dport 80 -j KUBE-SVC-X"))
'-d 10.96.0.1/32 -p tcp -m comment --comment web -m tcp --dport 80 -j KUBE-SVC-X'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from svcsim.linux.address import is_ipv6
from svcsim.linux.netfilter.rules import (
    Comment,
    ConnectionMark,
    ConntrackState,
    Destination,
    DestinationPort,
    InInterface,
    Mark,
    Match,
    OutInterface,
    Ports,
    Protocol,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    Ruleset,
    SetMark,
    Source,
    Statistic,
    Table,
    Target,
    TcpFlags,
)
from svcsim.linux.netfilter.text import match_text, ports_text, protocol_text, target_words

Backend = Literal["legacy", "nft"]

BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The chains that each table is born with."""

_TABLE_ORDER: Mapping[Backend, tuple[str, ...]] = {
    "legacy": ("security", "raw", "mangle", "nat", "filter"),
    "nft": ("mangle", "security", "raw", "filter", "nat"),
}
"""The legacy tool prints the table first that was used last, which depends on the host; kube-proxy begins with filter."""

_UNQUOTED = re.compile(r"[-_0-9A-Za-z]+")
_ESCAPED = re.compile(r"([\"\\'])")
_FIRST: tuple[type[Match], ...] = (Source, Destination, InInterface, OutInterface)
_ALL_BITS = 0xFFFFFFFF
_STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")


def canonical(rule: Rule) -> Rule:
    """The rule with its matches in the order in which `iptables-save` prints them, without blocks that hold every address.

    It means the same.
    """
    first = [match for kind in _FIRST for match in rule.matches if isinstance(match, kind) and not _is_any(match)]
    rest = [_in_order(match) for match in rule.matches if not isinstance(match, _FIRST)]
    ports = [match for match in rest if _is_of_protocol(match)]
    if ports:
        rest = [match for match in rest if not _is_of_protocol(match)]
        at = next((place for place, match in enumerate(rest) if isinstance(match, Protocol)), -1)
        rest[at + 1 : at + 1] = ports
    bare = [match for match in rest if isinstance(match, Protocol) and match.bare]
    return Rule((*first, *bare, *(match for match in rest if match not in bare)), rule.target, rule.written)


def _in_order(match: Match) -> Match:
    """States of connections come in the kernel's order."""
    if not isinstance(match, ConntrackState):
        return match
    known = [state for state in _STATES if state in match.states]
    return ConntrackState((*known, *(state for state in match.states if state not in _STATES)), match.negated)


def _is_any(match: Match) -> bool:
    return isinstance(match, Source | Destination) and match.block.length == 0 and not match.negated


def _is_of_protocol(match: Match) -> bool:
    return isinstance(match, DestinationPort | TcpFlags) or (isinstance(match, Ports) and not match.multiport)


def save_rule(rule: Rule, *, ipv6: bool = False) -> str:
    """A rule as `iptables-save` prints it, without its chain."""
    matches = canonical(rule).matches
    words = [_match(match, ipv6=ipv6) for match in matches if isinstance(match, _FIRST)]
    words += [_protocol(match) for match in matches if isinstance(match, Protocol)]
    for match in matches:
        if isinstance(match, Protocol):
            if not match.bare:
                words.append(f"-m {protocol_text(match.number)}")
        elif not isinstance(match, _FIRST):
            words.append(_match(match, ipv6=ipv6))
    if rule.target is not None:
        words.append(_target(rule.target, ipv6=ipv6))
    return " ".join(words)


def quoted(text: str) -> str:
    """A string as `iptables-save` quotes it."""
    return text if _UNQUOTED.fullmatch(text) else '"' + _ESCAPED.sub(r"\\\1", text) + '"'


def _protocol(match: Protocol) -> str:
    return f"{'! ' if match.negated else ''}-p {protocol_text(match.number)}"


def _match(match: Match, *, ipv6: bool) -> str:
    mask = ":".join(["ffff"] * 8) if ipv6 else "255.255.255.255"
    match match:
        case Source(block, negated):
            return f"{'! ' if negated else ''}-s {block}"
        case Destination(block, negated):
            return f"{'! ' if negated else ''}-d {block}"
        case Comment(text):
            return f"-m comment --comment {quoted(text)}"
        case Mark(value, bits, negated):
            return f"-m mark {'! ' if negated else ''}--mark {_masked(value, bits)}"
        case ConnectionMark(value, bits, negated):
            return f"-m connmark {'! ' if negated else ''}--mark {_masked(value, bits)}"
        case Statistic():
            return f"-m statistic --mode random --probability {match.effective:.11f}"
        case RecentCheck(name, seconds, reap):
            options = f"--rcheck --seconds {seconds}{' --reap' if reap else ''}"
            return f"-m recent {options} --name {quoted(name)} --mask {mask} --rsource"
        case RecentSet(name):
            return f"-m recent --set --name {quoted(name)} --mask {mask} --rsource"
        case Ports(multiport=True):
            return f"-m multiport {ports_text(match)}"
    return match_text(match)


def _masked(value: int, mask: int) -> str:
    return f"{value:#x}" if mask == _ALL_BITS else f"{value:#x}/{mask:#x}"


def _target(target: Target, *, ipv6: bool) -> str:
    match target:
        case Reject(""):
            return f"-j REJECT --reject-with {'icmp6' if ipv6 else 'icmp'}-port-unreachable"
        case SetMark("or", value):
            return f"-j MARK --set-xmark {value:#x}/{value:#x}"
        case SetMark("xor", value):
            return f"-j MARK --set-xmark {value:#x}/0x0"
    return target_words(target)


def chain_order(table: str, chains: Mapping[str, object]) -> list[str]:
    """The chains of a table as they are listed: all built-in ones, whether given or not, then the others by name."""
    built_in = BUILT_IN.get(table, ())
    return [*built_in, *sorted(name for name in chains if name not in built_in)]


def save_table(name: str, table: Table, *, ipv6: bool = False, counters: bool = False) -> Iterator[str]:
    """The lines of one table, from `*nat` to `COMMIT`; `counters` are those of `iptables-save -c`, all 0."""
    yield f"*{name}"
    ordered = chain_order(name, table.chains)
    built_in = BUILT_IN.get(name, ())
    for chain in ordered:
        yield f":{chain} {table.policies.get(chain, 'ACCEPT' if chain in built_in else '-')} [0:0]"
    head = "[0:0] " if counters else ""
    for chain in ordered:
        for rule in table.chains.get(chain, ()):
            yield f"{head}-A {chain} {save_rule(rule, ipv6=ipv6)}".rstrip()
    yield "COMMIT"


def save(
    ruleset: Ruleset, *, backend: Backend = "legacy", ipv6: bool = False, counters: bool = False, header: str = ""
) -> str:
    """All tables as `iptables-save` prints them; `header` is a comment before each table, as the tool's own."""
    known = _TABLE_ORDER[backend]
    names = sorted(ruleset, key=lambda name: (known.index(name) if name in known else len(known), name))
    lines: list[str] = []
    for name in names:
        lines += [f"# {header}"] if header else []
        lines += save_table(name, ruleset[name], ipv6=ipv6, counters=counters)
    return "".join(f"{line}\n" for line in lines)


def family_of(ruleset: Ruleset) -> Literal["IPv4", "IPv6"] | None:
    """The family of the addresses in the rules; None if there are none."""
    for table in ruleset.values():
        for rules in table.chains.values():
            for rule in rules:
                for match in rule.matches:
                    if isinstance(match, Source | Destination):
                        return "IPv6" if is_ipv6(match.block.base) else "IPv4"
                    if isinstance(match, Protocol) and match.number in (1, 58):
                        return "IPv6" if match.number == 58 else "IPv4"
    return None

