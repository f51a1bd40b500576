"""What kube-proxy writes for one Service port in iptables mode: an immutable programme that nodes of a flavour share.

A programme knows at once how many rules it has and where packets go; the rules themselves are made when somebody asks.

Source: pkg/proxy/iptables/proxier.go (syncProxyRules, writeServiceToEndpointRules), kubernetes 1.30 to 1.34.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from svcsim.kubeproxy import iptables_chains as chains
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.iptables_entries import Entry, External, Firewall, Internal, PolicyChain
from svcsim.kubeproxy.iptables_list import Listed, ListKind
from svcsim.kubeproxy.service_ports import ServicePortInfo
from svcsim.kubeproxy.settings import LOOPBACK, ProxySettings
from svcsim.kubeproxy.topology import Endpoints
from svcsim.linux.address import Address, Prefix
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    Comment,
    Destination,
    DestinationPort,
    Dnat,
    Drop,
    Jump,
    Match,
    NfAcct,
    Protocol,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    Source,
    Statistic,
)
from svcsim.linux.packet import TCP, Verdict

LOCALHOST_COUNTER = "localhost_nps_accepted_pkts"
LOOPBACK_KEY = 1 << 200
"""Set in the key of a node port's rule for loopback destinations."""

_MARK = Jump(chains.MARK_MASQ)


@dataclass(frozen=True, slots=True)
class Flavour:
    """The settings of a node that shape its programmes; nodes that agree in these share them."""

    masquerade_all: bool = False
    cluster_cidr: Prefix | None = None
    counts_localhost: bool = False
    has_nodeport_addresses: bool = True

    @classmethod
    def of(cls, settings: ProxySettings) -> Flavour:
        """The flavour of a node; `cluster_cidr` only where the proxy detects pods' traffic."""
        return cls(
            masquerade_all=settings.masquerade_all,
            cluster_cidr=settings.cluster_cidr if settings.detects_local_traffic else None,
            counts_localhost=settings.localhost_nodeports and not settings.is_ipv6 and settings.nfacct,
            has_nodeport_addresses=bool(settings.nodeport_ips()),
        )


@dataclass(frozen=True, slots=True)
class Written:
    """The rules of a programme: those in shared chains, in the order of its `Listed`s, and its own chains with comments."""

    services: tuple[Rule, ...]
    node_ports: tuple[Rule, ...]
    filter_services: tuple[Rule, ...]
    external: tuple[Rule, ...]
    firewall: tuple[Rule, ...]
    health: tuple[Rule, ...]
    chains: Mapping[str, tuple[Rule, ...]]


def address_key(address: int, port: int, protocol: int) -> int:
    """The key of what is addressed to an address and port; address 0 for a node port."""
    return address << 24 | port << 8 | protocol


class Programme:
    """One Service port on the nodes of a flavour. `endpoints` is what `categorize` chose of `total`; `from_node` tells whether a
    source range holds the node's own address."""

    def __init__(
        self, info: ServicePortInfo, endpoints: Endpoints, flavour: Flavour, *, total: int, from_node: bool = False
    ) -> None:
        self.info = info
        self.endpoints = endpoints
        self.flavour = flavour
        self.from_node = from_node
        self.sort_key = (str(info.name), info.protocol)
        cluster, local = endpoints.cluster or (), endpoints.local or ()
        self.has_internal = bool(local) if info.internal_policy_local else endpoints.has_any
        self.has_external = bool(local) if info.external_policy_local else endpoints.has_any
        self.uses_external = endpoints.has_any and info.externally_accessible
        self.uses_firewall = bool(endpoints.has_any and info.load_balancer_vips and info.source_ranges)
        self.total_endpoints = total
        affinity = 2 if info.affinity_seconds is not None else 1
        detects = flavour.cluster_cidr is not None
        firewall_rules = len(info.source_ranges) + 1 + (len(info.load_balancer_vips) if from_node else 0)
        external_rules = (3 if detects else 2) if info.external_policy_local else 1
        self.nat_chain_rules = (
            (1 if self.has_internal and (flavour.masquerade_all or detects) else 0)
            + (external_rules + self.has_external if self.uses_external else 0)
            + (firewall_rules if self.uses_firewall else 0)
            + (len(cluster) + len(local)) * affinity
            + 2 * len(endpoints.reachable)
        )
        self._list()

    def _policy_chain(self, endpoints: tuple[EndpointInfo, ...], *, internal: bool) -> PolicyChain:
        flavour = self.flavour
        return PolicyChain(
            self.info, endpoints, flavour.masquerade_all and internal, flavour.cluster_cidr if internal else None
        )

    def _list(self) -> None:
        """Place the programme's rules in the shared chains, with what each leads to."""
        info, endpoints, flavour = self.info, self.endpoints, self.flavour
        protocol = info.protocol_number
        internal_local = info.internal_policy_local
        cluster = self._policy_chain(endpoints.cluster, internal=not internal_local) if endpoints.cluster else None
        local = self._policy_chain(endpoints.local, internal=internal_local) if endpoints.local else None
        services: list[tuple[int, Entry]] = []
        node_ports: list[tuple[int, Entry]] = []
        refused: list[tuple[int, Verdict]] = []
        external: list[tuple[int, Verdict]] = []
        inside = local if internal_local else cluster
        cluster_key = address_key(info.cluster_ip, info.port, protocol)
        denied = Verdict.DROP if endpoints.has_any else Verdict.REJECT
        if self.has_internal and inside is not None:
            services.append((cluster_key, Internal(inside)))
        else:
            refused.append((cluster_key, denied))
        outside = [address_key(address, info.port, protocol) for address in info.external_ips]
        balanced = [address_key(address, info.port, protocol) for address in info.load_balancer_vips]
        if self.uses_external:
            target = External(cluster, local, flavour.cluster_cidr, policy_local=info.external_policy_local)
            services += [(key, target) for key in outside]
            guard = Firewall(target, self.accepted_blocks) if self.uses_firewall else target
            services += [(key, guard) for key in balanced]
        if not self.has_external:
            external += [(key, denied) for key in outside + balanced]
        if info.node_port and flavour.has_nodeport_addresses:
            key = address_key(0, info.node_port, protocol)
            if self.uses_external:
                keys = (LOOPBACK_KEY | key, key) if flavour.counts_localhost else (key,)
                node_ports += [(each, target) for each in keys]
            if not self.has_external:
                external.append((key, denied))
        guarded = [(key, Verdict.DROP) for key in balanced] if self.uses_firewall else []
        health = info.health_check_node_port
        placed: dict[ListKind, list[tuple[int, Entry]] | list[tuple[int, Verdict]]] = {
            "services": services,
            "node_ports": node_ports,
            "filter_services": refused,
            "external": external,
            "firewall": guarded,
            "health": [(address_key(0, health, TCP), Verdict.NO_MATCH)] if health else [],
        }
        self.listed: dict[ListKind, tuple[Listed, ...]] = {
            kind: tuple(Listed(self, kind, ordinal, key, target) for ordinal, (key, target) in enumerate(targets))
            for kind, targets in placed.items()
        }

    @property
    def accepted_blocks(self) -> tuple[Prefix, ...]:
        """Sources that the firewall chain lets through: the ranges, and the balancer's addresses where the node is in one."""
        info = self.info
        hosts = info.load_balancer_vips if self.from_node else ()
        return info.source_ranges + tuple(_host(address) for address in hosts)

    @property
    def affinity_lists(self) -> tuple[str, ...]:
        """The `recent` lists that the programme's rules refer to: none without affinity."""
        return self.endpoint_chains if self.info.affinity_seconds is not None else ()

    @cached_property
    def endpoint_chains(self) -> tuple[str, ...]:
        """The chain of each reachable endpoint."""
        return tuple(chains.endpoint_chain(self.info.name, each.text) for each in self.endpoints.reachable)

    @cached_property
    def chain_names(self) -> tuple[str, ...]:
        """All chains of its own, in the order in which kube-proxy declares them."""
        suffix = chains.service_hash(self.info.name)
        present = (
            (chains.EXTERNAL, self.uses_external),
            (chains.FIREWALL, self.uses_firewall),
            (chains.CLUSTER_POLICY, bool(self.endpoints.cluster)),
            (chains.LOCAL_POLICY, bool(self.endpoints.local)),
        )
        return (*(prefix + suffix for prefix, used in present if used), *self.endpoint_chains)

    @cached_property
    def written(self) -> Written:
        """The rules, with all comments."""
        return _Writer(self).write()


class Swap(NamedTuple):
    """A Service port's programme before and after; None where it has none."""

    old: Programme | None
    new: Programme | None


def _host(address: Address) -> Prefix:
    return Prefix(address, 128 if address >> 128 else 32)


class _Writer:
    """Writes a programme's rules down."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.info = programme.info
        self.text = str(programme.info.name)
        self.protocol = Protocol(programme.info.protocol_number)
        suffix = chains.service_hash(programme.info.name)
        self.cluster_chain = chains.CLUSTER_POLICY + suffix
        self.local_chain = chains.LOCAL_POLICY + suffix
        self.external_chain = chains.EXTERNAL + suffix
        self.firewall_chain = chains.FIREWALL + suffix
        self.denied = Drop() if programme.endpoints.has_any else Reject()
        self.denied_comment = f"{self.text} has no {'local ' if programme.endpoints.has_any else ''}endpoints"

    def to_port(self, comment: str, address: Address, target: Jump | Drop | Reject, *more: Match) -> Rule:
        where = Destination(_host(address))
        return Rule((Comment(comment), self.protocol, where, DestinationPort(self.info.port), *more), target)

    def write(self) -> Written:
        """All of it."""
        programme, info, text = self.programme, self.info, self.text
        services: list[Rule] = []
        refused: list[Rule] = []
        external: list[Rule] = []
        firewall: list[Rule] = []
        inside = Jump(self.local_chain if info.internal_policy_local else self.cluster_chain)
        if programme.has_internal:
            services.append(self.to_port(f"{text} cluster IP", info.cluster_ip, inside))
        else:
            refused.append(self.to_port(self.denied_comment, info.cluster_ip, self.denied))
        if programme.uses_external:
            outside = Jump(self.external_chain)
            services += [self.to_port(f"{text} external IP", address, outside) for address in info.external_ips]
            balanced = Jump(self.firewall_chain) if programme.uses_firewall else outside
            services += [self.to_port(f"{text} loadbalancer IP", each, balanced) for each in info.load_balancer_vips]
        if not programme.has_external:
            addresses = info.external_ips + info.load_balancer_vips
            external += [self.to_port(self.denied_comment, address, self.denied) for address in addresses]
        if programme.uses_firewall:
            unaccepted = f"{text} traffic not accepted by {self.firewall_chain}"
            firewall += [self.to_port(unaccepted, address, Drop()) for address in info.load_balancer_vips]
        node_ports = self.node_ports(external)
        health = (
            Rule(
                (
                    Comment(f"{text} health check node port"), Protocol(TCP),
                    DestinationPort(info.health_check_node_port),
                ),
                Accept(),
            ),
        )
        return Written(
            services=tuple(services),
            node_ports=node_ports,
            filter_services=tuple(refused),
            external=tuple(external),
            firewall=tuple(firewall),
            health=health if info.health_check_node_port else (),
            chains=self.chains(inside.chain),
        )

    def node_ports(self, external: list[Rule]) -> tuple[Rule, ...]:
        info, programme = self.info, self.programme
        if not info.node_port or not programme.flavour.has_nodeport_addresses:
            return ()
        port = DestinationPort(info.node_port)
        rules = []
        if programme.uses_external:
            target = Jump(self.external_chain)
            if programme.flavour.counts_localhost:
                loopback = Destination(LOOPBACK["IPv4"])
                rules.append(
                    Rule((Comment(self.text), self.protocol, loopback, port, NfAcct(LOCALHOST_COUNTER)), target)
                )
            rules.append(Rule((Comment(self.text), self.protocol, port), target))
        if not programme.has_external:
            external.append(
                Rule((Comment(self.denied_comment), AddressType("dst"), self.protocol, port), self.denied)
            )
        return tuple(rules)

    def chains(self, inside: str) -> dict[str, tuple[Rule, ...]]:
        programme, info, text = self.programme, self.info, self.text
        found: dict[str, list[Rule]] = {name: [] for name in programme.chain_names}
        cidr = programme.flavour.cluster_cidr
        if programme.has_internal and (programme.flavour.masquerade_all or cidr is not None):
            elsewhere = () if programme.flavour.masquerade_all or cidr is None else (Source(cidr, negated=True),)
            found[inside].append(self.to_port(f"{text} cluster IP", info.cluster_ip, _MARK, *elsewhere))
        if programme.uses_external:
            found[self.external_chain] += self.external_rules()
        if programme.uses_firewall:
            found[self.firewall_chain] += [
                Rule((Comment(f"{text} loadbalancer IP"), Source(block)), Jump(self.external_chain))
                for block in programme.accepted_blocks
            ]
            found[self.firewall_chain].append(
                Rule((Comment(f"other traffic to {text} will be dropped by {chains.PROXY_FIREWALL}"),))
            )
        for chain, endpoints in (
            (self.cluster_chain, programme.endpoints.cluster), (self.local_chain, programme.endpoints.local)
        ):
            if endpoints:
                found[chain] += self.balancing(endpoints)
        for chain, endpoint in zip(programme.endpoint_chains, programme.endpoints.reachable, strict=True):
            found[chain] += self.endpoint(chain, endpoint)
        return {chain: tuple(rules) for chain, rules in found.items()}

    def external_rules(self) -> list[Rule]:
        text, cidr = self.text, self.programme.flavour.cluster_cidr
        if not self.info.external_policy_local:
            return [
                Rule((Comment(f"masquerade traffic for {text} external destinations"),), _MARK),
                Rule((), Jump(self.cluster_chain)),
            ]
        rules = []
        if cidr is not None:
            pods = Comment(f"pod traffic for {text} external destinations")
            rules.append(Rule((pods, Source(cidr)), Jump(self.cluster_chain)))
        masquerade = Comment(f"masquerade LOCAL traffic for {text} external destinations")
        route = Comment(f"route LOCAL traffic for {text} external destinations")
        rules.append(Rule((masquerade, AddressType("src")), _MARK))
        rules.append(Rule((route, AddressType("src")), Jump(self.cluster_chain)))
        if self.programme.has_external:
            rules.append(Rule((), Jump(self.local_chain)))
        return rules

    def balancing(self, endpoints: tuple[EndpointInfo, ...]) -> list[Rule]:
        names = [chains.endpoint_chain(self.info.name, each.text) for each in endpoints]
        comments = [Comment(f"{self.text} -> {each.text}") for each in endpoints]
        rules = []
        if self.info.affinity_seconds is not None:
            for comment, name in zip(comments, names, strict=True):
                rules.append(Rule((comment, RecentCheck(name, self.info.affinity_seconds, reap=True)), Jump(name)))
        for index, (comment, name) in enumerate(zip(comments, names, strict=True)):
            left = len(endpoints) - index
            chance = (Statistic(chains.probability(left)),) if left > 1 else ()
            rules.append(Rule((comment, *chance), Jump(name)))
        return rules

    def endpoint(self, chain: str, endpoint: EndpointInfo) -> list[Rule]:
        comment = Comment(self.text)
        noted = (RecentSet(chain),) if self.info.affinity_seconds is not None else ()
        return [
            Rule((comment, Source(_host(endpoint.address))), _MARK),
            Rule((comment, *noted, self.protocol), Dnat(endpoint.address, endpoint.port)),
        ]
