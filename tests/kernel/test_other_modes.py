"""The kernel's part of userspace and IPVS mode: the rules and sets load, and do what svcsim says as far as IPVS is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier
from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle
from svcsim.kubeproxy.settings import IPFamily
from svcsim.kubeproxy.userspace_proxier import UserspaceProxier
from svcsim.linux import ipset
from svcsim.linux.address import format_address
from svcsim.linux.ipvs.settings import IpvsSysctls
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.netfilter.rules import IpvsVirtual, Rule, Ruleset, Table
from svcsim.linux.packet import Verdict
from svcsim.report.node_rules import sets_of
from tests.kernel.cluster import PROXY_PORTS, Cluster, flows, settings, whole_cluster
from tests.kernel.comparison import outcome
from tests.kernel.namespaces import Namespace, missing_ipset, missing_ipvs
from tests.kernel.network import PLANS
from tests.kernel.programmed import tracker
from tests.kernel.traffic import BRIEFLY_S, PATIENCE_S, SILENCE, Flow, Traffic, reached

FAMILIES = get_args(IPFamily)
BACKENDS = ("legacy", "nft")


def tool(family: IPFamily, backend: str) -> str:
    return f"{'ip6tables' if family == 'IPv6' else 'iptables'}-{backend}"


def differences(traffic: Traffic, wanted: dict[Flow, str]) -> list[str]:
    """Flows whose outcome in the kernel is another one."""
    found = []
    for silent in (True, False):
        flows = [flow for flow, told in wanted.items() if (told == SILENCE) is silent]
        outcomes = traffic.send(flows, BRIEFLY_S if silent else PATIENCE_S)
        for flow, told in zip(flows, outcomes, strict=True):
            if told != wanted[flow]:
                found.append(f"{flow}: the kernel {told}, svcsim {wanted[flow]}")
    return found


@pytest.fixture
def clean(traffic: Traffic) -> Iterator[Traffic]:
    """Traffic through a node without rules, before and after."""
    traffic.network.forget()
    yield traffic
    traffic.network.forget()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_portal_rules_of_userspace_mode_lead_to_the_port_of_the_service(
    clean: Traffic, backend: str, family: IPFamily
) -> None:
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    node = settings(plan, "userspace")
    opened: list[int] = []
    proxier = UserspaceProxier(
        node, tracker(node, cluster.objects), RoundRobin(keyed_shuffle(1, "n0")),
        lambda portal: opened.append(portal.proxy_port), lambda portal: None,
    )  # fmt: skip
    proxier.prepare(0, full=True).commit()
    assert set(opened) <= set(PROXY_PORTS)
    clean.network.node.run(f"{tool(family, backend)}-restore", given=iptables_text.render(proxier.path.ruleset()))
    wanted = {}
    for _, flow in flows(cluster):
        if flow.source != plan.loopback:
            decision = proxier.path.decide(flow.packet(), 0.0, 0)
            assert proxier.path.walk(flow.packet(), 0.0, 0)[0] == decision
            wanted[flow] = outcome(decision, flow, plan)
    assert any(reached(plan.node, port, plan.near) in wanted.values() for port in opened)
    found = differences(clean, wanted)
    assert not found, "\n".join(found)


def ipvs_node(cluster: Cluster) -> IpvsNode:
    node = settings(cluster.plan, "ipvs")
    table = IpvsTable(IpvsSysctls.of_kube_proxy())
    proxier = IpvsProxier(node, tracker(node, cluster.objects), IpvsLibrary(), table)
    proxier.sync(0)
    return IpvsNode(proxier)


def without_ipvs_matches(ruleset: Ruleset) -> dict[str, Table]:
    """The rules but for those that ask IPVS."""

    def kept(rule: Rule) -> bool:
        return not any(isinstance(match, IpvsVirtual) for match in rule.matches)

    return {
        name: Table({chain: tuple(filter(kept, rules)) for chain, rules in table.chains.items()}, table.policies)
        for name, table in ruleset.items()
    }


def program(node: Namespace, path: IpvsNode, family: IPFamily, backend: str) -> None:
    """Sets first, then the rules that name them."""
    node.run("ipset", "restore", given=ipset.save(sets_of(path.proxier)))
    rules = path.proxier.rules()
    node.run(
        f"{tool(family, backend)}-restore", given=iptables_text.render(without_ipvs_matches(rules) if missing_ipvs() else rules)
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_sets_and_rules_of_ipvs_mode_load_and_are_saved_as_they_were(
    namespace: Namespace, backend: str, family: IPFamily
) -> None:
    if reason := missing_ipset():
        pytest.skip(reason)
    path = ipvs_node(whole_cluster(PLANS[family]))
    program(namespace, path, family, backend)
    saved = {each.name: each for each in ipset.parse(namespace.run("ipset", "save"))}
    for each in sets_of(path.proxier):
        assert saved[each.name].type == each.type
        assert {element.fields for element in saved[each.name].elements} == {element.fields for element in each.elements}
    rules = without_ipvs_matches(path.proxier.rules())
    shown = iptables_text.parse("".join(namespace.run(f"{tool(family, backend)}-save", "-t", name) for name in rules))
    for name, table in rules.items():
        for chain, held in table.chains.items():
            assert [rule.target for rule in shown[name].chains.get(chain, ())] == [rule.target for rule in held], chain


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_before_ipvs_refuse_and_drop_what_svcsim_says_and_let_the_rest_through(
    clean: Traffic, backend: str, family: IPFamily
) -> None:
    """Without IPVS in the kernel what would go to a real server stays at the virtual address, where a server tells of it."""
    if reason := missing_ipset():
        pytest.skip(reason)
    if not missing_ipvs():
        pytest.skip("this kernel has IPVS: with nothing in it virtual addresses behave otherwise than in this test")
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    path = ipvs_node(cluster)
    node = clean.network.node
    bound = [format_address(address) for address in path.proxier.bound_addresses()]
    number = 6 if family == "IPv6" else 4
    nodad = " nodad" if number == 6 else ""
    node.ip([f"addr add {address}/{plan.bits} dev lo{nodad}" for address in bound], number)
    try:
        program(node, path, family, backend)
        wanted = {}
        for name, flow in flows(cluster):
            if flow.origin == "node" or name.startswith("sticky"):
                continue
            packet = flow.packet()
            place = (packet.destination, packet.protocol, packet.destination_port)
            decision = path.decide(packet, 0.0, 0)
            refused_by_ipvs = decision.verdict is Verdict.REJECT and path.proxier.wanted(place) is not None
            if refused_by_ipvs or decision.verdict is Verdict.DNAT:
                wanted[flow] = reached(flow.destination, flow.port, flow.source)
            else:
                wanted[flow] = outcome(decision, flow, plan)
        found = differences(clean, wanted)
        assert not found, "\n".join(found)
    finally:
        node.ip([f"addr del {address}/{plan.bits} dev lo" for address in bound], number)
        clean.network.forget()
        node.run("ipset", "destroy")
