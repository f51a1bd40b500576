"""Hypothesis strategies: any iptables rule that svcsim knows, of either family."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from svcsim.linux.address import Address, Prefix
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
)

NAMES = st.text(string.ascii_uppercase + string.digits + "-", min_size=1, max_size=20).map(lambda text: f"KUBE-{text}")
COMMENTS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=40
)
PORTS = st.integers(1, 65535)
WORDS = st.integers(0, 0xFFFFFFFF)
NEGATED = st.booleans()
RANGES = st.tuples(PORTS, PORTS).map(lambda pair: (min(pair), max(pair)))
INTERFACES = st.from_regex(r"[a-z]{2,6}[0-9]{0,2}\+?", fullmatch=True)
FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")


def addresses(ipv6: bool) -> st.SearchStrategy[Address]:
    if ipv6:
        return st.integers(1, (1 << 128) - 1).map(lambda value: Address(value | 1 << 128))
    return st.integers(1, (1 << 32) - 1).map(Address)


@st.composite
def blocks(draw: st.DrawFn, ipv6: bool) -> Prefix:
    length = draw(st.integers(0, 128 if ipv6 else 32))
    address = draw(addresses(ipv6))
    bits = 128 if ipv6 else 32
    return Prefix(Address(address >> (bits - length) << (bits - length)), length)


def single_matches(ipv6: bool) -> list[st.SearchStrategy[Match]]:
    """Matches of which a rule has at most one, each of its own kind."""
    states = st.lists(st.sampled_from(["NEW", "ESTABLISHED", "RELATED", "INVALID", "DNAT"]), min_size=1, max_size=3, unique=True)
    return [
        st.builds(Source, blocks(ipv6), NEGATED),
        st.builds(Destination, blocks(ipv6), NEGATED),
        st.builds(InInterface, INTERFACES, NEGATED),
        st.builds(OutInterface, INTERFACES, NEGATED),
        st.builds(Comment, COMMENTS),
        st.builds(Mark, WORDS, WORDS, NEGATED),
        st.builds(ConnectionMark, WORDS, WORDS, NEGATED),
        st.builds(ConntrackState, states.map(tuple), NEGATED),
        st.builds(AddressType, st.sampled_from(["src", "dst"]), st.sampled_from(["LOCAL", "BROADCAST"]), NEGATED),
        st.builds(Statistic, st.integers(1, (1 << 31) - 1).map(lambda stored: stored / (1 << 31))),
        st.one_of(
            st.builds(RecentSet, NAMES), st.builds(RecentCheck, NAMES, st.integers(1, 86400), st.booleans())
        ),
        st.builds(SetMatch, NAMES, st.sampled_from(["dst", "dst,dst", "dst,dst,src"]), NEGATED),
        st.builds(NfAcct, st.just("ct_state_invalid_dropped_pkts")),
        st.builds(PhysdevIsIn, NEGATED),
        st.builds(IpvsVirtual, addresses(ipv6), st.sampled_from([6, 17, 132]), PORTS),
    ]


@st.composite
def protocols(draw: st.DrawFn) -> tuple[Match, ...]:
    """A protocol, and what can be asked of its ports."""
    kind = draw(st.sampled_from(["none", "bare", "module", "multiport"]))
    if kind == "none":
        return ()
    if kind == "bare":
        return (Protocol(draw(st.sampled_from([1, 6, 17, 41, 132, 253])), draw(NEGATED), bare=True),)
    number = draw(st.sampled_from([6, 17, 132]))
    if kind == "multiport":
        ranges = tuple(draw(st.lists(RANGES, min_size=1, max_size=4)))
        return (Protocol(number, bare=True), Ports(draw(st.sampled_from(["s", "d", ""])), ranges, draw(NEGATED), multiport=True))
    found: list[Match] = [Protocol(number)]
    if draw(st.booleans()):
        found.append(Ports("s", (draw(RANGES),), draw(NEGATED)))
    if draw(st.booleans()):
        low, high = draw(RANGES)
        negated = draw(NEGATED)
        found.append(DestinationPort(low) if low == high and not negated else Ports("d", ((low, high),), negated))
    if number == 6 and draw(st.booleans()):
        mask = tuple(flag for flag in FLAGS if draw(st.booleans())) or ("SYN",)
        found.append(TcpFlags(mask, tuple(flag for flag in mask if draw(st.booleans())), draw(NEGATED)))
    return tuple(found)


def targets(ipv6: bool, chains: st.SearchStrategy[str] = NAMES) -> st.SearchStrategy[Target | None]:
    kinds = ["", "icmp-host-prohibited", "tcp-reset"]
    bits = st.integers(1, 0xFFFFFFFF)
    return st.one_of(
        st.none(),
        st.builds(Jump, chains),
        st.builds(Goto, chains),
        st.sampled_from([Accept(), Drop(), Return()]),
        st.builds(Reject, st.sampled_from(kinds)),
        st.builds(SetMark, st.sampled_from(["or", "xor"]), bits),
        st.tuples(WORDS, bits).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: SetMark("set", *pair)),
        st.builds(SetConnectionMark, st.just("set"), WORDS, WORDS),
        st.builds(SetConnectionMark, st.sampled_from(["save", "restore"]), st.just(0), WORDS, WORDS),
        st.builds(Dnat, addresses(ipv6), st.integers(0, 65535)),
        st.builds(Snat, addresses(ipv6), st.integers(0, 65535)),
        st.builds(Redirect, st.integers(0, 65535)),
        st.builds(Masquerade, st.booleans(), st.sampled_from(["", "--to-ports 1024-31000", "--random"])),
        st.sampled_from([NoVerdict('LOG --log-prefix "gone: "'), NoVerdict("TRACE")]),
    )


@st.composite
def rules(draw: st.DrawFn, ipv6: bool = False, chains: st.SearchStrategy[str] = NAMES) -> Rule:
    """A rule, its matches in any order in which iptables takes them."""
    kinds = draw(st.lists(st.sampled_from(range(15)), unique=True, max_size=6))
    matches: list[Match] = [draw(single_matches(ipv6)[kind]) for kind in kinds]
    at = draw(st.integers(0, len(matches)))
    matches[at:at] = draw(protocols())
    return Rule(tuple(matches), draw(targets(ipv6, chains)))


@st.composite
def rulesets(draw: st.DrawFn, ipv6: bool = False) -> dict[str, Table]:
    """Tables nat and filter, whose rules jump to chains that there are."""
    found = {}
    for name, built_in in (("nat", "PREROUTING"), ("filter", "FORWARD")):
        names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        chains = {chain: tuple(draw(st.lists(rules(ipv6, st.sampled_from(names)), max_size=3))) for chain in (built_in, *names)}
        found[name] = Table(chains, {built_in: draw(st.sampled_from(["ACCEPT", "DROP"]))})
    return found


@st.composite
def rules_for_filter(draw: st.DrawFn) -> Rule:
    """A rule that every kernel with the common matches takes in a chain of table filter that nobody jumps to."""
    kinds = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 9, 10]), unique=True, max_size=5))
    matches: list[Match] = [draw(single_matches(False)[kind]) for kind in kinds]
    matches += draw(protocols())
    target = draw(
        st.one_of(
            st.none(), st.sampled_from([Accept(), Drop(), Return(), Reject(), Reject("icmp-host-prohibited")]),
            st.builds(SetMark, st.sampled_from(["or", "xor"]), st.integers(1, 0xFFFFFFFF)),
            st.builds(SetConnectionMark, st.just("set"), WORDS, WORDS),
        )
    )
    return Rule(tuple(matches), target)
