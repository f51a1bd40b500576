"""iptables rules as typed values: tables hold chains, chains hold rules, a rule has matches and a target.

The matches of a rule stand in the order in which they are written, which is also the order in which text shows them. Names and
meaning are those of iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from svcsim.linux.address import Address, Prefix

STATISTIC_ONE = 1 << 31
"""What xt_statistic stores for probability 1: a draw of 31 bits is below the stored number (xt_statistic.c)."""


@dataclass(frozen=True, slots=True)
class Comment:
    """`-m comment`: always matches."""

    text: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """`-p`: the transport protocol by number; 0 is any.

    It stands where the rule loads the protocol's match (`-m tcp`), which saved rules show; `bare` rules load none.
    """

    number: int
    negated: bool = False
    bare: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """`-s`: the source address lies in a block, or with `negated` does not."""

    block: Prefix
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """`-d`: the destination address lies in a block, or with `negated` does not."""

    block: Prefix
    negated: bool = False


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """`--dport` of the protocol that the rule names before it."""

    port: int


@dataclass(frozen=True, slots=True)
class Ports:
    """Any other match of ports: `--sport`, a range, `-m multiport --dports 80,443`; `side` is `s`, `d`, or empty for either."""

    side: str
    ranges: tuple[tuple[int, int], ...]
    negated: bool = False
    multiport: bool = False


@dataclass(frozen=True, slots=True)
class TcpFlags:
    """`--tcp-flags MASK SET` of the protocol tcp: of these flags exactly those are set. A connection's first packet has SYN."""

    mask: tuple[str, ...]
    set: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """`-m mark --mark value/mask`: the packet's mark under the mask equals the value."""

    value: int
    mask: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionMark:
    """`-m connmark --mark value/mask`: the connection's mark under the mask equals the value."""

    value: int
    mask: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ConntrackState:
    """`-m conntrack --ctstate`: the connection is in one of these states (NEW, ESTABLISHED, RELATED, INVALID, DNAT, SNAT)."""

    states: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AddressType:
    """`-m addrtype --src-type|--dst-type`: the node routes the address as LOCAL, or with `negated` does not."""

    side: str
    type: str = "LOCAL"
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Statistic:
    """`-m statistic --mode random`: matches with a probability, as written; `stored` is what the kernel keeps and compares."""

    probability: float = field(compare=False)
    stored: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", int(self.probability * STATISTIC_ONE + 0.5))

    @property
    def effective(self) -> float:
        """The probability that the kernel really applies."""
        return self.stored / STATISTIC_ONE


@dataclass(frozen=True, slots=True)
class RecentCheck:
    """`-m recent --rcheck`: the source was seen in a list within so many seconds; `reap` drops an outdated entry on the way."""

    name: str
    seconds: int
    reap: bool = False


@dataclass(frozen=True, slots=True)
class RecentSet:
    """`-m recent --set`: notes the source in a list; always matches."""

    name: str


@dataclass(frozen=True, slots=True)
class SetMatch:
    """`-m set --match-set`: an ipset holds the packet's fields (`dst,dst`, `src,dst`, …)."""

    name: str
    fields: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InInterface:
    """`-i`: the interface that the packet came in by."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OutInterface:
    """`-o`: the interface that the packet leaves by."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class NfAcct:
    """`-m nfacct`: counts the packet; always matches."""

    name: str


@dataclass(frozen=True, slots=True)
class PhysdevIsIn:
    """`-m physdev --physdev-is-in`: the packet came in by a port of a bridge (no packet does so here)."""

    negated: bool = False


@dataclass(frozen=True, slots=True)
class IpvsVirtual:
    """`-m ipvs --vaddr --vproto --vport`: IPVS sent the packet on, and this was its virtual service."""

    address: Address
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class UnknownMatch:
    """A match that svcsim does not know, as written; whether it holds can only be assumed."""

    text: str


Match = (
    Comment | Protocol | Source | Destination | DestinationPort | Ports | TcpFlags | Mark | ConnectionMark | ConntrackState
    | AddressType | Statistic | RecentCheck | RecentSet | SetMatch | InInterface | OutInterface | NfAcct | PhysdevIsIn
    | IpvsVirtual | UnknownMatch
)


@dataclass(frozen=True, slots=True)
class Jump:
    """`-j CHAIN`: go on in a chain and come back at its end."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """`-g CHAIN`: go on in a chain and return to the caller's caller at its end."""

    chain: str


@dataclass(frozen=True, slots=True)
class Accept:
    """`-j ACCEPT`: the table is done with the packet."""


@dataclass(frozen=True, slots=True)
class Drop:
    """`-j DROP`: the packet is gone."""


@dataclass(frozen=True, slots=True)
class Return:
    """`-j RETURN`: back to the caller, or to the policy of a built-in chain."""


@dataclass(frozen=True, slots=True)
class Reject:
    """`-j REJECT`: the packet is answered with an ICMP error, port unreachable where `kind` is empty, or a TCP reset."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class SetMark:
    """`-j MARK`: `or` sets the bits of a value, `xor` flips them, `set` writes the bits of a mask, all by default."""

    operation: str
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class SetConnectionMark:
    """`-j CONNMARK`: `set` writes a value into the connection's mark, `save` copies the packet's mark there, `restore` back."""

    operation: str
    value: int
    connection_mask: int = 0xFFFFFFFF
    packet_mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Dnat:
    """`-j DNAT --to-destination`: the connection goes to this address and port; with port 0 it keeps its port."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """`-j REDIRECT --to-ports`: the connection goes to a port of the node itself; with port 0 it keeps its port."""

    port: int


@dataclass(frozen=True, slots=True)
class Masquerade:
    """`-j MASQUERADE`: the connection's source becomes the node's own address; `options` are those without a bearing on that."""

    random_fully: bool = False
    options: str = ""


@dataclass(frozen=True, slots=True)
class Snat:
    """`-j SNAT --to-source`: the connection's source becomes this address, and this port unless it is 0."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """A target after which the packet goes on as it is (`-j LOG`, `-j NFLOG`, `-j TCPMSS`, …), as written."""

    text: str


@dataclass(frozen=True, slots=True)
class UnknownTarget:
    """A target that svcsim does not know, as written: what becomes of the packet can't be told."""

    text: str


Target = (
    Jump | Goto | Accept | Drop | Return | Reject | SetMark | SetConnectionMark | Dnat | Redirect | Masquerade | Snat | NoVerdict
    | UnknownTarget
)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a rule was read: its line, from 1, and the text of it."""

    line: int
    text: str


@dataclass(frozen=True)
class Rule:
    """One rule; without a target it only counts. It matches if all of its matches do. `written` is no part of its meaning."""

    matches: tuple[Match, ...]
    target: Target | None = None
    written: Written | None = field(default=None, compare=False, repr=False)

    @property
    def understood(self) -> bool:
        """Whether svcsim knows all of it."""
        return not isinstance(self.target, UnknownTarget) and not any(isinstance(each, UnknownMatch) for each in self.matches)

    @cached_property
    def probability(self) -> Statistic | None:
        """Its `statistic` match, if it has one."""
        return next((match for match in self.matches if isinstance(match, Statistic)), None)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: chains by name, in the order of declaration, and the policies of the built-in ones (ACCEPT or DROP)."""

    chains: Mapping[str, tuple[Rule, ...]]
    policies: Mapping[str, str] = field(default_factory=dict)


Ruleset = Mapping[str, Table]
"""Tables by name (`filter`, `nat`)."""
