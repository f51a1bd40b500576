"""An nftables table as typed values: chains, rules, sets and maps, in the subset that kube-proxy writes.

A rule is a row of expressions that run from left to right; a match that fails ends the rule, a verdict decides (nft(8),
"EXPRESSIONS" and "VERDICT STATEMENTS"). Values are immutable; what changes in the kernel by itself (the elements of dynamic
sets) stands apart, in `svcsim.linux.nftables.dynamic`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeAlias

from svcsim.linux.address import Address, Prefix

Family = Literal["ip", "ip6"]
TableFamily = Literal["ip", "ip6", "inet"]
HookName = Literal["prerouting", "input", "forward", "output", "postrouting"]
ChainType = Literal["filter", "nat", "route"]
AddressField = Literal["saddr", "daddr"]
KeyField = Literal["daddr", "l4proto", "dport"]
VerdictKind = Literal["jump", "goto", "return", "accept", "drop", "reject"]
Key: TypeAlias = tuple[int, ...]  # fields of an element as numbers: address, protocol, port

DYNAMIC_SET_SIZE = 65535
"""Elements that a dynamic set holds where none is given (nft src/evaluate.c, `set_evaluate`)."""


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """`ip saddr 10.0.0.0/8`, `ip daddr != { … }`; braces are a matter of writing, not of meaning."""

    field: AddressField
    prefixes: tuple[Prefix, ...]
    negated: bool = False
    braced: bool = dataclasses.field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class SetMatch:
    """`ip saddr @name`: the address is an element of a named set, or with `negated` is not."""

    field: AddressField
    set_name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class LocalMatch:
    """`fib saddr type local`: the address is one of the node's own, or with `negated` is not."""

    field: AddressField
    negated: bool = False


@dataclass(frozen=True, slots=True)
class RandomMatch:
    """`meta random & 2147483647 < n`: as `-m statistic` of iptables, with the number that the kernel stores."""

    stored: int


@dataclass(frozen=True, slots=True)
class ProtocolMatch:
    """`meta l4proto tcp`."""

    protocol: int


@dataclass(frozen=True, slots=True)
class PortMatch:
    """`tcp dport 80`: the transport protocol and its destination port."""

    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class StateNewMatch:
    """`ct state new`."""


@dataclass(frozen=True, slots=True)
class MarkClearMatch:
    """`mark and 0x4000 == 0`: none of the mask's bits is set in the packet's mark."""

    mask: int


@dataclass(frozen=True, slots=True)
class MarkStatement:
    """`mark set mark or 0x4000`, `mark set mark xor 0x4000`; `and` keeps the bits of a value, `set` writes it."""

    operator: Literal["or", "xor", "and", "set"]
    value: int


@dataclass(frozen=True, slots=True)
class MarkMatch:
    """`meta mark & 0x4000 == 0x4000`, `meta mark 0x1`: the mark's bits under a mask."""

    mask: int
    value: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class StateMatch:
    """`ct state established,related`: the connection is in one of these states."""

    states: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class DnatStatusMatch:
    """`ct status dnat`: the connection's destination is translated."""

    negated: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """`iifname "cni0"`, `oifname { "a", "b" }`: the interface by which the packet comes in (`i`) or leaves (`o`)."""

    side: Literal["i", "o"]
    names: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolsMatch:
    """`meta l4proto { tcp, udp }`, `meta l4proto != icmp`."""

    protocols: tuple[int, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PortsMatch:
    """`tcp dport { 80, 443 }`, `udp sport 53`, `tcp dport 30000-32767`; protocol 0 (`th`) is any that has ports."""

    protocol: int
    side: Literal["s", "d"]
    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """`meta nfproto ipv4`: the packet's family, in a table of both."""

    family: Family


@dataclass(frozen=True, slots=True)
class UnknownExpression:
    """What svcsim does not know, as written: whether it matches can only be assumed."""

    text: str


@dataclass(frozen=True, slots=True)
class UnknownStatement:
    """A statement that svcsim does not know and that may decide the packet's fate, as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`jump chain`, `goto chain`, `return`, `drop`, `reject` (by default with ICMP port unreachable)."""

    kind: VerdictKind
    chain: str = ""


@dataclass(frozen=True, slots=True)
class MasqueradeStatement:
    """`masquerade fully-random`: source NAT to the address of the interface that the packet leaves by."""

    flags: str = "fully-random"


@dataclass(frozen=True, slots=True)
class DnatStatement:
    """`dnat to 10.0.0.1:80`; with port 0 the connection keeps its port."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class SnatStatement:
    """`snat to 10.0.0.1`: the connection's source becomes this address, and this port unless it is 0."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class RedirectStatement:
    """`redirect to :8080`: the connection goes to a port of the node itself; with port 0 it keeps its port."""

    port: int


@dataclass(frozen=True, slots=True)
class UpdateStatement:
    """`update @name { ip saddr }`: adds the address to a dynamic set, or starts its time-out anew."""

    set_name: str
    field: AddressField = "saddr"


@dataclass(frozen=True, slots=True)
class MapVerdict:
    """`ip daddr . meta l4proto . th dport vmap @name`: the verdict that the map has for these fields, if any."""

    fields: tuple[KeyField, ...]
    map_name: str


@dataclass(frozen=True, slots=True)
class RandomVerdict:
    """`numgen random mod n vmap { 0 : goto a, … }`: one of n verdicts with equal odds."""

    verdicts: tuple[Verdict, ...]


Expression: TypeAlias = (
    AddressMatch
    | SetMatch
    | LocalMatch
    | ProtocolMatch
    | PortMatch
    | StateNewMatch
    | MarkClearMatch
    | MarkStatement
    | Verdict
    | MasqueradeStatement
    | DnatStatement
    | UpdateStatement
    | MapVerdict
    | RandomVerdict
    | MarkMatch
    | RandomMatch
    | StateMatch
    | DnatStatusMatch
    | InterfaceMatch
    | ProtocolsMatch
    | PortsMatch
    | FamilyMatch
    | SnatStatement
    | RedirectStatement
    | UnknownExpression
    | UnknownStatement
)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a rule was read: its line, from 1, and the text of it."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Expressions, run from left to right. `written` is no part of its meaning."""

    expressions: tuple[Expression, ...]
    comment: str = ""
    written: Written | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def understood(self) -> bool:
        """Whether svcsim knows all of it."""
        return not any(isinstance(each, UnknownExpression | UnknownStatement) for each in self.expressions)


@dataclass(frozen=True, slots=True)
class BaseHook:
    """Where a base chain is hooked into the kernel; lower priorities run first. `policy` is for packets that reach its end."""

    chain_type: ChainType
    hook: HookName
    priority: int
    policy: Literal["accept", "drop"] = "accept"


@dataclass(frozen=True, slots=True)
class Chain:
    """A list of rules; with `base` the kernel calls it, without only other chains do."""

    name: str
    rules: tuple[Rule, ...] = ()
    base: BaseHook | None = None
    comment: str = ""

    @property
    def choices(self) -> int:
        """Among how many endpoints it chooses at random, 0 if it doesn't or there is one alone."""
        numbers = [
            len(each.verdicts) for rule in self.rules for each in rule.expressions if isinstance(each, RandomVerdict)
        ]
        return max((number for number in numbers if number > 1), default=0)


@dataclass(frozen=True, slots=True)
class SetDeclaration:
    """A named set, or with `is_map` a verdict map; `timeout_s` with `dynamic` is that of an element."""

    name: str
    key_types: tuple[str, ...]
    is_map: bool = False
    dynamic: bool = False
    timeout_s: int | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set (no verdict) or of a verdict map."""

    set_name: str
    key: Key
    verdict: Verdict | None = None
    comment: str = ""


@dataclass(slots=True)
class Ruleset:
    """One table of one address family, with chains, sets and elements by name and in order of declaration."""

    family: Family
    table: str
    comment: str = ""
    sets: dict[str, SetDeclaration] = dataclasses.field(default_factory=dict)
    chains: dict[str, Chain] = dataclasses.field(default_factory=dict)
    elements: dict[str, dict[Key, Element]] = dataclasses.field(default_factory=dict)

    def add_element(self, element: Element) -> None:
        """Put an element into its set; one of the same key is replaced."""
        self.elements.setdefault(element.set_name, {})[element.key] = element
