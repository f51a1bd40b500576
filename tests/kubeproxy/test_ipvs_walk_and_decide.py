"""In IPVS mode the walk of the rules and the remembered classes say the same and leave the same behind."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier
from svcsim.kubeproxy.ipvs_sets import Membership
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import parse_address
from svcsim.linux.ipvs import IpvsConnection, IpvsSysctls, IpvsTable
from svcsim.linux.ipvs.text import format_table
from svcsim.linux.netfilter import text
from svcsim.linux.packet import Hook, Packet, Verdict
from svcsim.units import S
from tests.kubeproxy.nftables_clusters import PLANS, packets, proxy_settings, services, slices
from tests.kubeproxy.objects import piece, service

PROXY = ProxySettings(mode="ipvs", node_name="n0", node_ip=0xC0A80001, local_ips=(0xC0A80001,))
WEB = service("web", "10.96.0.10", 80)


def node(set_up, catalogue, library, sysctls) -> IpvsNode:
    return IpvsNode(IpvsProxier(set_up, ChangeTracker(catalogue, "n0"), library, IpvsTable(sysctls)))


def said(decision):
    return (
        decision.verdict, decision.destination, decision.destination_port, decision.masquerade, decision.rules,
        decision.service_rules, decision.statistic_rules, decision.flow is None,
    )


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_walk_and_decide_agree_over_sequences_of_packets_and_syncs(data: st.DataObject) -> None:
    plan = PLANS[data.draw(st.sampled_from(("IPv4", "IPv6")))]
    set_up = data.draw(proxy_settings(plan))
    library, catalogue = IpvsLibrary(), Catalogue(plan.family)
    sysctls = IpvsSysctls.of_kube_proxy()
    walked, decided = (node(set_up, catalogue, library, sysctls) for _ in range(2))
    now_ns, port = 0, 40000
    for _ in range(data.draw(st.integers(1, 3))):
        for index in range(data.draw(st.integers(1, 3))):
            made = data.draw(services(plan, index))
            endpoints = data.draw(slices(plan, index, made))
            for each in (walked, decided):
                each.proxier.tracker.on_service(made)
                each.proxier.tracker.on_slice(endpoints)
        for each in (walked, decided):
            each.proxier.sync(now_ns)
        rules = walked.proxier.rules()
        assert text.parse(text.render(rules)) == rules
        for _ in range(data.draw(st.integers(1, 12))):
            now_ns += data.draw(st.sampled_from((0, 1, 61))) * S
            port += 1
            packet: Packet = data.draw(packets(plan))._replace(source_port=port)
            by_walk, steps = walked.walk(packet, 0.5, now_ns)
            by_class = decided.decide(packet, 0.5, now_ns)
            assert said(by_walk) == said(by_class), "\n".join(map(str, steps))
            assert by_walk.rules == sum(step.table != "ipvs" for step in steps)
            for flow, each in ((by_walk.flow, walked), (by_class.flow, decided)):
                if flow is not None and port % 3 == 0:
                    flow.on_close(now_ns, by_client=True)
                if port % 5 == 0:
                    each.proxier.check_terminating(now_ns)
            assert format_table(walked.proxier.table) == format_table(decided.proxier.table)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_rules_say_the_same_to_all_packets_of_a_class(data: st.DataObject) -> None:
    """Every source to every destination, port and hook, the answer of the class against a walk of its own."""
    plan = PLANS["IPv4"]
    set_up = data.draw(proxy_settings(plan))
    here = node(set_up, Catalogue(plan.family), IpvsLibrary(), IpvsSysctls())
    for index in range(3):
        made = data.draw(services(plan, index))
        if made.spec.type == "LoadBalancer" and made.spec.external_traffic_policy == "Local":
            made = made.model_copy(update={"spec": made.spec.model_copy(update={"health_check_node_port": 443})})
        here.proxier.tracker.on_service(made)
        here.proxier.tracker.on_slice(data.draw(slices(plan, index, made)))
    here.proxier.sync(0)
    here._refresh()
    sources = map(parse_address, ("127.0.0.1", *plan.pods[:2], *plan.nodes[:2], *plan.outside, *plan.cluster_ips[:1]))
    destinations = [*map(parse_address, (*plan.cluster_ips, *plan.external, plan.nodes[0], "127.0.0.1", plan.pods[0]))]
    classes = {}
    for source, destination, port, hook, protocol in product(
        sources, destinations, (80, 443, 30000, 30010), Hook, (6, 17)
    ):
        packet = Packet(protocol, source, 40000, destination, port, hook)
        wanted = here.proxier.wanted((destination, protocol, port))
        view = here._view(here._source(packet), protocol, port, hook)
        if here.proxier.contents.membership((destination, protocol, port)) & Membership.LOAD_BALANCER_FIREWALL:
            view |= here._guard(here._source(packet), (destination, protocol, port)) << 5
        key = here._class(packet, wanted, view)
        before = here._walk_before(packet, wanted, 0)[0]
        assert classes.setdefault(key, before) == before, packet


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ipsets_and_the_questions_of_the_rules_have_the_same_answers(data: st.DataObject) -> None:
    """What `ipsets` lists is what `walk` matches: the sets are not empty where rules say so, and sizes agree."""
    plan = PLANS["IPv4"]
    set_up = data.draw(proxy_settings(plan))
    here = node(set_up, Catalogue(plan.family), IpvsLibrary(), IpvsSysctls())
    proxier = here.proxier
    for index in range(3):
        made = data.draw(services(plan, index))
        proxier.tracker.on_service(made)
        proxier.tracker.on_slice(data.draw(slices(plan, index, made)))
    proxier.sync(0)
    entries = proxier.ipsets()
    assert {name for name, found in entries.items() if found} == {ipset.name for ipset in proxier.filled_sets()}
    packet = data.draw(packets(plan))
    way = here._start(packet, 0)
    for name in ("KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER",
                 "KUBE-LOAD-BALANCER-LOCAL", "KUBE-LOAD-BALANCER-FW"):
        listed = any(
            (one.address, one.port, one.protocol) == (way.destination, way.port, way.protocol) for one in entries[name]
        )
        assert here._in_set(way, name, "dst,dst") == listed, name
    listed = any(one.address == way.destination for one in entries["KUBE-IPVS-IPS"])
    assert here._in_set(way, "KUBE-IPVS-IPS", "dst") == listed


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_virtual_servers_made_on_demand_are_those_that_all_at_once_would_be(data: st.DataObject) -> None:
    """One node gets packets before changes, the other makes everything first: in the end both hold the same servers."""
    plan = PLANS["IPv4"]
    set_up = data.draw(proxy_settings(plan))
    library, catalogue = IpvsLibrary(), Catalogue(plan.family)
    lazy, eager = (node(set_up, catalogue, library, IpvsSysctls()) for _ in range(2))
    for round_ in range(2):
        for index in range(2):
            made = data.draw(services(plan, index))
            endpoints = data.draw(slices(plan, index, made))
            for each in (lazy, eager):
                each.proxier.tracker.on_service(made)
                each.proxier.tracker.on_slice(endpoints)
        for each in (lazy, eager):
            each.proxier.sync(round_ * S)
        eager.proxier.make_all(round_ * S)
    lazy.proxier.make_all(2 * S)
    assert format_table(lazy.proxier.table) == format_table(eager.proxier.table)
    assert sorted(lazy.proxier.live) == lazy.proxier.destinations()


def test_a_refused_connection_leaves_no_entry() -> None:
    here = node(PROXY, Catalogue("IPv4"), IpvsLibrary(), IpvsSysctls())
    here.proxier.tracker.on_service(WEB)
    here.proxier.sync(0)
    address = here.proxier.destinations()[0][0]
    decision = here.decide(Packet(6, 0x0A000001, 40000, address, 80), 0.0, 0)
    assert (decision.verdict, decision.flow) == (Verdict.REJECT, None)
    assert not here.proxier.table.connections
    other_port = here.decide(Packet(6, 0x0A000001, 40000, address, 81), 0.0, 0)
    assert other_port.verdict == Verdict.REJECT


def test_a_flow_is_the_entry_of_ipvs() -> None:
    here = node(PROXY, Catalogue("IPv4"), IpvsLibrary(), IpvsSysctls())
    here.proxier.tracker.on_service(WEB)
    here.proxier.tracker.on_slice(piece("web", "10.0.1.1", "10.0.1.2"))
    here.proxier.sync(0)
    address = here.proxier.destinations()[0][0]
    packet = Packet(6, 0x0A000001, 40000, address, 80)
    decision = here.decide(packet, 0.0, 0)
    assert isinstance(decision.flow, IpvsConnection)
    assert (decision.verdict, decision.destination, decision.destination_port) == (Verdict.DNAT, 0x0A000102, 8080)
    again = here.decide(packet, 0.0, S)
    assert again.flow is decision.flow
    assert decision.flow.on_packet(S)
    assert not decision.flow.on_packet(1000 * S)
