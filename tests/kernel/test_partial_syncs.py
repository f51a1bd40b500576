"""What a sync gives `iptables-restore --noflush` makes the kernel's tables of before those of after, chains deleted and all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.linux.address import Prefix
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.netfilter.rules import Rule, Ruleset, Source
from tests.kernel.namespaces import Namespace, missing
from tests.kernel.network import NO_RULES
from tests.kubeproxy.clusters import services, settings, slices

NAMES = ("a", "b", "c")
EVERYBODY = Source(Prefix.parse("0.0.0.0/0"))


def content(ruleset: Ruleset) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """All chains with rules; of a rule's matches not the order, which the tools change, nor `-s 0.0.0.0/0`."""

    def value(rule: Rule) -> tuple[Any, ...]:
        return frozenset(match for match in rule.matches if match != EVERYBODY), rule.target

    return {(name, chain): list(map(value, rules)) for name, table in ruleset.items() for chain, rules in table.chains.items()}


@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_each_sync_leaves_the_rules_that_the_node_has_after_it(namespace: Namespace, backend: str) -> None:
    if reason := missing():
        pytest.skip(reason)
    restore, save = f"iptables-{backend}-restore", f"iptables-{backend}-save"

    @budget(
        max_examples=12, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
    )  # shrinking would load rules for minutes
    @given(st.data(), settings().filter(lambda node: not node.nfacct))
    def hold(data: st.DataObject, node: Any) -> None:
        namespace.run(restore, given=NO_RULES)
        tracker = ChangeTracker(Catalogue(), node.node_name)
        proxier = IptablesProxier(node, tracker, IptablesProgrammes(), order=data.draw(st.integers(0, 99)))
        # The chains' creation and the jumps to them are calls of their own in kube-proxy, once at its start.
        namespace.run(restore, given=iptables_text.render(proxier.table.ruleset()))
        for _ in range(data.draw(st.integers(1, 4))):
            for _ in range(data.draw(st.integers(1, 3))):
                name = data.draw(st.sampled_from(NAMES))
                what = data.draw(st.sampled_from(("service", "slice", "slice", "gone")))
                if what == "service":
                    tracker.on_service(data.draw(services(name)))
                elif what == "slice":
                    tracker.on_slice(data.draw(slices(name)))
                else:
                    tracker.on_service_deleted(f"ns/{name}")
            plan = proxier.sync()
            given_to_restore = proxier.restore_input(plan)
            namespace.run(restore, "--noflush", given="\n".join([*given_to_restore.lines(), ""]))
            saved = iptables_text.parse("".join(namespace.run(save, "-t", table) for table in ("filter", "nat")))
            here, there = content(saved), content(proxier.table.ruleset())
            assert {chain: rules for chain, rules in here.items() if rules} == {
                chain: rules for chain, rules in there.items() if rules
            }
            assert {chain for _, chain in here if chain.startswith("KUBE-S")} == {
                chain for _, chain in there if chain.startswith("KUBE-S")
            }

    hold()
