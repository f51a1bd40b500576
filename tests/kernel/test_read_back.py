"""What the kernel's tools print of the rules that they were given, read as `svcsim rules --check` does, says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from svcsim.kubeproxy.settings import IPFamily
from svcsim.linux import dump
from svcsim.linux.address import format_address, parse_address
from svcsim.linux.dump_walk import Host, walk_packet
from svcsim.linux.packet import Verdict
from tests.kernel.cluster import flows, settings, whole_cluster
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS, Plan
from tests.kernel.programmed import BACKENDS
from tests.kernel.traffic import REFUSED, SILENCE, Flow, reached


def read_probabilities(state: dump.Dump, flow: Flow, plan: Plan) -> dict[str, float]:
    """The outcomes of a flow by a dump."""
    addresses = frozenset(map(parse_address, (plan.node, plan.second)))
    found = walk_packet(state, flow.packet(), Host(addresses)).possibilities
    assert found.decided
    told: dict[str, float] = {}
    for share in found.branches[0].shares:
        outcome = share.outcome
        if outcome.verdict in (Verdict.DNAT, Verdict.NO_MATCH):
            client = plan.node if outcome.masquerade else flow.source
            name = reached(format_address(outcome.destination), outcome.port, client)
        else:
            name = REFUSED if outcome.verdict is Verdict.REJECT else SILENCE
        told[name] = told.get(name, 0) + share.probability
    return told


@pytest.mark.parametrize("family", get_args(IPFamily))
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dump_of_the_kernel_s_rules_gives_the_outcomes_of_the_table_with_their_probabilities(
    bench: Callable[..., Bench], backend: str, family: IPFamily
) -> None:
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    asked = bench(backend, settings(plan, "nftables" if backend == "nftables" else "iptables"), cluster.objects)
    saved = asked.programmed.saved(asked.traffic.network.node)
    state = dump.read([("node", saved.encode())])
    assert not state.not_understood
    for flow in [flow for name, flow in flows(cluster) if not name.startswith("sticky")][::2]:
        expected = asked.probabilities(flow, draws=120)
        assert read_probabilities(state, flow, plan) == pytest.approx(expected, abs=0.009), flow
