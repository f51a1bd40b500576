"""The kernel takes the rules as they are rendered, and lists what was meant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.nftables import listing
from svcsim.linux.nftables.ruleset import AddressMatch, Expression, Rule, Ruleset
from tests.kernel.cluster import iptables_table, nftables_table
from tests.kernel.namespaces import Namespace
from tests.kubeproxy.nftables_clusters import PLANS, proxy_settings, services, slices


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


def test_nft_takes_the_table_and_lists_the_same(namespace: Namespace) -> None:
    table = nftables_table()
    namespace.run("nft", "-f", "-", given=table.text())
    listed = listing.parse(namespace.run("nft", "list", "ruleset"))
    assert listed == in_order(table.ruleset())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nft_takes_generated_tables_of_both_families(namespace: Namespace, data: st.DataObject) -> None:
    plan = PLANS[data.draw(st.sampled_from(("IPv4", "IPv6")))]
    tracker = ChangeTracker(Catalogue(plan.family), "n0")
    for index in range(data.draw(st.integers(1, 3))):
        service = data.draw(services(plan, index))
        tracker.on_service(service)
        tracker.on_slice(data.draw(slices(plan, index, service)))
    proxier = NftablesProxier(data.draw(proxy_settings(plan)), tracker, ProgrammeLibrary())
    proxier.sync(0)
    namespace.run("nft", "flush", "ruleset")
    namespace.run("nft", "-f", "-", given=proxier.table.text())
    assert listing.parse(namespace.run("nft", "list", "ruleset")) == in_order(proxier.table.ruleset())


@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_iptables_restore_takes_the_rules_and_saves_as_many(namespace: Namespace, backend: str) -> None:
    ruleset = iptables_table().ruleset()
    namespace.run(f"iptables-{backend}-restore", given=iptables_text.render(ruleset))
    saved = namespace.run(f"iptables-{backend}-save")
    for name, table in ruleset.items():
        block = saved[saved.index(f"*{name}\n") :]
        block = block[: block.index("COMMIT")]
        for chain, rules in table.chains.items():
            assert block.count(f"\n-A {chain} ") == len(rules), chain
