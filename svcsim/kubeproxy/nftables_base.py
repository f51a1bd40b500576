"""The part of kube-proxy's nftables table that does not depend on Services: hooks, checks, masquerading, declarations.

Source: pkg/proxy/nftables/proxier.go, `nftablesBaseChains`, `nftablesJumpChains`, `setupNFTables` (1.31 to 1.34); design
in pkg/proxy/nftables/README.md and KEP-3866.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from svcsim.kubeproxy.nftables_names import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    MARK_FOR_MASQUERADE,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    NODEPORT_IPS,
    REJECT_CHAIN,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    SERVICES,
)
from svcsim.kubeproxy.settings import LOOPBACK, IPFamily, ProxySettings
from svcsim.linux.address import Address, Prefix, is_ipv6
from svcsim.linux.nftables.ruleset import (
    AddressMatch,
    BaseHook,
    Chain,
    ChainType,
    Expression,
    Family,
    HookName,
    LocalMatch,
    MapVerdict,
    MarkClearMatch,
    MarkStatement,
    MasqueradeStatement,
    Rule,
    SetDeclaration,
    SetMatch,
    StateNewMatch,
    Verdict,
)
from svcsim.linux.nftables.walk import chains_at_hook

_BASE_CHAINS: tuple[tuple[str, ChainType, HookName, int], ...] = (
    ("filter-prerouting-pre-dnat", "filter", "prerouting", -110),
    ("filter-output-pre-dnat", "filter", "output", -110),
    ("filter-forward", "filter", "forward", 0),
    ("filter-input", "filter", "input", 0),
    ("filter-output", "filter", "output", 0),
    ("nat-output", "nat", "output", -100),
    ("nat-postrouting", "nat", "postrouting", 100),
    ("nat-prerouting", "nat", "prerouting", -100),
)
_JUMPS: tuple[tuple[str, str, bool], ...] = (
    ("filter-input", "nodeport-endpoints-check", True),
    ("filter-input", "service-endpoints-check", True),
    ("filter-forward", "service-endpoints-check", True),
    ("filter-output", "service-endpoints-check", True),
    ("filter-prerouting-pre-dnat", "firewall-check", True),
    ("filter-output-pre-dnat", "firewall-check", True),
    ("nat-output", SERVICES, False),
    ("nat-prerouting", SERVICES, False),
    ("nat-postrouting", "masquerading", False),
    ("filter-forward", "cluster-ips-check", True),
    ("filter-output", "cluster-ips-check", True),
)
_CHAIN_COMMENTS = {REJECT_CHAIN: "helper for @no-endpoint-services / @no-endpoint-nodeports"}
_ORDER = (
    "cluster-ips-check",
    "filter-prerouting-pre-dnat",
    "filter-output-pre-dnat",
    "filter-forward",
    "filter-input",
    "filter-output",
    "firewall-check",
    MARK_FOR_MASQUERADE,
    "masquerading",
    "nat-output",
    "nat-postrouting",
    "nat-prerouting",
    "nodeport-endpoints-check",
    REJECT_CHAIN,
    SERVICES,
    "service-endpoints-check",
)
TABLE_COMMENT = "rules for kube-proxy"


@dataclass(frozen=True, slots=True)
class BaseTable:
    """Declarations and chains that stand in the table from the first sync on; shared by nodes that are set up alike.

    `service_cidrs` are of the table's family. `matches_all` tells that node ports answer on every local address.
    """

    family: Family
    chains: dict[str, Chain]
    sets: dict[str, SetDeclaration]
    service_cidrs: tuple[Prefix, ...]
    matches_all: bool
    hooks: dict[HookName, list[Chain]]


def nft_family(family: IPFamily) -> Family:
    """`ip` or `ip6`."""
    return "ip6" if family == "IPv6" else "ip"


def nodeport_matches_all(settings: ProxySettings) -> bool:
    """Whether node ports answer on every local address: only if a zero block asks for it (cmd/kube-proxy/app/server_linux.go:
    the default of this mode is the primary node address)."""
    return bool(settings.nodeport_addresses) and settings.serves_every_nodeport_address


def nodeport_ips(settings: ProxySettings) -> tuple[Address, ...]:
    """Elements of `nodeport-ips`: never loopback; the primary node address where nothing else is asked for."""
    if not settings.nodeport_addresses:
        return (settings.node_ip,) if is_ipv6(settings.node_ip) == settings.is_ipv6 else ()
    return tuple(address for address in settings.nodeport_ips() if address not in settings.loopback)


def service_cidrs(settings: ProxySettings) -> tuple[Prefix, ...]:
    """The Service blocks of the proxier's family, in the order given (OnServiceCIDRsChanged)."""
    return tuple(block for block in settings.service_cidrs if is_ipv6(block.base) == settings.is_ipv6)


def base_table(settings: ProxySettings) -> BaseTable:
    """The base of a node's table; the same object for nodes that are set up alike."""
    return _base_table(settings.family, settings.masquerade_mark, service_cidrs(settings), nodeport_matches_all(settings))


@lru_cache(maxsize=64)
def _base_table(family: IPFamily, mark: int, cidrs: tuple[Prefix, ...], matches_all: bool) -> BaseTable:
    rules = _rules(family, mark, cidrs, matches_all)
    bases = {name: BaseHook(chain_type, hook, priority) for name, chain_type, hook, priority in _BASE_CHAINS}
    chains = {name: Chain(name, tuple(rules[name]), bases.get(name), _CHAIN_COMMENTS.get(name, "")) for name in _ORDER}
    hooks: tuple[HookName, ...] = ("prerouting", "input", "forward", "output", "postrouting")
    return BaseTable(
        nft_family(family),
        chains,
        _sets("ipv6_addr" if family == "IPv6" else "ipv4_addr", matches_all),
        cidrs,
        matches_all,
        {hook: chains_at_hook(chains, hook) for hook in hooks},
    )


def _sets(address: str, matches_all: bool) -> dict[str, SetDeclaration]:
    of_service, of_nodeport = (address, "inet_proto", "inet_service"), ("inet_proto", "inet_service")
    declarations = [SetDeclaration(CLUSTER_IPS, (address,), comment="Active ClusterIPs")]
    if not matches_all:
        declarations.append(SetDeclaration(NODEPORT_IPS, (address,), comment="IPs that accept NodePort traffic"))
    for name, fields, comment in (
        (FIREWALL_IPS, of_service, "destinations that are subject to LoadBalancerSourceRanges"),
        (NO_ENDPOINT_NODEPORTS, of_nodeport, "vmap to drop or reject packets to service nodeports with no endpoints"),
        (NO_ENDPOINT_SERVICES, of_service, "vmap to drop or reject packets to services with no endpoints"),
        (SERVICE_IPS, of_service, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        (SERVICE_NODEPORTS, of_nodeport, "NodePort traffic"),
    ):
        declarations.append(SetDeclaration(name, fields, is_map=True, comment=comment))
    return {declaration.name: declaration for declaration in declarations}


def _rules(family: IPFamily, mark: int, cidrs: tuple[Prefix, ...], matches_all: bool) -> dict[str, list[Rule]]:
    rules: dict[str, list[Rule]] = {name: [] for name in _ORDER}

    def add(chain: str, *expressions: Expression, comment: str = "") -> None:
        rules[chain].append(Rule(expressions, comment))

    for source, target, only_new in _JUMPS:
        jump = Verdict("jump", target)
        add(source, *((StateNewMatch(), jump) if only_new else (jump,)))

    add(MARK_FOR_MASQUERADE, MarkStatement("or", mark))
    add("masquerading", MarkClearMatch(mark), Verdict("return"))
    add("masquerading", MarkStatement("xor", mark))
    add("masquerading", MasqueradeStatement())

    invalid = "Reject traffic to invalid ports of ClusterIPs"
    add("cluster-ips-check", SetMatch("daddr", CLUSTER_IPS), Verdict("reject"), comment=invalid)
    if cidrs:
        outside = "Drop traffic to unallocated ClusterIPs"
        add("cluster-ips-check", AddressMatch("daddr", cidrs, braced=True), Verdict("drop"), comment=outside)

    add(REJECT_CHAIN, Verdict("reject"))
    add("service-endpoints-check", MapVerdict(("daddr", "l4proto", "dport"), NO_ENDPOINT_SERVICES))
    add("firewall-check", MapVerdict(("daddr", "l4proto", "dport"), FIREWALL_IPS))
    add(SERVICES, MapVerdict(("daddr", "l4proto", "dport"), SERVICE_IPS))

    no_loopback = AddressMatch("daddr", (LOOPBACK[family],), negated=True)
    if matches_all:
        add("nodeport-endpoints-check", no_loopback, MapVerdict(("l4proto", "dport"), NO_ENDPOINT_NODEPORTS))
        add(SERVICES, LocalMatch("daddr"), no_loopback, MapVerdict(("l4proto", "dport"), SERVICE_NODEPORTS))
    else:
        own = SetMatch("daddr", NODEPORT_IPS)
        add("nodeport-endpoints-check", own, MapVerdict(("l4proto", "dport"), NO_ENDPOINT_NODEPORTS))
        add(SERVICES, own, MapVerdict(("l4proto", "dport"), SERVICE_NODEPORTS))
    return rules
