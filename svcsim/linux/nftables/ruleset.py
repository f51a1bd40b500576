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
HookName = Literal["prerouting", "input", "forward", "output", "postrouting"]
ChainType = Literal["filter", "nat"]
AddressField = Literal["saddr", "daddr"]
KeyField = Literal["daddr", "l4proto", "dport"]
VerdictKind = Literal["jump", "goto", "return", "drop", "reject"]
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
    """`ip saddr @name`: the address is an element of a named set."""

    field: AddressField
    set_name: str


@dataclass(frozen=True, slots=True)
class LocalMatch:
    """`fib saddr type local`: the address is one of the node's own."""

    field: AddressField


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
    """`mark set mark or 0x4000`, `mark set mark xor 0x4000`."""

    operator: Literal["or", "xor"]
    value: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`jump chain`, `goto chain`, `return`, `drop`, `reject` (by default with ICMP port unreachable)."""

    kind: VerdictKind
    chain: str = ""


@dataclass(frozen=True, slots=True)
class MasqueradeStatement:
    """`masquerade fully-random`: source NAT to the address of the interface that the packet leaves by."""


@dataclass(frozen=True, slots=True)
class DnatStatement:
    """`dnat to 10.0.0.1:80`."""

    address: Address
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
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Expressions, run from left to right."""

    expressions: tuple[Expression, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class BaseHook:
    """Where a base chain is hooked into the kernel; lower priorities run first."""

    chain_type: ChainType
    hook: HookName
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A list of rules; with `base` the kernel calls it, without only other chains do."""

    name: str
    rules: tuple[Rule, ...] = ()
    base: BaseHook | None = None
    comment: str = ""


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
