"""The text of rules as `iptables-restore` takes it, and back.

`render` writes what kube-proxy hands to iptables-restore; `parse` reads that and what `iptables-save` prints. Reading what was
written gives the same rules. Sources: iptables-extensions(8), iptables-save(8).

>>> rule = parse_rule('-m comment --comment "a b" -m tcp -p tcp -d 10.0.0.1 --dport 80 -j KUBE-SVC-X')
>>> render_rule(rule)
'-m comment --comment "a b" -m tcp -p tcp -d 10.0.0.1 --dport 80 -j KUBE-SVC-X'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from svcsim.linux.address import Prefix, format_address, format_endpoint, parse_address, parse_endpoint
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    Comment,
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
    PhysdevIsIn,
    Protocol,
    RecentCheck,
    RecentSet,
    Redirect,
    Reject,
    Return,
    Rule,
    Ruleset,
    SetMark,
    SetMatch,
    Source,
    Statistic,
    Table,
    Target,
)
from svcsim.linux.packet import PROTOCOL_NAME, PROTOCOL_NUMBER

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_TERMINAL: Mapping[str, Target] = {"ACCEPT": Accept(), "DROP": Drop(), "RETURN": Return()}
_MODULES = {
    "addrtype", "comment", "conntrack", "ipvs", "mark", "nfacct", "physdev", "recent", "sctp", "set", "statistic", "tcp", "udp",
}


def _block(block: Prefix) -> str:
    return format_address(block.base) if block.length == block.bits else str(block)


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text or not text else text


def _match(match: Match) -> str:
    match match:
        case Comment(text):
            return f"-m comment --comment {_quoted(text)}"
        case Protocol(number):
            name = PROTOCOL_NAME[number].lower()
            return f"-m {name} -p {name}"
        case Source(block, negated):
            return f"{'! ' if negated else ''}-s {_block(block)}"
        case Destination(block, negated):
            return f"{'! ' if negated else ''}-d {_block(block)}"
        case DestinationPort(port):
            return f"--dport {port}"
        case Mark(value, mask, negated):
            return f"-m mark {'! ' if negated else ''}--mark {value:#x}/{mask:#x}"
        case ConntrackState(states, negated):
            return f"-m conntrack {'! ' if negated else ''}--ctstate {','.join(states)}"
        case AddressType(side, kind, negated):
            return f"-m addrtype {'! ' if negated else ''}--{side}-type {kind}"
        case Statistic(probability):
            return f"-m statistic --mode random --probability {probability:.10f}"
        case RecentCheck(name, seconds, reap):
            return f"-m recent --name {name} --rcheck --seconds {seconds}{' --reap' if reap else ''}"
        case RecentSet(name):
            return f"-m recent --name {name} --set"
        case SetMatch(name, fields, negated):
            return f"-m set {'! ' if negated else ''}--match-set {name} {fields}"
        case InInterface(name, negated):
            return f"{'! ' if negated else ''}-i {name}"
        case NfAcct(name):
            return f"-m nfacct --nfacct-name {name}"
        case PhysdevIsIn(negated):
            return f"-m physdev {'! ' if negated else ''}--physdev-is-in"
        case IpvsVirtual(address, number, port):
            return f"-m ipvs --vaddr {format_address(address)} --vproto {PROTOCOL_NAME[number].lower()} --vport {port}"


def _target(target: Target) -> str:
    match target:
        case Jump(chain):
            return f"-j {chain}"
        case Goto(chain):
            return f"-g {chain}"
        case Accept():
            return "-j ACCEPT"
        case Drop():
            return "-j DROP"
        case Return():
            return "-j RETURN"
        case Reject():
            return "-j REJECT"
        case SetMark(operation, value):
            return f"-j MARK --{operation}-mark {value:#x}"
        case Dnat(address, port):
            return f"-j DNAT --to-destination {format_endpoint(address, port)}"
        case Redirect(port):
            return f"-j REDIRECT --to-ports {port}"
        case Masquerade(random_fully):
            return "-j MASQUERADE --random-fully" if random_fully else "-j MASQUERADE"


def target_text(target: Target | None) -> str:
    """A target without its `-j`, empty for none."""
    return _target(target)[3:] if target is not None else ""


def render_rule(rule: Rule) -> str:
    """A rule without its chain."""
    parts = [_match(match) for match in rule.matches]
    if rule.target is not None:
        parts.append(_target(rule.target))
    return " ".join(parts)


def render_table(name: str, table: Table, *, deleted: Iterable[str] = ()) -> Iterator[str]:
    """The lines of one table: declarations, rules, then chains to delete (which must be declared)."""
    yield f"*{name}"
    for chain in table.chains:
        yield f":{chain} {table.policies.get(chain, '-')} [0:0]"
    for chain, rules in table.chains.items():
        for rule in rules:
            yield f"-A {chain} {render_rule(rule)}".rstrip()
    for chain in deleted:
        yield f"-X {chain}"
    yield "COMMIT"


def render(ruleset: Ruleset) -> str:
    """The text of all tables."""
    return "".join(line + "\n" for name, table in ruleset.items() for line in render_table(name, table))


def _words(text: str) -> list[str]:
    return [quoted.replace('\\"', '"') if plain == "" else plain for quoted, plain in _WORD.findall(text)]


class _Words:
    """The words of a rule, taken one by one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = _words(text)
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.words)

    def peek(self) -> str:
        return self.words[self.at] if self.more() else ""

    def take(self) -> str:
        if not self.more():
            raise ValueError(f"the rule ends early: {self.text}")
        self.at += 1
        return self.words[self.at - 1]


def _value_and_mask(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF


def _parse_recent(words: _Words) -> Match:
    name, seconds, reap, sets = "DEFAULT", 0, False, False
    while words.peek() in ("--name", "--rcheck", "--seconds", "--reap", "--set", "--mask", "--rsource"):
        option = words.take()
        if option == "--name":
            name = words.take()
        elif option == "--seconds":
            seconds = int(words.take())
        elif option == "--mask":
            words.take()
        elif option == "--reap":
            reap = True
        elif option == "--set":
            sets = True
    return RecentSet(name) if sets else RecentCheck(name, seconds, reap)


def _vproto(words: _Words) -> int:
    """The protocol of `--vproto tcp|number --vport`, up to the port."""
    if words.take() != "--vproto":
        raise ValueError(f"svcsim knows -m ipvs with --vaddr, --vproto and --vport only: {words.text}")
    name = words.take()
    words.take()
    return int(name) if name.isdigit() else PROTOCOL_NUMBER[name.upper()]


def _parse_mark(option: str, words: _Words) -> Target:
    value, mask = _value_and_mask(words.take())
    if option != "--set-xmark":
        return SetMark(option.removeprefix("--").removesuffix("-mark"), value)
    if mask == value:
        return SetMark("or", value)
    if mask == 0:
        return SetMark("xor", value)
    if mask == 0xFFFFFFFF:
        return SetMark("set", value)
    raise ValueError(f"svcsim does not know MARK --set-xmark {value:#x}/{mask:#x}")


def _parse_target(name: str, words: _Words) -> Target:
    if name in _TERMINAL:
        return _TERMINAL[name]
    if name == "REJECT":
        if words.peek() == "--reject-with":
            words.take()
            words.take()
        return Reject()
    if name == "MARK":
        return _parse_mark(words.take(), words)
    if name == "DNAT":
        words.take()
        return Dnat(*parse_endpoint(words.take()))
    if name == "REDIRECT":
        words.take()
        return Redirect(int(words.take()))
    if name == "MASQUERADE":
        return Masquerade(words.peek() == "--random-fully" and bool(words.take()))
    return Jump(name)


def _parse_option(option: str, words: _Words, *, negated: bool) -> Match | None:
    match option:
        case "--comment":
            return Comment(words.take())
        case "-p":
            return Protocol(PROTOCOL_NUMBER[words.take().upper()])
        case "-s":
            return Source(Prefix.parse(words.take()), negated)
        case "-d":
            return Destination(Prefix.parse(words.take()), negated)
        case "-i":
            return InInterface(words.take(), negated)
        case "--dport":
            return DestinationPort(int(words.take()))
        case "--mark":
            return Mark(*_value_and_mask(words.take()), negated)
        case "--ctstate":
            return ConntrackState(tuple(words.take().split(",")), negated)
        case "--src-type" | "--dst-type":
            return AddressType(option[2:5], words.take(), negated)
        case "--physdev-is-in":
            return PhysdevIsIn(negated)
        case "--vaddr":
            address = parse_address(words.take().partition("/")[0])
            return IpvsVirtual(address, _vproto(words), int(words.take()))
        case "--probability":
            return Statistic(float(words.take()))
        case "--match-set":
            return SetMatch(words.take(), words.take(), negated)
        case "--nfacct-name":
            return NfAcct(words.take())
        case "--mode":
            words.take()
            return None
        case _:
            raise ValueError(f"svcsim does not know {option} in a rule: {words.text}")


def parse_rule(text: str) -> Rule:
    """The rule that a text (without `-A CHAIN`) says; ValueError for what svcsim does not know."""
    words = _Words(text)
    matches: list[Match] = []
    target: Target | None = None
    negated = False
    while words.more():
        word = words.take()
        if word == "!":
            negated = True
            continue
        if word == "-m":
            module = words.take()
            if module not in _MODULES:
                raise ValueError(f"svcsim does not know the match {module}: {text}")
            if module == "recent":
                matches.append(_parse_recent(words))
        elif word == "-j":
            target = _parse_target(words.take(), words)
        elif word == "-g":
            target = Goto(words.take())
        elif (match := _parse_option(word, words, negated=negated)) is not None:
            matches.append(match)
        if word != "-m":
            negated = False
    return Rule(tuple(matches), target)


def parse(text: str) -> dict[str, Table]:
    """The tables of an iptables-restore text. A table that stands twice goes on where it was; ValueError with the bad line."""
    chains: dict[str, dict[str, list[Rule]]] = {}
    policies: dict[str, dict[str, str]] = {}
    table = ""
    for line in text.splitlines():
        if not line or line.startswith("#") or line == "COMMIT":
            continue
        if line.startswith("*"):
            table = line[1:]
            chains.setdefault(table, {})
            policies.setdefault(table, {})
        elif not table:
            raise ValueError(f"a line before any table: {line}")
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[table].setdefault(name, [])
            if policy != "-":
                policies[table][name] = policy
        elif line.startswith("-A "):
            _, name, *rest = line.split(" ", 2)
            chains[table].setdefault(name, []).append(parse_rule(rest[0] if rest else ""))
        elif line.startswith("-X "):
            chains[table].pop(line[3:].strip(), None)
        else:
            raise ValueError(f"not a line of iptables-restore: {line}")
    return {
        name: Table({chain: tuple(rules) for chain, rules in found.items()}, policies[name]) for name, found in chains.items()
    }
