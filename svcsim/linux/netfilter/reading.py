"""Reading rules of iptables: what kube-proxy hands to `iptables-restore`, and what `iptables-save` prints of any host's rules.

A part of a rule that svcsim does not know becomes an `UnknownMatch` or `UnknownTarget` with its text; `strict` readers refuse it.
Sources: iptables-extensions(8); iptables 1.8 iptables/iptables-restore.c, libxtables/xtables.c (`xtables_save_string`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from svcsim.linux.address import Prefix, parse_address, parse_endpoint
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    Comment,
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
    NfAcct,
    NoVerdict,
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
    SetConnectionMark,
    SetMark,
    SetMatch,
    Snat,
    Source,
    Statistic,
    Table,
    Target,
    TcpFlags,
    UnknownMatch,
    UnknownTarget,
    Written,
)

PROTOCOLS: Mapping[str, int] = {
    "all": 0, "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89, "ipip": 94, "pim": 103, "vrrp": 112, "sctp": 132, "udplite": 136,
}
"""Names of /etc/protocols that saved rules show."""

NO_VERDICT = frozenset({
    "AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "DSCP", "ECN", "HL", "IDLETIMER", "LED", "LOG", "NFLOG", "RATEEST", "SECMARK",
    "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL", "ULOG",
})
"""Extension targets after which a packet goes on, with its addresses and mark as they were (iptables-extensions(8))."""

EXTENSIONS = frozenset({
    "CLUSTERIP", "CT", "DNPT", "HMARK", "MIRROR", "NETMAP", "NFQUEUE", "NOTRACK", "QUEUE", "SAME", "SNPT", "SYNPROXY", "TPROXY",
})
"""Extension targets that svcsim doesn't know: they may change what becomes of the packet."""

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED = re.compile(r"\\(.)")
_DEFAULT_REJECTS = ("icmp-port-unreachable", "icmp6-port-unreachable", "port-unreach")
_TERMINAL: Mapping[str, Target] = {"ACCEPT": Accept(), "DROP": Drop(), "RETURN": Return()}
_PROTOCOL_MODULES = ("tcp", "udp", "sctp", "dccp", "udplite")
_MODULES = frozenset({
    "addrtype", "comment", "connmark", "conntrack", "ipvs", "mark", "multiport", "nfacct", "physdev", "recent", "set", "state",
    "statistic", *_PROTOCOL_MODULES,
})
_ALL_BITS = 0xFFFFFFFF
_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")


@dataclass(frozen=True, slots=True)
class Word:
    """A word with the quotes taken off, and where it stood."""

    text: str
    start: int
    end: int
    quoted: bool


class Words:
    """The words of a rule, taken one by one. Taking one that is not there raises ValueError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [
            Word(
                found[2] if found[2] is not None else _ESCAPED.sub(r"\1", found[1]), found.start(), found.end(), found[2] is None
            )
            for found in _WORD.finditer(text)
        ]
        self.at = 0

    def more(self) -> bool:
        """Whether a word is left."""
        return self.at < len(self.words)

    def peek(self, ahead: int = 0) -> str:
        """The next word, or one further on; empty if there is none, or if it is quoted."""
        place = self.at + ahead
        return self.words[place].text if place < len(self.words) and not self.words[place].quoted else ""

    def take(self) -> str:
        """The next word."""
        if not self.more():
            raise ValueError(f"the rule ends early: {self.text}")
        self.at += 1
        return self.words[self.at - 1].text

    def skip(self, word: str) -> bool:
        """Take the next word if it is this one."""
        if self.peek() == word:
            self.at += 1
            return True
        return False

    def between(self, first: int, after: int) -> str:
        """The text from one word up to another (not included)."""
        return self.text[self.words[first].start : self.words[after - 1].end] if after > first else ""

    def to_next_option(self) -> None:
        """Pass over words up to the next option, or the `!` before it."""
        while self.more():
            word = self.peek()
            if word.startswith("-") or (word == "!" and self.peek(1).startswith("-")):
                return
            self.at += 1

    def to_next_match(self) -> None:
        """Pass over words up to the next `-m`, `-j` or `-g`."""
        while self.more() and self.peek() not in ("-m", "-j", "-g"):
            self.at += 1


def _number(text: str) -> int:
    if not text.isascii():
        raise ValueError(f"{text!r} is no number")
    return int(text, 0)


def value_and_mask(text: str) -> tuple[int, int]:
    """`0x4000/0x4000`; without a mask all bits count."""
    value, _, mask = text.partition("/")
    return _number(value), _number(mask) if mask else _ALL_BITS


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} is no port")
    return port


def _range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    first = _port(low or "0")
    return first, (_port(high or "65535") if colon else first)


def protocol_number(text: str) -> int:
    """`tcp` or `6`; ValueError for what is neither a name nor a number up to 255."""
    number = PROTOCOLS.get(text.lower(), -1)
    if number < 0 and text.isascii() and text.isdigit():
        number = int(text)
    if not 0 <= number <= 255:
        raise ValueError(f"{text!r} is no protocol")
    return number


def _to(text: str) -> tuple[int, int]:
    """The address and port (0: none) of a translation; ValueError for ranges."""
    try:
        return parse_address(text), 0
    except ValueError:
        return parse_endpoint(text)


def _endpoint(text: str) -> tuple[int, int]:
    address, port = _to(text)
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} is no address and port")
    return address, port


_RECENT_OPTIONS = ("--name", "--rcheck", "--seconds", "--reap", "--set", "--mask", "--rsource")


def _recent(words: Words) -> Match:
    name, seconds, reap, kind = "DEFAULT", 0, False, ""
    while words.peek() in _RECENT_OPTIONS:
        option = words.take()
        if option == "--name":
            name = words.take()
        elif option == "--seconds":
            seconds = _number(words.take())
        elif option == "--mask":
            if words.take() not in ("255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"):
                raise ValueError("a mask of recent")
        elif option == "--reap":
            reap = True
        elif option in ("--set", "--rcheck"):
            kind = option
    further = words.peek(1) if words.peek() == "!" else words.peek()
    if not kind or (further.startswith("--") and further not in _OPTIONS) or further in _RECENT_OPTIONS:
        raise ValueError("an option of recent")
    return RecentSet(name) if kind == "--set" else RecentCheck(name, seconds, reap)


def _ipvs(words: Words) -> Match:
    """`--vaddr A --vproto P --vport N`."""
    address = parse_address(words.take().partition("/")[0])
    if words.take() != "--vproto":
        raise ValueError("an option of ipvs")
    number = protocol_number(words.take())
    if words.take() != "--vport":
        raise ValueError("an option of ipvs")
    return IpvsVirtual(address, number, _port(words.take()))


def _ports(side: str) -> Callable[[Words, bool], Match]:
    def read(words: Words, negated: bool) -> Match:
        low, high = _range(words.take())
        if side == "d" and low == high and not negated:
            return DestinationPort(low)
        return Ports(side, ((low, high),), negated)

    return read


def _multiport(side: str) -> Callable[[Words, bool], Match]:
    return lambda words, negated: Ports(side, tuple(map(_range, words.take().split(","))), negated, multiport=True)


def _flags(text: str) -> tuple[str, ...]:
    names = {"ALL": _TCP_FLAGS, "NONE": ()}.get(text, tuple(text.split(",")))
    if not set(names) <= set(_TCP_FLAGS):
        raise ValueError(f"{text!r} are no flags of TCP")
    return tuple(name for name in _TCP_FLAGS if name in names)


def _states(words: Words, negated: bool) -> Match:
    return ConntrackState(tuple(words.take().split(",")), negated)


_OPTIONS: Mapping[str, Callable[[Words, bool], Match]] = {
    "-p": lambda words, negated: Protocol(protocol_number(words.take()), negated, bare=True),
    "-s": lambda words, negated: Source(Prefix.parse(words.take()), negated),
    "-d": lambda words, negated: Destination(Prefix.parse(words.take()), negated),
    "-i": lambda words, negated: InInterface(words.take(), negated),
    "-o": lambda words, negated: OutInterface(words.take(), negated),
    "--dport": _ports("d"),
    "--sport": _ports("s"),
    "--dports": _multiport("d"),
    "--sports": _multiport("s"),
    "--ports": _multiport(""),
    "--ctstate": _states,
    "--state": _states,
    "--src-type": lambda words, negated: AddressType("src", words.take(), negated),
    "--dst-type": lambda words, negated: AddressType("dst", words.take(), negated),
    "--physdev-is-in": lambda words, negated: PhysdevIsIn(negated),
    "--tcp-flags": lambda words, negated: TcpFlags(_flags(words.take()), _flags(words.take()), negated),
    "--match-set": lambda words, negated: SetMatch(words.take(), words.take(), negated),
}
"""Options that may be negated, whichever module they are of."""

_PLAIN_OPTIONS: Mapping[str, Callable[[Words], Match]] = {
    "--comment": lambda words: Comment(words.take()),
    "--nfacct-name": lambda words: NfAcct(words.take()),
    "--vaddr": _ipvs,
}

_LONG = {
    "--protocol": "-p", "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--destination-port": "--dport", "--source-port": "--sport", "--jump": "-j", "--goto": "-g",
    "--match": "-m", "--destination-ports": "--dports", "--source-ports": "--sports",
}


def _option(option: str, module: str, words: Words, *, negated: bool) -> Match | None:
    """The match of one option; None if it says nothing; ValueError for what is not known."""
    if option == "--mark":
        value, mask = value_and_mask(words.take())
        return ConnectionMark(value, mask, negated) if module == "connmark" else Mark(value, mask, negated)
    if option == "--mode" and words.skip("random"):
        return None
    if option == "--probability" and not negated:
        return Statistic(float(words.take()))
    if option in _OPTIONS:
        return _OPTIONS[option](words, negated)
    if option in _PLAIN_OPTIONS and not negated:
        return _PLAIN_OPTIONS[option](words)
    raise ValueError(f"the option {option}")


def _mark_target(words: Words) -> Target:
    option = words.take()
    value, mask = value_and_mask(words.take())
    if option == "--or-mark":
        return SetMark("or", value)
    if option == "--xor-mark":
        return SetMark("xor", value)
    if option == "--and-mark":
        return SetMark("set", 0, ~value & _ALL_BITS)
    if option == "--set-mark":
        return SetMark("set", value, mask | value)
    if option != "--set-xmark":
        raise ValueError("an option of MARK")
    if mask == value:
        return SetMark("or", value)
    if mask == 0:
        return SetMark("xor", value)
    return SetMark("set", value, mask)


def _connection_mark_target(words: Words) -> Target:
    option = words.take()
    if option in ("--set-xmark", "--set-mark"):
        value, mask = value_and_mask(words.take())
        return SetConnectionMark("set", value, mask if option == "--set-xmark" else mask | value)
    if option not in ("--save-mark", "--restore-mark"):
        raise ValueError("an option of CONNMARK")
    masks = {"--nfmask": _ALL_BITS, "--ctmask": _ALL_BITS}
    while words.more():
        name = words.take()
        if name == "--mask":
            masks = dict.fromkeys(masks, _number(words.take()))
        elif name in masks:
            masks[name] = _number(words.take())
        else:
            raise ValueError("an option of CONNMARK")
    return SetConnectionMark(option[2:].removesuffix("-mark"), 0, masks["--ctmask"], masks["--nfmask"])


def _masquerade(words: Words) -> Target:
    fully, options = False, []
    while words.more():
        word = words.take()
        if word == "--random-fully":
            fully = True
        elif word == "--random":
            options.append(word)
        elif word == "--to-ports":
            options += [word, words.take()]
        else:
            raise ValueError("an option of MASQUERADE")
    return Masquerade(fully, " ".join(options))


def _translation(words: Words, option: str, make: Callable[[int, int], Target]) -> Target:
    if words.take() != option:
        raise ValueError(f"no {option}")
    target = make(*_endpoint(words.take()))
    while words.peek() in ("--random", "--persistent", "--random-fully"):
        words.take()
    return target


def _redirect(words: Words) -> Target:
    return Redirect(_port(words.take())) if words.skip("--to-ports") else Redirect(0)


def _reject(words: Words) -> Target:
    kind = words.take() if words.skip("--reject-with") else ""
    return Reject("" if kind in _DEFAULT_REJECTS else kind)


_TARGETS: Mapping[str, Callable[[Words], Target]] = {
    "REJECT": _reject,
    "MARK": _mark_target,
    "CONNMARK": _connection_mark_target,
    "DNAT": lambda words: _translation(words, "--to-destination", Dnat),  # type: ignore[arg-type]
    "SNAT": lambda words: _translation(words, "--to-source", Snat),  # type: ignore[arg-type]
    "REDIRECT": _redirect,
    "MASQUERADE": _masquerade,
}


def _target(words: Words) -> Target:
    """What stands after `-j`, up to the end of the rule."""
    start = words.at
    name = words.take()
    if name in _TERMINAL:
        return _TERMINAL[name]
    try:
        target: Target = _TARGETS[name](words) if name in _TARGETS else Jump(name)
    except ValueError:
        target = UnknownTarget("")
    whole = words.between(start, len(words.words))
    if name in NO_VERDICT:
        target = NoVerdict(whole)
    elif words.more() or name in EXTENSIONS or isinstance(target, UnknownTarget):
        target = UnknownTarget(whole)
    words.at = len(words.words)
    return target


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
            word = _LONG.get(word, word)
            if word == "-m":
                self.load(start)
            elif word == "-j":
                self.target = _target(words)
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
                self.matches.append(_recent(words))
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
            match = _option(option, self.module, words, negated=negated)
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
