"""The kernel takes the rules as they are rendered, and lists what was meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.settings import IPFamily
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.netfilter.rules import Rule as IptablesRule
from svcsim.linux.nftables import listing
from svcsim.linux.nftables.ruleset import AddressMatch, Expression, Rule, Ruleset
from tests.kernel.cluster import SET_UPS, set_up, whole_cluster
from tests.kernel.namespaces import Namespace
from tests.kernel.network import PLANS
from tests.kernel.programmed import iptables_table, nftables_table, tracker
from tests.kubeproxy.nftables_clusters import PLANS as DRAWN_PLANS
from tests.kubeproxy.nftables_clusters import proxy_settings, services, slices

FAMILIES = get_args(IPFamily)


def in_order(ruleset: Ruleset) -> Ruleset:
    """The table with addresses of anonymous sets as the kernel lists them: sorted."""

    def expression(given: Expression) -> Expression:
        if isinstance(given, AddressMatch):
            return replace(given, prefixes=tuple(sorted(given.prefixes, key=lambda prefix: (prefix.base, prefix.length))))
        return given

    def rule(given: Rule) -> Rule:
        return replace(given, expressions=tuple(map(expression, given.expressions)))

    chains = {name: replace(chain, rules=tuple(map(rule, chain.rules))) for name, chain in ruleset.chains.items()}
    return replace(ruleset, chains=chains)


@pytest.mark.parametrize("name", SET_UPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nft_takes_the_table_and_lists_the_same(namespace: Namespace, family: IPFamily, name: str) -> None:
    plan = PLANS[family]
    table = nftables_table(set_up(plan, "nftables", name), whole_cluster(plan).objects)
    namespace.run("nft", "-f", "-", given=table.text())
    listed = listing.parse(namespace.run("nft", "list", "ruleset"))
    assert listed == in_order(table.ruleset())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nft_takes_generated_tables_of_both_families(namespace: Namespace, data: st.DataObject) -> None:
    plan = DRAWN_PLANS[data.draw(st.sampled_from(FAMILIES))]
    objects = []
    for index in range(data.draw(st.integers(1, 3))):
        service = data.draw(services(plan, index))
        objects += [service, data.draw(slices(plan, index, service))]
    node = data.draw(proxy_settings(plan))
    proxier = NftablesProxier(node, tracker(node, objects), ProgrammeLibrary())
    proxier.sync(0)
    namespace.run("nft", "flush", "ruleset")
    namespace.run("nft", "-f", "-", given=proxier.table.text())
    assert listing.parse(namespace.run("nft", "list", "ruleset")) == in_order(proxier.table.ruleset())


def content(rule: IptablesRule) -> tuple[Any, ...]:
    """A rule without the order of its matches, which the tools change."""
    return frozenset(rule.matches), rule.target


@pytest.mark.parametrize("name", SET_UPS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_iptables_restore_takes_the_rules_and_iptables_save_shows_the_same(
    namespace: Namespace, backend: str, family: IPFamily, name: str
) -> None:
    plan = PLANS[family]
    tool = f"{'ip6tables' if family == 'IPv6' else 'iptables'}-{backend}"
    ruleset = iptables_table(set_up(plan, "iptables", name), whole_cluster(plan).objects, order=1).ruleset()
    namespace.run(f"{tool}-restore", given=iptables_text.render(ruleset))
    saved = iptables_text.parse("".join(namespace.run(f"{tool}-save", "-t", table) for table in ruleset))
    for table, held in ruleset.items():
        for chain, rules in held.chains.items():
            assert list(map(content, saved[table].chains.get(chain, ()))) == list(map(content, rules)), chain
