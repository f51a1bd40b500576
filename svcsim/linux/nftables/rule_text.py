"""The words of rules and elements, as `nft -f` reads them and as `nft list ruleset` prints them (nft(8)).

The two dialects differ in little: the listing spells `mark` as `meta mark` with symbols and eight hex digits, and prints a set
of one anonymous element without braces. The reader takes both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from svcsim.linux.address import Prefix, format_address, format_endpoint, parse_address, parse_endpoint
from svcsim.linux.nftables.ruleset import (
    AddressField,
    AddressMatch,
    DnatStatement,
    DnatStatusMatch,
    Expression,
    Family,
    FamilyMatch,
    InterfaceMatch,
    Key,
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
    SetDeclaration,
    SetMatch,
    SnatStatement,
    StateMatch,
    StateNewMatch,
    UnknownExpression,
    UnknownStatement,
    UpdateStatement,
    Verdict,
)
from svcsim.linux.packet import PROTOCOL_NAME, PROTOCOL_NUMBER

Dialect = Literal["input", "listing"]

_ALL_BITS = 0xFFFFFFFF
_SYMBOL = {"or": "|", "xor": "^", "and": "&"}
_OPERATOR: dict[str, Literal["or", "xor"]] = {"or": "or", "|": "or", "xor": "xor", "^": "xor"}
_TOKEN = re.compile(r'"[^"]*"|,|[^\s,"]+')


class RuleTextError(ValueError):
    """Text that is not of the subset of nftables that kube-proxy writes."""


def prefix_text(prefix: Prefix) -> str:
    """`10.0.0.0/8`, or the bare address where the prefix is one address."""
    return format_address(prefix.base) if prefix.length == prefix.bits else str(prefix)


def protocol_text(protocol: int) -> str:
    """`tcp`, `udp`, `sctp`; the number of any other protocol."""
    return PROTOCOL_NAME[protocol].lower() if protocol in PROTOCOL_NAME else str(protocol)


def parse_protocol(text: str) -> int:
    """The inverse of `protocol_text`."""
    return PROTOCOL_NUMBER[text.upper()] if text.upper() in PROTOCOL_NUMBER else int(text)


def verdict_text(verdict: Verdict) -> str:
    """`goto chain`, `drop`."""
    return f"{verdict.kind} {verdict.chain}" if verdict.chain else verdict.kind


def key_text(key: Key, key_types: Sequence[str]) -> str:
    """`10.96.0.1 . tcp . 80`."""
    return " . ".join(_value_text(value, kind) for value, kind in zip(key, key_types, strict=True))


def _value_text(value: int, kind: str) -> str:
    if kind in ("ipv4_addr", "ipv6_addr"):
        return format_address(value)
    return protocol_text(value) if kind == "inet_proto" else str(value)


def parse_key(text: str, key_types: Sequence[str]) -> Key:
    """The inverse of `key_text`; RuleTextError if the number of fields differs."""
    parts = text.split(" . ")
    if len(parts) != len(key_types):
        raise RuleTextError(f"{text!r} is not of type {' . '.join(key_types)}")
    return tuple(_parse_value(part, kind) for part, kind in zip(parts, key_types, strict=True))


def _parse_value(text: str, kind: str) -> int:
    if kind in ("ipv4_addr", "ipv6_addr"):
        return parse_address(text)
    return parse_protocol(text) if kind == "inet_proto" else int(text)


def key_types(declaration: str) -> tuple[tuple[str, ...], bool]:
    """Types of the fields of `ipv4_addr . inet_proto : verdict`, and whether it is a verdict map."""
    fields, _, value = declaration.partition(" : ")
    return tuple(fields.strip().split(" . ")), value.strip() == "verdict"


def type_text(declaration: SetDeclaration) -> str:
    """The inverse of `key_types`."""
    return " . ".join(declaration.key_types) + (" : verdict" if declaration.is_map else "")


def rule_text(rule: Rule, family: Family, dialect: Dialect = "input") -> str:
    """A rule with its comment, without the chain."""
    words = [expression_text(expression, family, dialect) for expression in rule.expressions]
    if rule.comment:
        words.append(f'comment "{rule.comment}"')
    return " ".join(words)


def expression_text(expression: Expression, family: Family, dialect: Dialect = "input") -> str:
    """One expression."""
    match expression:
        case AddressMatch(field=name, prefixes=prefixes, negated=negated, braced=braced):
            text = ", ".join(map(prefix_text, prefixes)) if dialect == "listing" else " , ".join(map(prefix_text, prefixes))
            if len(prefixes) > 1 or (braced and dialect == "input"):
                text = f"{{ {text} }}"
            return f"{family} {name} {'!= ' if negated else ''}{text}"
        case SetMatch(field=name, set_name=set_name, negated=negated):
            return f"{family} {name} {'!= ' if negated else ''}@{set_name}"
        case LocalMatch(field=name, negated=negated):
            return f"fib {name} type {'!= ' if negated else ''}local"
        case RandomMatch(stored=stored):
            return f"meta random & 2147483647 < {stored}"
        case ProtocolMatch(protocol=protocol):
            return f"meta l4proto {protocol_text(protocol)}"
        case PortMatch(protocol=protocol, port=port):
            return f"{protocol_text(protocol)} dport {port}"
        case StateNewMatch():
            return "ct state new"
        case MarkClearMatch(mask=mask):
            if dialect == "listing":
                return f"meta mark & 0x{mask:08x} == 0x00000000"
            return f"mark and 0x{mask:x} == 0"
        case MarkMatch(mask=mask, value=value, negated=negated):
            if mask == _ALL_BITS:
                return f"meta mark {'!= ' if negated else ''}0x{value:08x}"
            return f"meta mark & 0x{mask:08x} {'!=' if negated else '=='} 0x{value:08x}"
        case StateMatch(states=states, negated=negated):
            return f"ct state {'!= ' if negated else ''}{','.join(states)}"
        case DnatStatusMatch(negated=negated):
            return f"ct status {'!= ' if negated else ''}dnat"
        case InterfaceMatch(side=side, names=names, negated=negated):
            return f"{side}ifname {'!= ' if negated else ''}{_choice(tuple(json.dumps(each) for each in names))}"
        case ProtocolsMatch(protocols=protocols, negated=negated):
            return f"meta l4proto {'!= ' if negated else ''}{_choice(tuple(map(protocol_text, protocols)))}"
        case PortsMatch(protocol=protocol, side=side, ranges=ranges, negated=negated):
            texts = tuple(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
            header = protocol_text(protocol) if protocol else "th"
            return f"{header} {side}port {'!= ' if negated else ''}{_choice(texts)}"
        case FamilyMatch(family=of):
            return f"meta nfproto {'ipv6' if of == 'ip6' else 'ipv4'}"
        case UnknownExpression(text=text) | UnknownStatement(text=text):
            return text
        case MarkStatement(operator="set", value=value):
            return f"meta mark set 0x{value:08x}"
        case MarkStatement(operator=operator, value=value):
            if dialect == "listing":
                return f"meta mark set meta mark {_SYMBOL[operator]} 0x{value:08x}"
            return f"mark set mark {operator} 0x{value:x}"
        case Verdict():
            return verdict_text(expression)
        case MasqueradeStatement(flags=flags):
            return f"masquerade {flags}".rstrip()
        case DnatStatement(address=address, port=port):
            return f"dnat to {_translation_text(address, port)}"
        case SnatStatement(address=address, port=port):
            return f"snat to {_translation_text(address, port)}"
        case RedirectStatement(port=port):
            return f"redirect to :{port}" if port else "redirect"
        case UpdateStatement(set_name=set_name, field=name):
            return f"update @{set_name} {{ {family} {name} }}"
        case MapVerdict(fields=fields, map_name=map_name):
            return f"{' . '.join(_key_field_text(name, family) for name in fields)} vmap @{map_name}"
        case RandomVerdict(verdicts=verdicts):
            separator = ", " if dialect == "listing" else " , "
            choices = separator.join(f"{index} : {verdict_text(verdict)}" for index, verdict in enumerate(verdicts))
            return f"numgen random mod {len(verdicts)} vmap {{ {choices} }}"


def _choice(texts: tuple[str, ...]) -> str:
    return texts[0] if len(texts) == 1 else f"{{ {', '.join(texts)} }}"


def _translation_text(address: int, port: int) -> str:
    return format_endpoint(address, port) if port else format_address(address)


def _key_field_text(name: KeyField, family: Family) -> str:
    return {"daddr": f"{family} daddr", "l4proto": "meta l4proto", "dport": "th dport"}[name]


def parse_rule(text: str) -> Rule:
    """A rule of either dialect; RuleTextError if it uses what kube-proxy does not."""
    return _Reader(_TOKEN.findall(text), text).rule()


@dataclass(slots=True)
class _Reader:
    """Reads a rule's words from left to right."""

    words: list[str]
    text: str
    at: int = 0
    comment: str = ""
    found: list[Expression] = field(default_factory=list)

    def rule(self) -> Rule:
        while self.at < len(self.words):
            if self.words[self.at] == "comment":
                self.comment = self.words[self.at + 1].strip('"')
                self.at += 2
            else:
                self.found.append(self.expression())
        return Rule(tuple(self.found), self.comment)

    def peek(self, *words: str) -> bool:
        return self.words[self.at : self.at + len(words)] == list(words)

    def skip(self, *words: str) -> bool:
        if self.peek(*words):
            self.at += len(words)
            return True
        return False

    def next(self) -> str:
        if self.at >= len(self.words):
            raise RuleTextError(f"the rule ends too early: {self.text}")
        self.at += 1
        return self.words[self.at - 1]

    def expression(self) -> Expression:
        if self.skip("ct", "state", "new"):
            return StateNewMatch()
        if self.skip("masquerade", "fully-random"):
            return MasqueradeStatement()
        if self.skip("dnat", "to"):
            return DnatStatement(*parse_endpoint(self.next()))
        if self.skip("update"):
            return self.update()
        if self.skip("fib"):
            name = self.address_field()
            if self.skip("type", "local"):
                return LocalMatch(name)
        if self.skip("numgen", "random", "mod"):
            return self.random()
        if self.peek("mark") or self.peek("meta", "mark"):
            return self.mark()
        if self.words[self.at] in ("return", "drop", "reject"):
            return self.verdict()
        if self.words[self.at] in ("jump", "goto"):
            return self.verdict()
        if self.words[self.at] in ("ip", "ip6", "meta", "th", "tcp", "udp", "sctp"):
            return self.packet_field()
        raise RuleTextError(f"not understood from {self.words[self.at]!r} on: {self.text}")

    def address_field(self) -> AddressField:
        word = self.next()
        if word not in ("saddr", "daddr"):
            raise RuleTextError(f"{word!r} is no address field: {self.text}")
        return cast(AddressField, word)

    def verdict(self) -> Verdict:
        kind = self.next()
        if kind in ("jump", "goto"):
            return Verdict(cast(Literal["jump", "goto"], kind), self.next())
        if kind not in ("return", "drop", "reject"):
            raise RuleTextError(f"{kind!r} is no verdict: {self.text}")
        return Verdict(cast(Literal["return", "drop", "reject"], kind))

    def update(self) -> UpdateStatement:
        set_name = self.next().removeprefix("@")
        self.skip("{")
        self.next()
        name = self.address_field()
        self.skip("}")
        return UpdateStatement(set_name, name)

    def random(self) -> RandomVerdict:
        count = int(self.next())
        self.skip("vmap", "{")
        verdicts: dict[int, Verdict] = {}
        while not self.skip("}"):
            index = int(self.next())
            self.skip(":")
            verdicts[index] = self.verdict()
            self.skip(",")
        if sorted(verdicts) != list(range(count)):
            raise RuleTextError(f"mod {count} with {len(verdicts)} choices: {self.text}")
        return RandomVerdict(tuple(verdicts[index] for index in range(count)))

    def mark(self) -> MarkStatement | MarkClearMatch:
        self.skip("meta")
        self.skip("mark")
        if self.skip("set"):
            self.skip("meta")
            self.skip("mark")
            return MarkStatement(_OPERATOR[self.next()], int(self.next(), 0))
        self.next()
        mask = int(self.next(), 0)
        if not self.skip("==") or int(self.next(), 0) != 0:
            raise RuleTextError(f"only a comparison with 0 is understood: {self.text}")
        return MarkClearMatch(mask)

    def packet_field(self) -> Expression:
        """What starts with a header field: a comparison, a look-up in a set, or one in a verdict map."""
        names: list[KeyField] = []
        while True:
            header, name = self.next(), self.next()
            if name not in ("saddr", "daddr", "l4proto", "dport"):
                raise RuleTextError(f"{header} {name} is not understood: {self.text}")
            names.append(cast(KeyField, name))
            if not self.skip("."):
                break
        if self.skip("vmap"):
            return MapVerdict(tuple(names), self.next().removeprefix("@"))
        if len(names) > 1:
            raise RuleTextError(f"a concatenation needs a vmap: {self.text}")
        if name == "l4proto":
            return ProtocolMatch(parse_protocol(self.next()))
        if name == "dport":
            return PortMatch(parse_protocol(header), int(self.next()))
        return self.address(cast(AddressField, name))

    def address(self, name: AddressField) -> AddressMatch | SetMatch:
        negated = self.skip("!=")
        if self.skip("{"):
            prefixes: list[Prefix] = []
            while not self.skip("}"):
                prefixes.append(Prefix.parse(self.next()))
                self.skip(",")
            return AddressMatch(name, tuple(prefixes), negated, braced=True)
        word = self.next()
        if word.startswith("@"):
            return SetMatch(name, word[1:])
        return AddressMatch(name, (Prefix.parse(word),), negated)
