"""All iptables rules of a node put together: whole, as the kernel holds them, and what one sync hands to iptables-restore.

Source: pkg/proxy/iptables/proxier.go (syncProxyRules), kubernetes 1.30 to 1.34.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from svcsim.kubeproxy import iptables_base as base_rules
from svcsim.kubeproxy import iptables_chains as chains
from svcsim.kubeproxy.iptables_list import ListKind, RuleList
from svcsim.kubeproxy.iptables_programme import Programme
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.netfilter.rules import Comment, Rule, Table
from svcsim.linux.netfilter.text import render_table

SERVICE_CHAINS = frozenset({("nat", chains.SERVICES), ("nat", chains.NODE_PORTS)})
"""The linear Service list, as `Decision.service_rules` counts it."""

Lists = Mapping[ListKind, RuleList]


def _rules(rules: RuleList) -> tuple[Rule, ...]:
    return tuple(item.rule for item in rules.in_order())


def _filter(settings: ProxySettings, lists: Lists) -> dict[str, tuple[Rule, ...]]:
    firewall = base_rules.kubelet_firewall(settings)
    return {
        chains.NODE_PORTS: _rules(lists["health"]),
        chains.SERVICES: _rules(lists["filter_services"]),
        chains.EXTERNAL_SERVICES: _rules(lists["external"]),
        **({chains.KUBELET_FIREWALL: firewall} if firewall else {}),
        chains.FORWARD: base_rules.forward(settings),
        chains.PROXY_FIREWALL: _rules(lists["firewall"]),
    }


def _nat(settings: ProxySettings, lists: Lists) -> dict[str, tuple[Rule, ...]]:
    return {
        chains.NODE_PORTS: _rules(lists["node_ports"]),
        chains.SERVICES: _rules(lists["services"]) + base_rules.node_port_jumps(settings),
        chains.MARK_MASQ: base_rules.mark_masq(settings),
        chains.POSTROUTING: base_rules.postrouting(settings),
    }


def whole_ruleset(settings: ProxySettings, lists: Lists, programmes: Iterable[Programme]) -> dict[str, Table]:
    """The rules as the kernel holds them, with the built-in chains."""
    filter_chains = {**base_rules.FILTER_JUMPS, chains.KUBELET_FIREWALL: (), **_filter(settings, lists)}
    nat_chains = {**base_rules.NAT_JUMPS, **_nat(settings, lists)}
    for programme in programmes:
        nat_chains.update(programme.written.chains)
    return {
        "filter": Table(filter_chains, dict.fromkeys(base_rules.FILTER_JUMPS, "ACCEPT")),
        "nat": Table(nat_chains, dict.fromkeys(base_rules.NAT_JUMPS, "ACCEPT")),
    }


def _without_comments(chain: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """A large cluster's chains: no comments on endpoints (appendServiceCommentLocked)."""
    if chain.startswith(chains.ENDPOINT):
        return tuple(_bare(rule) for rule in rules)
    if chain.startswith((chains.CLUSTER_POLICY, chains.LOCAL_POLICY)):
        return tuple(_bare(rule) if _is_to_endpoint(rule) else rule for rule in rules)
    return rules


def _is_to_endpoint(rule: Rule) -> bool:
    return getattr(rule.target, "chain", "").startswith(chains.ENDPOINT)


def _bare(rule: Rule) -> Rule:
    return Rule(tuple(match for match in rule.matches if not isinstance(match, Comment)), rule.target)


@dataclass(frozen=True, slots=True)
class RestoreInput:
    """What one sync hands to `iptables-restore --noflush`: tables, and chains of nat to delete."""

    tables: Mapping[str, Table]
    deleted: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The text, line by line."""
        return [
            line
            for name, table in self.tables.items()
            for line in render_table(name, table, deleted=self.deleted if name == "nat" else ())
        ]


def restore_input(
    settings: ProxySettings,
    lists: Lists,
    written: Iterable[Programme],
    *,
    stale: Iterable[Programme] = (),
    in_use: Container[str] = (),
    large_cluster: bool = False,
) -> RestoreInput:
    """The input of a sync that writes the chains of some programmes; shared chains are always written whole.

    Chains of `stale` programmes that are not `in_use` are emptied and deleted. kube-proxy's own order of chains is that of a Go
    map; here they are sorted.
    """
    nat = _nat(settings, lists)
    for programme in written:
        for chain, rules in programme.written.chains.items():
            nat[chain] = _without_comments(chain, rules) if large_cluster else rules
    deleted = {chain: None for programme in stale for chain in programme.chain_names if chain not in in_use}
    for chain in deleted:
        nat.setdefault(chain, ())
    names = [chains.NODE_PORTS, chains.SERVICES]
    names += sorted(set(nat) - set(names))
    ordered = {name: nat[name] for name in names}
    return RestoreInput({"filter": Table(_filter(settings, lists)), "nat": Table(ordered)}, tuple(sorted(deleted)))
