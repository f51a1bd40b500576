"""What a user brings from a node: `iptables-save`, `nft list ruleset`, `ipset save`, `ipvsadm -Sn`, in one file or in several.

Each line tells what it belongs to, so files may hold several of them, one after the other. What svcsim does not know in a rule
stays as written and is listed with its place; a line that is none of these texts is a mistake, told with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from svcsim.errors import InputError, Problem
from svcsim.linux.ipset import IpSet, SetsReader
from svcsim.linux.ipvs.saved import Key, SavedService, ServicesReader
from svcsim.linux.netfilter.reading import TablesReader, rules_of
from svcsim.linux.netfilter.rules import Goto, Jump, NoVerdict, Rule, Table, UnknownMatch, UnknownTarget
from svcsim.linux.netfilter.save import BUILT_IN, family_of
from svcsim.linux.netfilter.target_options import NO_VERDICT
from svcsim.linux.nftables.dump import ListingError, TableDump, TableReader
from svcsim.linux.nftables.ruleset import RandomVerdict, UnknownExpression, UnknownStatement, Verdict

IPFamily = Literal["IPv4", "IPv6"]

MAX_PROBLEMS = 20
MAX_DEPTH = 128
"""Chains that lead from one to the next; nftables takes 16 (NFT_JUMP_STACK_SIZE), iptables as many as there are."""

_SERVICE_COMMANDS = ("-A ", "-a ", "--add-service ", "--add-server ")
_SERVICE_OPTIONS = ("-t", "-u", "-f", "--tcp-service", "--udp-service", "--sctp-service", "--fwmark-service")


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A part of a rule, or an object, that svcsim does not know: where it stands, and its text."""

    file: str
    line: int
    column: int
    text: str
    place: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text} (in {self.place})"


@dataclass(slots=True)
class Dump:
    """A node's state as read. `iptables` are tables by family, `tables` those of nftables; `sources`: which file held what."""

    iptables: dict[IPFamily, dict[str, Table]] = field(default_factory=dict)
    tables: list[TableDump] = field(default_factory=list)
    sets: dict[str, IpSet] = field(default_factory=dict)
    services: dict[Key, SavedService] = field(default_factory=dict)
    not_understood: list[NotUnderstood] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[str, ...]:
        """`iptables`, `nft`, `ipset`, `ipvsadm`: what there is."""
        found = {"iptables": self.iptables, "nft": self.tables, "ipset": self.sets, "ipvsadm": self.services}
        return tuple(name for name, there in found.items() if there)


def read(texts: Sequence[tuple[str, bytes]]) -> Dump:
    """The state that files (name, content) hold; InputError with every line that belongs to no such text."""
    dump = Dump()
    problems: list[Problem] = []
    for name, content in texts:
        reader = _FileReader(name, dump, problems)
        reader.read(content)
    if not problems and not dump.kinds and not dump.left_out:
        problems.append(Problem(texts[0][0] if texts else "-", 1, 1, "", f"there are no rules in it ({_WANTED} are read)"))
    if problems:
        raise InputError(problems[:MAX_PROBLEMS])
    return dump


_WANTED = "what iptables-save, nft list ruleset, ipset save and ipvsadm -Sn print"


class _FileReader:
    """Reads one file into a dump."""

    def __init__(self, name: str, dump: Dump, problems: list[Problem]) -> None:
        self.name = name
        self.dump = dump
        self.problems = problems
        self.lines: list[str] = []
        self.families: dict[int, IPFamily] = {}
        self.iptables: TablesReader | None = None
        self.blocks: list[TablesReader] = []
        self.hint: IPFamily | None = None
        self.hints: list[IPFamily | None] = []
        self.sets = SetsReader()
        self.sets.sets = dump.sets
        self.services = ServicesReader()
        self.services.services = dump.services
        self.nft: TableReader | None = None
        self.kinds: dict[str, None] = {}

    def read(self, content: bytes) -> None:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            bad_line = content.count(b"\n", 0, error.start) + 1
            column = error.start - content.rfind(b"\n", 0, error.start)
            self.problem(bad_line, f"not text in UTF-8: {_WANTED} are read", column)
            return
        self.lines = text.replace("\r\n", "\n").split("\n")
        for number, line in enumerate(self.lines, 1):
            if len(self.problems) >= MAX_PROBLEMS:
                return
            try:
                self.line(line.rstrip(), number)
            except ListingError as error:
                self.problem(error.line, str(error))
                self.nft = None
            except ValueError as error:
                self.problem(number, str(error))
        if self.nft is not None:
            self.problem(len(self.lines), "the table has no end: a '}' is missing")
        elif self.iptables is not None:
            self.problem(len(self.lines), "the table has no end: COMMIT is missing")
        self.settle()

    def problem(self, line: int, message: str, column: int = 1) -> None:
        shown = "".join(character if character.isprintable() else "?" for character in message)
        self.problems.append(Problem(self.name, line, column, "", shown if len(shown) <= 200 else f"{shown[:199]}…"))

    def line(self, line: str, number: int) -> None:
        if self.nft is not None:
            self.nft.line(line, number)
            self.listed()
        elif line.startswith("#") or not line:
            if line.startswith("# Generated by ip"):
                self.hint = "IPv6" if line.startswith("# Generated by ip6tables") else "IPv4"
        elif self.iptables is not None or line.startswith("*"):
            self.restored(line, number)
        elif line.startswith("table "):
            self.kinds["nft list ruleset"] = None
            self.nft = TableReader()
            self.nft.line(line, number)
        elif line.startswith(("create ", "add ")):
            self.kinds["ipset save"] = None
            self.sets.line(line)
        elif line.startswith(_SERVICE_COMMANDS) and line.split()[1:2] and line.split()[1] in _SERVICE_OPTIONS:
            self.kinds["ipvsadm -Sn"] = None
            self.services.line(line)
        else:
            hint = " (JSON is not read: bring what nft prints without -j)" if line.lstrip().startswith(("{", "[{")) else ""
            raise ValueError(f"not a line of {_WANTED.removeprefix('what ').removesuffix(' print')}: {line[:60]!r}{hint}")

    def listed(self) -> None:
        assert self.nft is not None
        if not self.nft.done:
            return
        if self.nft.table is not None:
            table = self.nft.table
            self.dump.tables.append(table)
            self.unknown_of(table)
            _check_circle(self, table.name, _nft_graph(table), table.line)
        else:
            self.dump.left_out.append(self.nft.foreign)
        self.nft = None

    def unknown_of(self, table: TableDump) -> None:
        missing: list[tuple[int, str]] = []
        for name, chain in table.chains.items():
            for rule in chain.rules:
                for expression in rule.expressions:
                    line = rule.written.line if rule.written is not None else table.line
                    if isinstance(expression, UnknownExpression | UnknownStatement):
                        self.note(line, expression.text, f"{table.table_family} {table.name} {name}")
                    verdicts: tuple[Verdict, ...] = (expression,) if isinstance(expression, Verdict) else ()
                    if isinstance(expression, RandomVerdict):
                        verdicts = expression.verdicts
                    missing += [(line, each.chain) for each in verdicts if each.chain and each.chain not in table.chains]
        for line, chain_name in missing:
            self.problem(line, f"there is no chain {chain_name} in table {table.name}")
        for elements in table.elements.values():
            for element in elements.values():
                verdict = element.verdict
                if verdict is not None and verdict.chain and verdict.chain not in table.chains:
                    self.problem(table.line, f"there is no chain {verdict.chain} in table {table.name}")
        for line, what in table.left_out:
            self.note(line, what, f"{table.table_family} {table.name}")

    def restored(self, line: str, number: int) -> None:
        if self.iptables is None:
            self.iptables = TablesReader()
            self.kinds["iptables-save"] = None
            self.hints.append(self.hint)
            self.blocks.append(self.iptables)
        self.iptables.line(line, number)
        if line == "COMMIT":
            self.iptables = None

    def settle(self) -> None:
        """Sort the tables of iptables by family, and see what is not known in them."""
        guessed = [family_of(block.tables()) for block in self.blocks]
        known = [hint or guess for hint, guess in zip(self.hints, guessed, strict=True)]
        fallback = next((family for family in known if family is not None), None)
        for block, family in zip(self.blocks, known, strict=True):
            into = self.dump.iptables.setdefault(family or fallback or "IPv4", {})
            for name, table in block.tables().items():
                settled = _settled(table, BUILT_IN.get(name, ()))
                for _, chain, _, rule in rules_of({name: settled}):
                    self.unknown_in(rule, f"{name} {chain}")
                into[name] = _together(into[name], settled) if name in into else settled
                _check_circle(self, name, _iptables_graph(settled), 1)
        self.dump.sources += [(self.name, kind) for kind in self.kinds]

    def unknown_in(self, rule: Rule, place: str) -> None:
        if rule.written is None or rule.understood:
            return
        line = rule.written.line
        for match in rule.matches:
            if isinstance(match, UnknownMatch):
                self.note(line, match.text, place)
        if isinstance(rule.target, UnknownTarget):
            self.note(line, f"-j {rule.target.text}", place)

    def note(self, line: int, text: str, place: str) -> None:
        column = self.lines[line - 1].find(text) + 1 if 0 < line <= len(self.lines) else 0
        self.dump.not_understood.append(NotUnderstood(self.name, line, max(column, 1), text, place))


def _settled(table: Table, built_in: Sequence[str]) -> Table:
    """Targets that are no chain of the table are extensions: those after which a packet goes on, and those that are not known."""

    def rule(given: Rule) -> Rule:
        target = given.target
        if not isinstance(target, Jump | Goto) or target.chain in table.chains or target.chain in built_in:
            return given
        if target.chain in NO_VERDICT:
            return replace(given, target=NoVerdict(target.chain))
        return replace(given, target=UnknownTarget(target.chain))

    return Table({name: tuple(map(rule, rules)) for name, rules in table.chains.items()}, table.policies)


def _together(one: Table, other: Table) -> Table:
    chains = dict(one.chains)
    for name, rules in other.chains.items():
        chains[name] = chains.get(name, ()) + rules
    return Table(chains, {**one.policies, **other.policies})


Graph = Mapping[str, Sequence[str]]


def _iptables_graph(table: Table) -> Graph:
    return {
        name: [rule.target.chain for rule in rules if isinstance(rule.target, Jump | Goto)]
        for name, rules in table.chains.items()
    }


def _nft_graph(table: TableDump) -> Graph:
    by_map = {
        name: [each.verdict.chain for each in elements.values() if each.verdict is not None and each.verdict.chain]
        for name, elements in table.elements.items()
    }

    def targets(expressions: Sequence[object]) -> Iterator[str]:
        for each in expressions:
            if isinstance(each, Verdict) and each.chain:
                yield each.chain
            elif isinstance(each, RandomVerdict):
                yield from (verdict.chain for verdict in each.verdicts if verdict.chain)
            elif hasattr(each, "map_name"):
                yield from by_map.get(each.map_name, ())

    return {name: [to for rule in chain.rules for to in targets(rule.expressions)] for name, chain in table.chains.items()}


def _check_circle(reader: _FileReader, table: str, graph: Graph, line: int) -> None:
    """No kernel takes chains that lead back to themselves, and no walk would end."""
    ended: set[str] = set()
    for start in graph:
        under_way: dict[str, Iterator[str]] = {start: iter(graph[start])} if start not in ended else {}
        while under_way:
            name, rest = next(reversed(under_way.items()))
            to = next(rest, None)
            if to is None:
                ended.add(name)
                del under_way[name]
            elif to in under_way:
                reader.problem(line, f"chain {to} of table {table} leads back to itself")
                return
            elif to not in ended and to in graph:
                if len(under_way) > MAX_DEPTH:
                    reader.problem(line, f"chains of table {table} lead from one to the next more than {MAX_DEPTH} times")
                    return
                under_way[to] = iter(graph[to])
