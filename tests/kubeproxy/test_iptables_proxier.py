from __future__ import annotations

from collections import Counter

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import ClientIPConfig, Service, SessionAffinityConfig
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker, Snapshot
from svcsim.kubeproxy.iptables_chains import endpoint_chain
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import FULL_SYNC_PERIOD_NS, IptablesProxier
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, format_address, parse_address
from svcsim.linux.packet import TCP, Decision, Packet, Verdict
from tests.kubeproxy.objects import endpoint, piece, service

POD = "10.0.9.9"


def settings(node: str = "here", **more: object) -> ProxySettings:
    return ProxySettings(
        node_name=node,
        node_ip=parse_address("192.168.0.2"),
        local_ips=(parse_address("192.168.0.2"),),
        local_detector="ByCIDR",
        cluster_cidr=Prefix.parse("10.0.0.0/8"),
        **more,  # type: ignore[arg-type]
    )


def fleet(
    count: int, services: list[Service], slices: list[EndpointSlice], shared: IptablesProgrammes | None = None
) -> list[IptablesProxier]:
    catalogue, shared = Catalogue(), shared or IptablesProgrammes()
    snapshot: Snapshot = catalogue.snapshot(services, slices)
    nodes = []
    for number in range(count):
        tracker = ChangeTracker(catalogue, f"node-{number}", snapshot)
        nodes.append(IptablesProxier(settings(f"node-{number}"), tracker, shared, order=number + 1))
        nodes[-1].sync()
    return nodes


def many(count: int) -> tuple[list[Service], list[EndpointSlice]]:
    names = [f"s{number}" for number in range(count)]
    services = [service(name, f"172.30.{number >> 8}.{number & 255}", 80) for number, name in enumerate(names)]
    return services, [piece(name, f"10.1.{number >> 8}.{number & 255}") for number, name in enumerate(names)]


def ask(node: IptablesProxier, address: str, *, uniform: float = 0.0, now_ns: int = 0, source: str = POD) -> Decision:
    return node.table.decide(Packet(TCP, parse_address(source), 40000, parse_address(address), 80), uniform, now_ns)


def test_nodes_share_the_programmes_of_services_that_all_see_alike() -> None:
    services, slices = many(300)
    shared = IptablesProgrammes()
    nodes = fleet(20, services, slices, shared)
    assert shared.built == 300
    name = ServicePortName("ns", "s7", "")
    assert len({id(node.table.programmes.get(name)) for node in nodes}) == 1
    assert all(not node.table.services.overlay for node in nodes)


def test_a_local_policy_makes_one_programme_for_each_choice_not_for_each_node() -> None:
    local = service("web", "172.30.0.1", 80, internal_traffic_policy="Local")
    pods = piece("web", endpoint("10.0.0.1", "node-0"), endpoint("10.0.0.2", "node-1"))
    shared = IptablesProgrammes()
    nodes = fleet(20, [local], [pods], shared)
    assert shared.built == 3
    answers = [ask(node, "172.30.0.1") for node in nodes]
    assert [format_address(answer.destination) for answer in answers[:2]] == ["10.0.0.1", "10.0.0.2"]
    assert {answer.verdict for answer in answers[2:]} == {Verdict.DROP}


def test_following_a_change_costs_by_what_changed_however_many_services_there_are() -> None:
    for count in (10, 1000):
        services, slices = many(count)
        shared = IptablesProgrammes()
        nodes = fleet(5, services, slices, shared)
        built, reads = shared.built, nodes[0].tracker.catalogue.reads
        changed = piece("s3", "10.1.0.3", "10.1.9.9")
        for node in nodes:
            node.tracker.on_slice(changed)
            plan = node.sync()
            assert set(plan.swaps) == {ServicePortName("ns", "s3", "")}
            assert len(node.table.services.overlay) == len(node.table.programmes.overlay) == 1
        assert shared.built == built + 1
        assert nodes[0].tracker.catalogue.reads == reads + 1


def test_packets_meet_the_old_rules_until_the_sync_ends() -> None:
    services, slices = many(3)
    node = fleet(1, services, slices)[0]
    node.tracker.on_slice(piece("s1", "10.5.5.5"))
    plan = node.prepare()
    assert format_address(ask(node, "172.30.0.1").destination) == "10.1.0.1"
    node.commit(plan)
    assert format_address(ask(node, "172.30.0.1").destination) == "10.5.5.5"


def test_the_order_of_the_list_is_another_one_on_each_node_and_after_each_sync() -> None:
    services, slices = many(50)
    nodes = fleet(2, services, slices)

    def positions(node: IptablesProxier) -> list[int]:
        return [ask(node, f"172.30.0.{number}").service_rules for number in range(50)]

    first = positions(nodes[0])
    assert sorted(first) == list(range(1, 51))
    assert first != positions(nodes[1])
    nodes[0].sync()
    assert sorted(positions(nodes[0])) == list(range(1, 51))
    assert first != positions(nodes[0])


def test_a_hit_costs_its_position_and_a_miss_the_whole_list_with_the_node_ports_rule() -> None:
    services, slices = many(40)
    node = fleet(1, services, slices)[0]
    assert 1 <= ask(node, "172.30.0.5").service_rules <= 40
    missed = ask(node, "10.1.0.5")
    assert (missed.verdict, missed.service_rules) == (Verdict.NO_MATCH, 41)


def test_endpoints_share_the_draw_evenly_and_the_last_has_no_statistic_rule() -> None:
    pods = piece("web", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
    node = fleet(1, [service("web", "172.30.0.1", 80)], [pods])[0]
    answers = [ask(node, "172.30.0.1", uniform=(draw + 0.5) / 1000) for draw in range(1000)]
    counts = Counter(format_address(answer.destination) for answer in answers)
    assert set(counts.values()) == {250}
    assert sorted({answer.statistic_rules for answer in answers}) == [1, 2, 3]


def sticky(seconds: int) -> Service:
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=seconds))
    return service("web", "172.30.0.1", 80, session_affinity="ClientIP", session_affinity_config=config)


def test_affinity_keeps_the_endpoint_while_connections_come_and_forgets_it_after_the_time_out() -> None:
    node = fleet(1, [sticky(10)], [piece("web", "10.0.0.1", "10.0.0.2")])[0]
    second = 10**9
    first = ask(node, "172.30.0.1", uniform=0.0, now_ns=100 * second)
    for later in (109, 118, 127):
        again = ask(node, "172.30.0.1", uniform=0.9, now_ns=later * second)
        assert (again.destination, again.statistic_rules) == (first.destination, 0)
    assert ask(node, "172.30.0.1", uniform=0.9, now_ns=138 * second).destination != first.destination


def test_affinity_survives_a_sync_of_the_same_endpoints_and_ends_with_its_endpoint() -> None:
    node = fleet(1, [sticky(10800)], [piece("web", "10.0.0.1", "10.0.0.2")])[0]
    assert format_address(ask(node, "172.30.0.1", uniform=0.9).destination) == "10.0.0.2"
    node.tracker.on_slice(piece("web", "10.0.0.1", "10.0.0.2", "10.0.0.3"))
    node.sync()
    assert format_address(ask(node, "172.30.0.1", uniform=0.1).destination) == "10.0.0.2"
    assert list(node.table.recent.contents()) == [endpoint_chain(ServicePortName("ns", "web", ""), "10.0.0.2:8080")]
    node.tracker.on_slice(piece("web", "10.0.0.1"))
    node.sync()
    assert not node.table.recent.contents()


def test_a_partial_sync_writes_the_shared_chains_and_the_changed_services_chains() -> None:
    services, slices = many(100)
    node = fleet(1, services, slices)[0]
    before = node.sync(full=True)
    assert before.nat_written == before.nat_total == 100 + 1 + 3 + 1 + 100 * 4
    idle = node.sync()
    assert not idle.full
    assert idle.nat_written == 100 + 1 + 3 + 1
    node.tracker.on_slice(piece("s3", "10.1.0.3", "10.1.9.9"))
    assert node.sync().nat_written == idle.nat_written + 1 + 2 + 2 * 2


def test_before_partial_syncs_every_sync_writes_all_chains() -> None:
    services, slices = many(20)
    tracker = ChangeTracker(Catalogue(), "node-0", None)
    node = IptablesProxier(settings("node-0"), tracker, IptablesProgrammes(), partial=False)
    for obj in services:
        tracker.on_service(obj)
    for part in slices:
        tracker.on_slice(part)
    node.sync()
    again = node.sync(1)
    assert again.full
    assert again.nat_written == again.nat_total


def test_a_large_cluster_looks_for_chains_out_of_use_once_a_period_and_before_1_25_in_each_sync() -> None:
    services, slices = many(3)
    for seldom, cleans in ((True, [True, False, True]), (False, [True, True, True])):
        tracker = ChangeTracker(Catalogue(), "node-0", None)
        large = settings("node-0", large_cluster_endpoints=2, sync_period_ns=30)
        node = IptablesProxier(large, tracker, IptablesProgrammes(), seldom_cleans=seldom)
        for obj in services:
            tracker.on_service(obj)
        for part in slices:
            tracker.on_slice(part)
        assert [node.sync(now).deletes_chains for now in (31, 40, 62)] == cleans


def test_a_refused_restore_leaves_the_kernel_alone_and_makes_the_next_sync_a_full_one() -> None:
    services, slices = many(5)
    node = fleet(1, services, slices)[0]
    node.tracker.on_service_deleted("ns/s1")
    plan = node.prepare()
    node.fail(plan)
    assert ask(node, "172.30.0.1").verdict == Verdict.DNAT
    plan = node.sync()
    assert plan.full
    assert ask(node, "172.30.0.1").verdict == Verdict.NO_MATCH


def test_once_an_hour_a_sync_is_full() -> None:
    services, slices = many(5)
    node = fleet(1, services, slices)[0]
    assert not node.sync(FULL_SYNC_PERIOD_NS).full
    assert node.sync(FULL_SYNC_PERIOD_NS + 1).full
    assert not node.sync(FULL_SYNC_PERIOD_NS + 2).full


def test_a_restarted_proxy_takes_over_the_rules_and_their_state() -> None:
    node = fleet(1, [sticky(10800)], [piece("web", "10.0.0.1", "10.0.0.2")])[0]
    ask(node, "172.30.0.1", uniform=0.9)
    catalogue = Catalogue()
    tracker = ChangeTracker(catalogue, "here", catalogue.snapshot([sticky(10800)], [piece("web", "10.0.0.1", "10.0.0.2")]))
    again = IptablesProxier(settings(), tracker, IptablesProgrammes(), order=9, table=node.table)
    assert ask(again, "172.30.0.1", uniform=0.1).verdict == Verdict.DNAT
    again.sync()
    assert format_address(ask(again, "172.30.0.1", uniform=0.1).destination) == "10.0.0.2"


def test_settings_that_shape_rules_make_a_flavour_of_their_own() -> None:
    services, slices = many(3)
    shared, catalogue = IptablesProgrammes(), Catalogue()
    snapshot = catalogue.snapshot(services, slices)
    plain = IptablesProxier(settings("a"), ChangeTracker(catalogue, "a", snapshot), shared)
    masked = IptablesProxier(settings("b", masquerade_all=True), ChangeTracker(catalogue, "b", snapshot), shared)
    for node in (plain, masked):
        node.sync()
    assert (ask(plain, "172.30.0.1").masquerade, ask(masked, "172.30.0.1").masquerade) == (False, True)
    assert shared.built == 6
