"""The words of any rule that `nft list ruleset` prints: what svcsim knows becomes expressions, the rest stays as written.

What is not known before a verdict is one `UnknownExpression` up to the next statement, since it may decide whether the rule
matches; an unknown statement is an `UnknownStatement`, since it may decide the packet's fate. Counters, logs and comments have no
bearing on either. Source: nft(8).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, cast

from svcsim.linux.address import Address, Prefix, parse_address, parse_endpoint
from svcsim.linux.nftables.ruleset import (
    AddressField,
    AddressMatch,
    DnatStatement,
    DnatStatusMatch,
    Expression,
    Family,
    FamilyMatch,
    InterfaceMatch,
    KeyField,
    LocalMatch,
    MapVerdict,
    MarkClearMatch,
    MarkMatch,
    MarkStatement,
    MasqueradeStatement,
    PortMatch,
    PortsMatch,
    ProtocolMatch,
    ProtocolsMatch,
    RandomMatch,
    RandomVerdict,
    RedirectStatement,
    Rule,
    SetMatch,
    SnatStatement,
    StateMatch,
    StateNewMatch,
    TableFamily,
    UnknownExpression,
    UnknownStatement,
    UpdateStatement,
    Verdict,
    VerdictKind,
    Written,
)
from svcsim.linux.protocols import protocol_number

_WORD = re.compile(r'"[^"]*"|[{},;]|[^\s{},;"]+')
_HANDLE = re.compile(r"\s*# handle \d+$")
_STATEMENTS = frozenset({
    "accept", "drop", "reject", "return", "jump", "goto", "continue", "masquerade", "dnat", "snat", "redirect", "counter", "log",
    "comment", "queue", "tproxy", "notrack", "dup", "fwd", "synproxy", "flow", "vmap", "update", "add", "delete", "set", "xt",
})
"""Words that begin a statement, up to which an unknown match is read."""
_ALL_BITS = 0xFFFFFFFF
_RANDOM_MASK = 0x7FFFFFFF
_OPERATORS: dict[str, Literal["or", "xor", "and"]] = {
    "|": "or", "or": "or", "^": "xor", "xor": "xor", "&": "and", "and": "and",
}


class _NotKnownError(ValueError):
    """What follows is not what svcsim knows."""


def read_rule(text: str, family: TableFamily, line: int = 0) -> Rule:
    """A rule of a listing, from its text in the chain; never an error."""
    text = _HANDLE.sub("", text)
    reader = _Reader(text, family)
    reader.run()
    written = Written(line, " ".join(text.split())) if line else None
    return Rule(tuple(reader.found), reader.comment, written)


def prefixes_of(text: str) -> tuple[Prefix, ...]:
    """The blocks of `10.0.0.0/8`, `10.0.0.1` or `10.0.0.1-10.0.0.9`; ValueError for anything else."""
    low, dash, high = text.partition("-")
    if not dash:
        return (Prefix.parse(text),)
    try:
        networks = ipaddress.summarize_address_range(ipaddress.ip_address(low), ipaddress.ip_address(high))
        return tuple(Prefix.parse(str(network)) for network in networks)
    except TypeError as error:
        raise ValueError(f"{text!r} is of two families") from error


class _Reader:
    """Reads one rule from left to right."""

    def __init__(self, text: str, family: TableFamily) -> None:
        self.text = text
        self.family = family
        self.words: list[str] = []
        self.places: list[tuple[int, int]] = []
        for found in _WORD.finditer(text):
            self.words.append(found[0])
            self.places.append(found.span())
        self.at = 0
        self.found: list[Expression] = []
        self.comment = ""

    # ---- words -------------------------------------------------------------------------------------------------------

    def peek(self, *words: str) -> bool:
        return self.words[self.at : self.at + len(words)] == list(words)

    def skip(self, *words: str) -> bool:
        if self.peek(*words):
            self.at += len(words)
            return True
        return False

    def next(self) -> str:
        if self.at >= len(self.words):
            raise _NotKnownError
        self.at += 1
        return self.words[self.at - 1]

    def expect(self, *words: str) -> None:
        if not self.skip(*words):
            raise _NotKnownError

    def choice(self) -> tuple[str, ...]:
        """`80`, or `{ 80, 443 }`."""
        if not self.skip("{"):
            word = self.next()
            if word.startswith(("@", "$")) or word in _STATEMENTS:
                raise _NotKnownError
            return (word,)
        found: list[str] = []
        while not self.skip("}"):
            found.append(self.next())
            if not self.peek("}"):
                self.expect(",")
        return tuple(found)

    def negated(self) -> bool:
        self.skip("==")
        return self.skip("!=")

    # ---- expressions ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        while self.at < len(self.words):
            start = self.at
            try:
                self.found += self.expression()
            except ValueError:
                self.at = start
                self.found.append(self.unknown())

    def unknown(self) -> Expression:
        """What is not known, up to the next statement."""
        start = self.at
        if self.words[start] in _STATEMENTS or self.peek("meta", "mark", "set"):
            self.at = len(self.words)
            return UnknownStatement(self.between(start))
        self.at += 1
        while self.at < len(self.words) and self.words[self.at] not in _STATEMENTS:
            self.at += 1
        if self.at < len(self.words) and self.words[self.at] in ("vmap", "set", "add", "update", "delete"):
            self.at = len(self.words)
            return UnknownStatement(self.between(start))
        return UnknownExpression(self.between(start))

    def between(self, start: int) -> str:
        return " ".join(self.text[self.places[start][0] : self.places[self.at - 1][1]].split())

    def expression(self) -> list[Expression]:
        word = self.next()
        if word in ("counter", "log", "comment", "continue"):
            self.no_bearing(word)
            return []
        if word == "xt":
            kind, name = self.next(), self.next()
            if kind == "match" and name.strip('"') in ("comment", "tcp", "udp"):
                return []
            raise _NotKnownError
        method = getattr(self, f"_{word}", None) if word.isidentifier() and word.isascii() else None
        if method is None:
            raise _NotKnownError
        found = method()
        assert isinstance(found, list)
        return found

    def no_bearing(self, word: str) -> None:
        if word == "comment":
            self.comment = self.next().strip('"')
        elif word == "counter":
            if self.skip("packets"):
                self.next()
                self.expect("bytes")
                self.next()
            elif self.skip("name"):
                self.next()
        elif word == "log":
            while self.at < len(self.words) and self.words[self.at] in (
                "prefix", "level", "group", "snaplen", "queue-threshold", "flags",
            ):
                self.at += 2

    def verdict(self, kind: str) -> Verdict:
        if kind in ("jump", "goto"):
            return Verdict(cast(VerdictKind, kind), self.next())
        if kind not in ("accept", "drop", "return"):
            raise _NotKnownError
        return Verdict(cast(VerdictKind, kind))

    def _accept(self) -> list[Expression]:
        return [Verdict("accept")]

    def _drop(self) -> list[Expression]:
        return [Verdict("drop")]

    def _return(self) -> list[Expression]:
        return [Verdict("return")]

    def _jump(self) -> list[Expression]:
        return [self.verdict("jump")]

    def _goto(self) -> list[Expression]:
        return [self.verdict("goto")]

    def _reject(self) -> list[Expression]:
        if self.skip("with"):
            self.next()
            self.skip("type")
            self.next()
        return [Verdict("reject")]

    def _masquerade(self) -> list[Expression]:
        flags = []
        while self.at < len(self.words) and self.words[self.at] in ("random", "fully-random", "persistent", ","):
            flags.append(self.next())
        return [MasqueradeStatement(" ".join(flags).replace(" , ", ","))]

    def translation(self) -> tuple[Address, int]:
        for word in ("ip", "ip6"):
            self.skip(word)
        self.expect("to")
        text = self.next()
        try:
            found = parse_address(text.strip("[]")), 0
        except ValueError:
            found = parse_endpoint(text)
        if not 0 <= found[1] <= 65535:
            raise _NotKnownError
        while self.at < len(self.words) and self.words[self.at] in ("random", "fully-random", "persistent", ","):
            self.at += 1
        return found

    def _dnat(self) -> list[Expression]:
        return [DnatStatement(*self.translation())]

    def _snat(self) -> list[Expression]:
        return [SnatStatement(*self.translation())]

    def _redirect(self) -> list[Expression]:
        return [RedirectStatement(_port(self.next().removeprefix(":")) if self.skip("to") else 0)]

    def _update(self) -> list[Expression]:
        name = self.next()
        self.expect("{")
        if not name.startswith("@") or self.next() not in ("ip", "ip6"):
            raise _NotKnownError
        field = self.address_field()
        self.expect("}")
        return [UpdateStatement(name[1:], field)]

    def address_field(self) -> AddressField:
        word = self.next()
        if word not in ("saddr", "daddr"):
            raise _NotKnownError
        return cast(AddressField, word)

    def _fib(self) -> list[Expression]:
        field = self.address_field()
        self.expect("type")
        negated = self.negated()
        self.expect("local")
        return [LocalMatch(field, negated)]

    def _numgen(self) -> list[Expression]:
        self.expect("random", "mod")
        count = int(self.next())
        self.expect("vmap", "{")
        verdicts: dict[int, Verdict] = {}
        while not self.skip("}"):
            index = int(self.next())
            self.expect(":")
            verdicts[index] = self.verdict(self.next())
            self.skip(",")
        if not verdicts or sorted(verdicts) != list(range(count)):
            raise _NotKnownError
        return [RandomVerdict(tuple(verdicts[index] for index in range(count)))]

    def _ct(self) -> list[Expression]:
        if self.skip("mark", "set"):
            raise _NotKnownError
        field = self.next()
        if field == "status":
            negated = self.negated()
            self.expect("dnat")
            return [DnatStatusMatch(negated)]
        if field != "state":
            raise _NotKnownError
        if self.skip("vmap"):
            return self.state_verdict()
        negated = self.negated()
        if self.peek("{"):
            return [StateMatch(self.choice(), negated)]
        states = [self.next()]
        while self.skip(","):
            states.append(self.next())
        return [StateNewMatch()] if states == ["new"] and not negated else [StateMatch(tuple(states), negated)]

    def state_verdict(self) -> list[Expression]:
        """`ct state vmap { … }`, of which a first packet meets the verdict for new connections, if there is one."""
        self.expect("{")
        verdicts: dict[str, Verdict] = {}
        while not self.skip("}"):
            state = self.next()
            self.expect(":")
            verdicts[state] = self.verdict(self.next())
            self.skip(",")
        if "new" in verdicts:
            return [StateNewMatch(), verdicts["new"]]
        return [StateMatch(tuple(verdicts)), Verdict("accept")]

    def _iifname(self) -> list[Expression]:
        negated = self.negated()
        return [InterfaceMatch("i", tuple(name.strip('"') for name in self.choice()), negated)]

    def _oifname(self) -> list[Expression]:
        negated = self.negated()
        return [InterfaceMatch("o", tuple(name.strip('"') for name in self.choice()), negated)]

    _iif = _iifname
    _oif = _oifname

    def _mark(self) -> list[Expression]:
        return self.mark()

    def mark(self) -> list[Expression]:
        """What stands after `meta mark` or `mark`."""
        if self.skip("set"):
            if not (self.skip("meta", "mark") or self.skip("mark")):
                return [MarkStatement("set", int(self.next(), 0))]
            return [MarkStatement(_OPERATORS[self._operator()], int(self.next(), 0))]
        if self.skip("&") or self.skip("and"):
            mask = int(self.next(), 0)
            negated = self.negated()
            value = int(self.next(), 0)
            return [MarkMatch(mask, value, negated) if value or negated else MarkClearMatch(mask)]
        negated = self.negated()
        return [MarkMatch(_ALL_BITS, int(self.next(), 0), negated)]

    def _operator(self) -> str:
        word = self.next()
        if word not in _OPERATORS:
            raise _NotKnownError
        return word

    def _meta(self) -> list[Expression]:
        field = self.next()
        if field == "mark":
            return self.mark()
        if field == "l4proto":
            if self.peek(".") :
                return self.map_verdict(["l4proto"])
            return self.protocols()
        if field == "nfproto":
            of = {"ipv4": "ip", "ipv6": "ip6"}.get(self.next())
            if of is None:
                raise _NotKnownError
            return [FamilyMatch(cast(Family, of))]
        if field == "random":
            self.expect("&")
            mask = int(self.next(), 0)
            self.expect("<")
            if mask != _RANDOM_MASK:
                raise _NotKnownError
            return [RandomMatch(int(self.next(), 0))]
        if field in ("iifname", "iif"):
            return self._iifname()
        if field in ("oifname", "oif"):
            return self._oifname()
        raise _NotKnownError

    def protocols(self) -> list[Expression]:
        negated = self.negated()
        numbers = tuple(map(protocol_number, self.choice()))
        return [ProtocolMatch(numbers[0])] if len(numbers) == 1 and not negated else [ProtocolsMatch(numbers, negated)]

    def _ip(self) -> list[Expression]:
        return self.header("ip")

    def _ip6(self) -> list[Expression]:
        return self.header("ip6")

    def header(self, family: Family) -> list[Expression]:
        guard: list[Expression] = [FamilyMatch(family)] if self.family == "inet" else []
        field = self.next()
        if field in ("protocol", "nexthdr"):
            return [*guard, *self.protocols()]
        self.at -= 1
        name = self.address_field()
        if self.peek("."):
            return guard + self.map_verdict([name])
        negated = self.negated()
        if self.at < len(self.words) and self.words[self.at].startswith("@"):
            return [*guard, SetMatch(name, self.next()[1:], negated)]
        braced = self.peek("{")
        prefixes = tuple(prefix for text in self.choice() for prefix in prefixes_of(text))
        return [*guard, AddressMatch(name, prefixes, negated, braced)]

    def map_verdict(self, names: list[str]) -> list[Expression]:
        """A concatenation from its first field on, and the verdict map that it is looked up in."""
        while self.skip("."):
            header, field = self.next(), self.next()
            if (header, field) not in (("meta", "l4proto"), ("th", "dport"), ("ip", "daddr"), ("ip6", "daddr")):
                raise _NotKnownError
            names.append(field)
        self.expect("vmap")
        name = self.next()
        if not name.startswith("@") or "saddr" in names:
            raise _NotKnownError
        return [MapVerdict(tuple(cast(KeyField, field) for field in names), name[1:])]

    def ports(self, protocol: int) -> list[Expression]:
        side = {"dport": "d", "sport": "s"}.get(self.next())
        if side is None or self.peek("."):
            raise _NotKnownError
        negated = self.negated()
        ranges = tuple(_range(text) for text in self.choice())
        if protocol and side == "d" and len(ranges) == 1 and ranges[0][0] == ranges[0][1] and not negated:
            return [PortMatch(protocol, ranges[0][0])]
        return [PortsMatch(protocol, cast(Literal["s", "d"], side), ranges, negated)]

    def _tcp(self) -> list[Expression]:
        return self.ports(6)

    def _udp(self) -> list[Expression]:
        return self.ports(17)

    def _sctp(self) -> list[Expression]:
        return self.ports(132)

    def _th(self) -> list[Expression]:
        return self.ports(0)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise _NotKnownError
    return port


def _range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    return _port(low), _port(high if dash else low)
