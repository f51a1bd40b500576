"""What the options of a rule of iptables match, whichever module they are of.

Source: iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.netfilter.rule_words import Words, number, port_number, port_range, value_and_mask
from svcsim.linux.netfilter.rules import (
    AddressType,
    Comment,
    ConnectionMark,
    ConntrackState,
    Destination,
    DestinationPort,
    InInterface,
    IpvsVirtual,
    Mark,
    Match,
    NfAcct,
    OutInterface,
    PhysdevIsIn,
    Ports,
    Protocol,
    RecentCheck,
    RecentSet,
    SetMatch,
    Source,
    Statistic,
    TcpFlags,
)
from svcsim.linux.protocols import protocol_number

_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_RECENT_OPTIONS = ("--name", "--rcheck", "--seconds", "--reap", "--set", "--mask", "--rsource")


def recent_match(words: Words) -> Match:
    """The match of `-m recent` with its options; ValueError for those that svcsim doesn't know."""
    name, seconds, reap, kind = "DEFAULT", 0, False, ""
    while words.peek() in _RECENT_OPTIONS:
        option = words.take()
        if option == "--name":
            name = words.take()
        elif option == "--seconds":
            seconds = number(words.take())
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
    return IpvsVirtual(address, number, port_number(words.take()))


def _ports(side: str) -> Callable[[Words, bool], Match]:
    def read(words: Words, negated: bool) -> Match:
        low, high = port_range(words.take())
        if side == "d" and low == high and not negated:
            return DestinationPort(low)
        return Ports(side, ((low, high),), negated)

    return read


def _multiport(side: str) -> Callable[[Words, bool], Match]:
    return lambda words, negated: Ports(side, tuple(map(port_range, words.take().split(","))), negated, multiport=True)


def _flags(text: str) -> tuple[str, ...]:
    names = {"ALL": _TCP_FLAGS, "NONE": ()}.get(text, tuple(text.split(",")))
    if not set(names) <= set(_TCP_FLAGS):
        raise ValueError(f"{text!r} are no flags of TCP")
    return tuple(name for name in _TCP_FLAGS if name in names)


def _probability(text: str) -> float:
    """A share from 0 to 1 (iptables extensions/libxt_statistic.c)."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{text!r} is no probability from 0 to 1")
    return share


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

LONG_OPTIONS = {
    "--protocol": "-p", "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--destination-port": "--dport", "--source-port": "--sport", "--jump": "-j", "--goto": "-g",
    "--match": "-m", "--destination-ports": "--dports", "--source-ports": "--sports",
}


def option_match(option: str, module: str, words: Words, *, negated: bool) -> Match | None:
    """The match of one option; None if it says nothing; ValueError for what is not known."""
    if option == "--mark":
        value, mask = value_and_mask(words.take())
        return ConnectionMark(value, mask, negated) if module == "connmark" else Mark(value, mask, negated)
    if option == "--mode" and words.skip("random"):
        return None
    if option == "--probability" and not negated:
        return Statistic(_probability(words.take()))
    if option in _OPTIONS:
        return _OPTIONS[option](words, negated)
    if option in _PLAIN_OPTIONS and not negated:
        return _PLAIN_OPTIONS[option](words)
    raise ValueError(f"the option {option}")
