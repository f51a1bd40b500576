"""The text of rules as kube-proxy hands it to `iptables-restore`. `svcsim.linux.netfilter.save` writes that of `iptables-save`.

Reading what was written gives the same rules. Source: iptables-extensions(8).

>>> rule = parse_rule('-m comment --comment "a b" -m tcp -p tcp -d 10.0.0.1 --dport 80 -j KUBE-SVC-X')
>>> render_rule(rule)
'-m comment --comment "a b" -m tcp -p tcp -d 10.0.0.1 --dport 80 -j KUBE-SVC-X'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svcsim.linux.address import Prefix, format_address, format_endpoint
from svcsim.linux.netfilter.reading import parse, parse_rule
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
    Ruleset,
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
)
from svcsim.linux.protocols import PROTOCOLS

__all__ = [
    "match_text", "parse", "parse_rule", "ports_text", "protocol_text", "render", "render_rule", "render_table", "target_text",
    "target_words", "translation_text",
]

_PROTOCOL_NAMES = {number: name for name, number in reversed(list(PROTOCOLS.items()))}


def protocol_text(number: int) -> str:
    """`tcp`; the number of a protocol without a name."""
    return _PROTOCOL_NAMES.get(number, str(number))


def translation_text(address: int, port: int) -> str:
    """`10.0.0.1:80`, or the address alone for port 0."""
    return format_endpoint(address, port) if port else format_address(address)


def ports_text(ports: Ports) -> str:
    """`--dport 30000:32767`, `--dports 80,443`."""
    ranges = ",".join(str(low) if low == high else f"{low}:{high}" for low, high in ports.ranges)
    return f"{'! ' if ports.negated else ''}--{ports.side}port{'s' if ports.multiport else ''} {ranges}"


def _block(block: Prefix) -> str:
    return format_address(block.base) if block.length == block.bits else str(block)


def _quoted(text: str) -> str:
    if text and not any(character in text for character in ' "\\'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def match_text(match: Match) -> str:
    """One match."""
    match match:
        case Comment(text):
            return f"-m comment --comment {_quoted(text)}"
        case Protocol(number, negated, bare):
            name = protocol_text(number)
            return f"{'! ' if negated else ''}-p {name}" if bare else f"-m {name} -p {name}"
        case Source(block, negated):
            return f"{'! ' if negated else ''}-s {_block(block)}"
        case Destination(block, negated):
            return f"{'! ' if negated else ''}-d {_block(block)}"
        case DestinationPort(port):
            return f"--dport {port}"
        case Ports(multiport=multiport):
            return f"-m multiport {ports_text(match)}" if multiport else ports_text(match)
        case TcpFlags(mask, flags, negated):
            return f"{'! ' if negated else ''}--tcp-flags {','.join(mask)} {','.join(flags) or 'NONE'}"
        case ConnectionMark(value, mask, negated):
            return f"-m connmark {'! ' if negated else ''}--mark {value:#x}/{mask:#x}"
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
        case OutInterface(name, negated):
            return f"{'! ' if negated else ''}-o {name}"
        case NfAcct(name):
            return f"-m nfacct --nfacct-name {name}"
        case PhysdevIsIn(negated):
            return f"-m physdev {'! ' if negated else ''}--physdev-is-in"
        case IpvsVirtual(address, number, port):
            return f"-m ipvs --vaddr {format_address(address)} --vproto {protocol_text(number)} --vport {port}"
        case UnknownMatch(text):
            return text


def target_words(target: Target) -> str:
    """A target with its `-j` or `-g`."""
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
        case Reject(kind):
            return f"-j REJECT --reject-with {kind}" if kind else "-j REJECT"
        case SetMark(operation, value, mask):
            if operation == "set":
                return f"-j MARK --set-xmark {value:#x}/{mask:#x}"
            return f"-j MARK --{operation}-mark {value:#x}"
        case SetConnectionMark("set", value, mask):
            return f"-j CONNMARK --set-xmark {value:#x}/{mask:#x}"
        case SetConnectionMark(operation, _, connection_mask, packet_mask):
            return f"-j CONNMARK --{operation}-mark --nfmask {packet_mask:#x} --ctmask {connection_mask:#x}"
        case Dnat(address, port):
            return f"-j DNAT --to-destination {translation_text(address, port)}"
        case Snat(address, port):
            return f"-j SNAT --to-source {translation_text(address, port)}"
        case Redirect(port):
            return f"-j REDIRECT --to-ports {port}" if port else "-j REDIRECT"
        case Masquerade(random_fully, options):
            return " ".join(["-j MASQUERADE", *([options] if options else []), *(["--random-fully"] if random_fully else [])])
        case NoVerdict(text) | UnknownTarget(text):
            return f"-j {text}"


def target_text(target: Target | None) -> str:
    """A target without its `-j`, empty for none."""
    return target_words(target)[3:] if target is not None else ""


def render_rule(rule: Rule) -> str:
    """A rule without its chain."""
    parts = [match_text(match) for match in rule.matches]
    if rule.target is not None:
        parts.append(target_words(rule.target))
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
