"""Reading rules of iptables: what kube-proxy hands to `iptables-restore`, and what `iptables-save` prints of any host's rules.

A part of a rule that svcsim does not know becomes an `UnknownMatch` or `UnknownTarget` with its text; `strict` readers refuse it.
Sources: iptables-extensions(8); iptables 1.8 iptables/iptables-restore.c, libxtables/xtables.c (`xtables_save_string`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from svcsim.linux.netfilter.match_options import LONG_OPTIONS, option_match, recent_match
from svcsim.linux.netfilter.rule_words import Words
from svcsim.linux.netfilter.rules import Goto, Match, Protocol, Rule, Table, Target, UnknownMatch, UnknownTarget, Written
from svcsim.linux.netfilter.target_options import read_target
from svcsim.linux.protocols import PROTOCOLS

_PROTOCOL_MODULES = ("tcp", "udp", "sctp", "dccp", "udplite")
_MODULES = frozenset({
    "addrtype", "comment", "connmark", "conntrack", "ipvs", "mark", "multiport", "nfacct", "physdev", "recent", "set", "state",
    "statistic", *_PROTOCOL_MODULES,
})


class _Reader:
    """Reads one rule."""

    def __init__(self, text: str) -> None:
        self.words = Words(text)
        self.matches: list[Match] = []
        self.target: Target | None = None
        self.module = ""

    def rule(self) -> Rule:
        words = self.words
        while words.more():
            start = words.at
            negated = words.skip("!")
            word = words.take()
            word = LONG_OPTIONS.get(word, word)
            if word == "-m":
                self.load(start)
            elif word == "-j":
                self.target = read_target(words)
            elif word == "-g":
                self.target = Goto(words.take())
            else:
                self.option(word, start, negated=negated)
        return Rule(tuple(self.matches), self.target)

    def load(self, start: int) -> None:
        words = self.words
        self.module = words.take()
        if self.module == "recent":
            at = words.at
            try:
                self.matches.append(recent_match(words))
            except ValueError:
                words.at = at
                self.unknown_module(start)
        elif self.module in _PROTOCOL_MODULES:
            self.place_protocol(PROTOCOLS[self.module])
        elif self.module not in _MODULES:
            self.unknown_module(start)

    def unknown_module(self, start: int) -> None:
        self.words.to_next_match()
        self.matches.append(UnknownMatch(self.words.between(start, self.words.at)))

    def place_protocol(self, number: int) -> None:
        """`-m tcp` after `-p tcp`: the match of the protocol stands here. Before it: `-p` will find it."""
        for place, match in enumerate(self.matches):
            if isinstance(match, Protocol) and match.number == number and match.bare and not match.negated:
                del self.matches[place]
                self.matches.append(Protocol(number))
                return
        if not any(isinstance(match, Protocol) for match in self.matches):
            self.matches.append(Protocol(number))

    def option(self, option: str, start: int, *, negated: bool) -> None:
        words = self.words
        if not words.more() and option not in ("--physdev-is-in",):
            raise ValueError(f"the rule ends early: {words.text}")
        try:
            match = option_match(option, self.module, words, negated=negated)
        except ValueError:
            words.at = start + 1 + negated
            words.to_next_option()
            match = UnknownMatch(words.between(start, words.at))
        if isinstance(match, Protocol) and any(isinstance(each, Protocol) and not each.bare for each in self.matches):
            return  # `-m tcp -p tcp`
        if match is not None:
            self.matches.append(match)


def read_rule(text: str) -> Rule:
    """The rule that a text (without `-A CHAIN`) says, with what is not known in it as written.

    ValueError for a text that ends in the middle.
    """
    return _Reader(text).rule()


def parse_rule(text: str) -> Rule:
    """The same, but ValueError for what svcsim does not know."""
    rule = read_rule(text)
    unknown = [match.text for match in rule.matches if isinstance(match, UnknownMatch)]
    if isinstance(rule.target, UnknownTarget):
        unknown.append(f"-j {rule.target.text}")
    if unknown:
        raise ValueError(f"svcsim does not know {unknown[0]} in a rule: {text}")
    return rule


class TablesReader:
    """Takes the lines of an iptables-restore or iptables-save text one by one; a table that stands twice goes on where it was."""

    def __init__(self, read: Callable[[str], Rule] = read_rule) -> None:
        self.chains: dict[str, dict[str, list[Rule]]] = {}
        self.policies: dict[str, dict[str, str]] = {}
        self.table = ""
        self._read = read

    def line(self, line: str, number: int = 0) -> None:
        """One line; ValueError if it is none of such a text."""
        if not line or line.startswith("#") or line == "COMMIT":
            return
        if line.startswith("*"):
            self.table = line[1:].strip()
            self.chains.setdefault(self.table, {})
            self.policies.setdefault(self.table, {})
        elif not self.table:
            raise ValueError(f"a line before any table: {line}")
        elif line.startswith(":"):
            name, policy, *_ = (*line[1:].split(), "", "")
            if not name or not policy:
                raise ValueError(f"a chain is declared as ':NAME POLICY [0:0]': {line}")
            self.chains[self.table].setdefault(name, [])
            if policy != "-":
                self.policies[self.table][name] = policy
        elif (line.startswith("[") and "] -A " in line) or line.startswith("-A "):
            self._append(line, number)
        elif line.startswith("-X "):
            self.chains[self.table].pop(line[3:].strip(), None)
        else:
            raise ValueError(f"not a line of iptables-restore: {line}")

    def _append(self, line: str, number: int) -> None:
        if line.startswith("["):
            line = line.partition("] ")[2]
        _, name, *rest = line.split(" ", 2)
        rule = self._read(rest[0] if rest else "")
        if number:
            rule = Rule(rule.matches, rule.target, Written(number, rest[0] if rest else ""))
        self.chains[self.table].setdefault(name, []).append(rule)

    def tables(self) -> dict[str, Table]:
        """The tables read so far."""
        return {
            name: Table({chain: tuple(rules) for chain, rules in found.items()}, self.policies[name])
            for name, found in self.chains.items()
        }


def parse(text: str) -> dict[str, Table]:
    """The tables of a text of which svcsim knows everything; ValueError with the bad line."""
    reader = TablesReader(parse_rule)
    for line in text.splitlines():
        reader.line(line)
    return reader.tables()


def rules_of(tables: Mapping[str, Table]) -> Iterator[tuple[str, str, int, Rule]]:
    """Table, chain, number in the chain (from 1) and rule, of all rules."""
    for name, table in tables.items():
        for chain, rules in table.chains.items():
            for number, rule in enumerate(rules, 1):
                yield name, chain, number, rule
