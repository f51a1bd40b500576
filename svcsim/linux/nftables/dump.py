"""Any `nft list ruleset`: all tables of the host, whoever wrote them, as far as svcsim knows their rules.

Tables of families that routed packets don't pass (arp, bridge, netdev) are left out, and so are objects other than sets,
maps and chains. A set whose elements are not understood turns the rules that ask it into ones that are not understood.
Source: nft(8); nftables src/rule.c (`table_print`, `set_print`, `chain_print`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.nftables.dynamic import DynamicSet
from svcsim.linux.nftables.listing import parse_priority, parse_time
from svcsim.linux.nftables.rule_text import RuleTextError, key_types, parse_key
from svcsim.linux.nftables.ruleset import (
    BaseHook,
    Chain,
    ChainType,
    Element,
    Expression,
    Family,
    HookName,
    Key,
    MapVerdict,
    Rule,
    Ruleset,
    SetDeclaration,
    SetMatch,
    TableFamily,
    UnknownExpression,
    UnknownStatement,
    UpdateStatement,
)
from svcsim.linux.nftables.text import parse_verdict
from svcsim.linux.nftables.walk import chains_at_hook
from svcsim.linux.nftables.words import prefixes_of, read_rule

OPENING = re.compile(r"^table (?:(\w+) )?(\S+) \{(?: # handle \d+)?$")
"""The first line of a table in a listing."""

_BLOCK = re.compile(r"^(set|map|chain) (\S+) \{(?: # handle \d+)?$")
_HOOK = re.compile(r"^type (\w+) hook (\w+)(?: device \S+)? priority ([^;]+);(?: policy (\w+);)?$")
_QUOTED = re.compile(r'"[^"]*"')
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_QUOTED_OR_COMMA = re.compile(r'("[^"]*")|,')
_EXPIRES = re.compile(r"\s+(?:timeout \S+\s+)?expires (\S+)")
_KNOWN_KINDS = frozenset({"ipv4_addr", "ipv6_addr", "inet_proto", "inet_service"})


class ListingError(ValueError):
    """Text that is no listing: the line, from 1, and what is wrong."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class TableDump:
    """One table; implements `svcsim.linux.nftables.walk.TableView`.

    `blocks` are the elements of interval sets, `remembered` those of dynamic sets with the seconds that each has left. A table
    that is `dormant` decides nothing.
    """

    table_family: TableFamily
    name: str
    line: int
    sets: dict[str, SetDeclaration] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    elements: dict[str, dict[Key, Element]] = field(default_factory=dict)
    blocks: dict[str, list[Prefix]] = field(default_factory=dict)
    remembered: dict[str, dict[int, int]] = field(default_factory=dict)
    dormant: bool = False
    comment: str = ""
    left_out: list[tuple[int, str]] = field(default_factory=list)
    dynamic_sets: dict[str, DynamicSet] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        """The family of addresses in the texts of its rules."""
        return "ip6" if self.table_family == "ip6" else "ip"

    def at_hook(self, hook: HookName) -> list[Chain]:
        """Base chains of a hook, by priority."""
        return [] if self.dormant else chains_at_hook(self.chains, hook)

    def chain(self, name: str, within: Element | None) -> Chain:
        """A chain by name."""
        return self.chains[name]

    def declaration(self, set_name: str) -> SetDeclaration:
        """A set or map by name."""
        return self.sets[set_name]

    def element(self, set_name: str, key: Key) -> Element | None:
        """The element of a set or map with this key; that of an interval set whose block holds it."""
        found = self.elements.get(set_name, {}).get(key)
        if found is None and any(key[0] in block for block in self.blocks.get(set_name, ())):
            return Element(set_name, key)
        return found

    def dynamic(self, set_name: str, within: Element | None) -> DynamicSet | None:
        """The elements of a dynamic set; None if the set is not dynamic."""
        declaration = self.sets[set_name]
        if declaration.dynamic and set_name not in self.dynamic_sets:
            made = self.dynamic_sets[set_name] = DynamicSet((declaration.timeout_s or 0) * 1_000_000_000)
            made.expiry_ns = {
                address: seconds * 1_000_000_000 for address, seconds in self.remembered.get(set_name, {}).items()
            }
        return self.dynamic_sets.get(set_name)

    def fresh(self) -> TableDump:
        """The same, as before any packet."""
        return replace(self, dynamic_sets={})

    def ruleset(self) -> Ruleset:
        """The table as `svcsim.linux.nftables.listing` has it; only for a table of which everything is understood."""
        return Ruleset(self.family, self.name, self.comment, self.sets, self.chains, self.elements)


class TableReader:
    """Takes the lines of one table, from its first one on; `done` once it has its last one."""

    def __init__(self) -> None:
        self.table: TableDump | None = None
        self.foreign = ""
        self.done = False
        self._depth = 0
        self._block: tuple[str, str] | None = None
        self._lines: list[tuple[int, str]] = []
        self._first = 0

    def line(self, text: str, number: int) -> None:
        """One line; ListingError if a listing has none such."""
        text = text.rstrip()
        bare = _QUOTED.sub("", text)
        opens, closes = bare.count("{"), bare.count("}")
        if self._depth == 0:
            self._open(text, number)
            return
        self._depth += opens - closes
        stripped = text.strip("\t")
        if self._depth < 0 or (self._depth == 0 and stripped != "}"):
            raise ListingError(number, "a brace closes what is not open")
        if self._depth == 0:
            self.done = True
            if self.table is not None:
                _settle(self.table)
        elif self._block is not None:
            if self._depth == 1:
                self._close()
            else:
                self._lines.append((number, stripped))
        elif opens > closes:
            found = _BLOCK.match(stripped)
            self._block = (found[1], found[2]) if found else ("", stripped)
            self._first = number
            if not found and self.table is not None:
                self.table.left_out.append((number, stripped.removesuffix("{").strip()))
        elif self.table is not None and stripped:
            self._property(stripped, number)

    def _open(self, text: str, number: int) -> None:
        found = OPENING.match(text)
        if not found:
            raise ListingError(number, f"a table of a listing begins as 'table ip NAME {{' (got {text[:60]!r})")
        self._first, self._depth = number, 1
        family = found[1] or "ip"
        if family in ("ip", "ip6", "inet"):
            self.table = TableDump(cast(TableFamily, family), found[2], number)
        else:
            self.foreign = f"table {family} {found[2]}"

    def _property(self, text: str, number: int) -> None:
        assert self.table is not None
        if text.startswith("comment "):
            self.table.comment = text.removeprefix("comment ").strip('"')
        elif text.startswith("flags "):
            self.table.dormant = "dormant" in text
        elif not text.startswith("#"):
            raise ListingError(number, f"not a line of a table: {text[:60]!r}")

    def _close(self) -> None:
        assert self._block is not None
        (kind, name), lines, table = self._block, self._lines, self.table
        self._block, self._lines = None, []
        if table is None or not kind:
            return
        if kind == "chain":
            table.chains[name] = _chain(table, name, lines)
        else:
            _set(table, name, kind == "map", lines)


def _joined(lines: Iterable[tuple[int, str]]) -> Iterable[tuple[int, str]]:
    """Lines, with those of which braces are still open put together."""
    number, text, depth = 0, "", 0
    for at, line in lines:
        number, text = (at, line) if not text else (number, f"{text} {line.strip()}")
        bare = _QUOTED.sub("", line)
        depth += bare.count("{") - bare.count("}")
        if depth <= 0:
            yield number, text
            text, depth = "", 0
    if text:
        yield number, text


def _chain(table: TableDump, name: str, lines: list[tuple[int, str]]) -> Chain:
    base, comment, rules = None, "", list[Rule]()
    for number, text in _joined(lines):
        hooked = _HOOK.match(text)
        if hooked:
            base = _base(hooked)
            if base is None:
                table.left_out.append((number, f"chain {name} at {hooked[1]} {hooked[2]}"))
        elif text.startswith("comment ") and not rules:
            comment = text.removeprefix("comment ").strip('"')
        elif text and not text.lstrip().startswith("#"):
            rules.append(read_rule(text, table.table_family, number))
    return Chain(name, tuple(rules), base, comment)


def _base(hooked: re.Match[str]) -> BaseHook | None:
    """Where a base chain is hooked; None where routed packets don't pass, or that is not understood."""
    kind, hook, priority, policy = hooked[1], hooked[2], hooked[3], hooked[4] or "accept"
    if kind not in ("filter", "nat", "route") or hook not in _HOOKS or policy not in ("accept", "drop"):
        return None
    try:
        number = parse_priority(priority.strip())
    except ValueError:
        return None
    return BaseHook(cast(ChainType, kind), cast(HookName, hook), number, cast(Literal["accept", "drop"], policy))


def _set(table: TableDump, name: str, is_map: bool, lines: list[tuple[int, str]]) -> None:
    values: dict[str, str] = {}
    for _, text in _joined(lines):
        key, _, value = text.partition(" ")
        values[key] = value
    types, verdicts = key_types(values.get("type", values.get("typeof", "")))
    timeout = parse_time(values["timeout"]) if "timeout" in values else None
    dynamic = "dynamic" in values.get("flags", "")
    table.sets[name] = SetDeclaration(name, types, is_map, dynamic, timeout, values.get("comment", "").strip('"'))
    try:
        if not set(types) <= _KNOWN_KINDS or (is_map and not verdicts):
            raise RuleTextError(f"the type of {name}")
        _elements(table, table.sets[name], values.get("elements", ""), interval="interval" in values.get("flags", ""))
    except (ValueError, IndexError):
        table.left_out.append((lines[0][0] - 1 if lines else table.line, f"the elements of {name}"))
        table.sets.pop(name)


def _elements(table: TableDump, declaration: SetDeclaration, text: str, *, interval: bool) -> None:
    inside = text.partition("{")[2].rpartition("}")[0].strip()
    if not inside:
        return
    name = declaration.name
    for part in _QUOTED_OR_COMMA.sub(lambda found: found[1] or "\0", inside).split("\0"):
        part = " ".join(part.split())
        if declaration.dynamic:
            expires = _EXPIRES.search(part)
            address = parse_address(part.split()[0])
            table.remembered.setdefault(name, {})[address] = parse_time(expires[1]) if expires else 1 << 31
        elif interval and not declaration.is_map and len(declaration.key_types) == 1:
            table.blocks.setdefault(name, []).extend(prefixes_of(part.split()[0]))
        else:
            element = _element(part, declaration)
            table.elements.setdefault(name, {})[element.key] = element


def _element(text: str, declaration: SetDeclaration) -> Element:
    comment = re.search(r'comment "([^"]*)"', text)
    if comment:
        text = " ".join(text.replace(comment[0], "", 1).split())
    text = re.sub(r" counter packets \d+ bytes \d+", "", text)
    key, _, verdict = text.partition(" : ") if declaration.is_map else (text, "", "")
    return Element(
        declaration.name, parse_key(key.strip(), declaration.key_types),
        parse_verdict(verdict.strip()) if declaration.is_map else None, comment[1] if comment else "",
    )


def _settle(table: TableDump) -> None:
    """Rules that ask what the table does not have, or that was not understood, are not understood either."""
    for name, chain in table.chains.items():
        rules = tuple(replace(rule, expressions=tuple(_asked(table, each) for each in rule.expressions)) for rule in chain.rules)
        table.chains[name] = replace(chain, rules=rules)


def _asked(table: TableDump, expression: Expression) -> Expression:
    match expression:
        case SetMatch(field=name, set_name=set_name) if set_name not in table.sets:
            return UnknownExpression(f"{table.family} {name} @{set_name}")
        case UpdateStatement(set_name=set_name) if set_name not in table.sets or not table.sets[set_name].dynamic:
            return UnknownStatement(f"update @{set_name}")
        case MapVerdict(map_name=map_name, fields=fields) if (
            map_name not in table.sets or len(table.sets[map_name].key_types) != len(fields)
        ):
            return UnknownStatement(f"vmap @{map_name}")
    return expression


def parse(text: str) -> list[TableDump]:
    """The tables of a listing that routed packets pass; ListingError if it is none."""
    tables: list[TableDump] = []
    reader: TableReader | None = None
    number = 0
    for number, line in enumerate(text.splitlines(), 1):
        if reader is None:
            if not line.strip() or line.startswith("#"):
                continue
            reader = TableReader()
        reader.line(line, number)
        if reader.done:
            tables += [reader.table] if reader.table is not None else []
            reader = None
    if reader is not None:
        raise ListingError(number, "the table has no end")
    return tables
