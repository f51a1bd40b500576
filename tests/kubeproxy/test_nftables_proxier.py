"""What a node in nftables mode writes, remembers and shares."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kube.api.service import ClientIPConfig, ServicePort, SessionAffinityConfig
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_names import SERVICE_IPS, endpoint_base, hash_and_truncate, service_base
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, format_address, format_endpoint, parse_address
from svcsim.linux.nftables.dynamic import DynamicSet
from svcsim.linux.packet import TCP, Packet, Verdict
from tests.kubeproxy.objects import endpoint, piece, service

SECOND = 1_000_000_000
VIP = parse_address("10.96.0.10")


class Cluster:
    """Nodes in nftables mode that watch the same objects."""

    def __init__(self, nodes: int = 1) -> None:
        self.catalogue, self.library = Catalogue(), ProgrammeLibrary()
        self.nodes = [self.node(index) for index in range(nodes)]

    def node(self, index: int) -> NftablesProxier:
        address = parse_address(f"192.168.50.{index + 1}")
        set_up = ProxySettings(
            mode="nftables",
            node_name=f"n{index}",
            node_ip=address,
            local_ips=(address,),
            local_detector="ByCIDR",
            cluster_cidr=Prefix.parse("10.192.0.0/10"),
            service_cidrs=(Prefix.parse("10.96.0.0/12"),),
        )
        return NftablesProxier(set_up, ChangeTracker(self.catalogue, f"n{index}"), self.library)

    def apply(self, *objects: object) -> None:
        for each in objects:
            for node in self.nodes:
                if hasattr(each, "spec"):
                    node.tracker.on_service(each)
                else:
                    node.tracker.on_slice(each)


def syn(source: str, destination: int = VIP, port: int = 80) -> Packet:
    return Packet(TCP, parse_address(source), 40000, destination, port)


def sticky(seconds: int) -> dict[str, object]:
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=seconds))
    return {"session_affinity": "ClientIP", "session_affinity_config": config}


def test_names_carry_a_hash_and_are_cut_with_an_ellipsis() -> None:
    long = ServicePortName("very-long-namespace-name-abcdefghijklmnopqrstuvwxyz0123456789xx", "s" * 63, "p" * 63, "SCTP")
    address = parse_address("1234:5678:9abc:def0::abcd:1234:5678")
    assert service_base(ServicePortName("ns1", "svc1", "p80")) == "ULMVA6XW-ns1/svc1/tcp/p80"
    of_ipv6 = "testing/service/tcp/http__fd80.abcd.12..a1b2.c3d4.e5f6.9999/80"
    assert hash_and_truncate(of_ipv6) == f"U7E2ET36-{of_ipv6}"
    assert endpoint_base(ServicePortName("ns1", "svc1", "p80"), parse_address("10.180.0.1"), 80) == (
        "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    )
    cut = endpoint_base(long, address, 443)
    assert len(cut) == 240
    assert cut.endswith("...")
    assert hash_and_truncate("x" * 231) != hash_and_truncate("x" * 231 + "y")


def test_syncs_write_as_many_operations_as_kube_proxy_does() -> None:
    """Counts of TestSyncProxyRulesRepeated (pkg/proxy/nftables/proxier_test.go)."""
    cluster = Cluster()
    node = cluster.nodes[0]
    for number in (1, 3, 4):
        cluster.apply(service(f"svc{number}", f"10.96.0.{number}", 80), piece(f"svc{number}", f"10.200.{number}.1"))
    assert node.sync(0)[1].full
    cluster.apply(piece("svc3", "10.200.3.2"))
    assert node.sync(10 * SECOND)[1].operations == 9
    cluster.apply(piece("svc3", "10.200.3.2", "10.200.3.3"))
    assert node.sync(20 * SECOND)[1].operations == 12
    cluster.apply(piece("svc3"))
    assert node.sync(20 * SECOND)[1].operations == 5
    assert len(node.table.stale_chains) == 3
    cluster.apply(piece("svc3", "10.200.3.2", "10.200.3.3"))
    assert node.sync(20 * SECOND)[1].operations == 14
    assert not node.table.stale_chains
    assert node.sync(30 * SECOND)[1].operations == 0


def test_chains_out_of_use_stay_empty_for_a_second_and_more() -> None:
    cluster = Cluster()
    node = cluster.nodes[0]
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.200.0.1"))
    node.sync(0)
    node.tracker.on_service_deleted("ns/web")
    assert node.sync(5 * SECOND)[1].chains_emptied == 2
    assert all(not node.table.ruleset().chains[name].rules for name in node.table.stale_chains)
    assert node.sync(6 * SECOND)[1].chains_deleted == 0
    assert node.sync(6 * SECOND + 1)[1].chains_deleted == 2
    assert not any("/" in name for name in node.table.ruleset().chains)


def test_a_change_is_built_once_and_its_contents_are_shared_by_all_nodes() -> None:
    cluster = Cluster(nodes=5)
    for number in range(20):
        cluster.apply(service(f"s{number}", f"10.96.1.{number}", 80), piece(f"s{number}", f"10.200.{number}.1"))
    for node in cluster.nodes:
        node.sync(0)
    assert cluster.library.built == 20
    copies = cluster.library.pool.copies
    assert len({id(node.table.contents) for node in cluster.nodes}) == 1
    kept = {name: programme for name, programme in cluster.nodes[0].table.contents.programmes.items() if name.name != "s7"}
    cluster.apply(piece("s7", "10.200.7.1", "10.200.7.2"))
    cluster.nodes[0].sync(SECOND)
    assert cluster.nodes[0].table.contents is not cluster.nodes[4].table.contents
    assert cluster.nodes[4].table.decide(syn("10.200.9.9", parse_address("10.96.1.7")), 0.9, 0).destination == parse_address(
        "10.200.7.1"
    )
    for node in cluster.nodes[1:]:
        written = node.sync(SECOND)[1]
        assert (written.services, written.chains) == (1, 3)
    assert cluster.library.built == 21
    assert cluster.library.pool.copies == copies + 1
    assert len({id(node.table.contents) for node in cluster.nodes}) == 1
    assert all(cluster.nodes[0].table.contents.programmes[name] is programme for name, programme in kept.items())


def test_nodes_that_start_from_one_snapshot_share_what_does_not_differ_by_node() -> None:
    cluster = Cluster(nodes=3)
    made = [service(f"s{number}", f"10.96.1.{number}", 80, **sticky(9)) for number in range(10)]
    made.append(service("own", "10.96.2.1", 80, internal_traffic_policy="Local"))
    pieces = [piece(f"s{number}", f"10.200.{number}.1") for number in range(10)]
    pieces.append(piece("own", endpoint("10.200.0.1", "n0"), endpoint("10.200.1.1", "n1")))
    pieces += [piece("s3", endpoint("10.200.3.1", "n2"), number=2)]  # told twice: on n2 by the second slice
    snapshot = cluster.catalogue.snapshot(made, pieces)
    started = [
        NftablesProxier(node.settings, ChangeTracker(cluster.catalogue, node.settings.node_name, snapshot), cluster.library)
        for node in cluster.nodes
    ]
    cluster.apply(*made, *pieces)
    for number, (node, gradual) in enumerate(zip(started, cluster.nodes, strict=True)):
        prepared = node.prepare(0)
        prepared.commit()
        by_events = gradual.prepare(0)
        by_events.commit()
        assert node.table.ruleset() == gradual.table.ruleset()
        assert node.table.contents is gradual.table.contents
        assert node.written == gradual.written
        assert (prepared.rules, prepared.services) == (by_events.rules, by_events.services)
        if number == 0:
            start = cluster.library.start(node.tracker, node.settings, node.flavour)
            assert start is not None
            assert start.dependent == ("ns/s3", "ns/own")
    first, second, _ = (node.table.contents.programmes for node in started)
    assert [name.name for name in first if first[name] is not second[name]] == ["own"]
    cluster.apply(piece("s1", "10.200.99.1"))
    started[0].tracker.on_slice(piece("s1", "10.200.99.1"))
    started[0].sync(SECOND)
    asking = syn("10.200.9.9", parse_address("10.96.1.1"))
    chosen = [format_address(node.table.decide(asking, 0.0, 0).destination) for node in started]
    assert chosen == ["10.200.99.1", "10.200.1.1", "10.200.1.1"]


def test_a_lone_node_changes_its_contents_in_place() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.200.0.1"))
    cluster.nodes[0].sync(0)
    contents = cluster.nodes[0].table.contents
    for turn in range(5):
        cluster.apply(piece("web", f"10.200.0.{turn + 2}"))
        cluster.nodes[0].sync(turn * SECOND)
    assert cluster.nodes[0].table.contents is contents
    assert cluster.library.pool.copies == 0


def test_a_chain_is_compiled_for_the_first_packet_of_any_node_only() -> None:
    cluster = Cluster(nodes=2)
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.200.0.1"))
    for node in cluster.nodes:
        node.sync(0)
    entry = cluster.nodes[0].table.contents.maps[SERVICE_IPS][VIP, TCP, 80]
    assert entry.residue is None
    cluster.nodes[0].table.decide(syn("10.200.9.9"), 0.0, 0)
    compiled = entry.residue
    assert compiled is not None
    cluster.nodes[1].table.decide(syn("10.200.9.9"), 0.0, 0)
    assert entry.residue is compiled


def test_a_power_cut_leaves_an_empty_table_until_a_full_sync() -> None:
    cluster = Cluster(nodes=2)
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.200.0.1"))
    for node in cluster.nodes:
        node.sync(0)
    cluster.nodes[0].forget()
    assert cluster.nodes[0].table.decide(syn("10.200.9.9"), 0.0, 0).verdict is Verdict.DROP
    assert cluster.nodes[1].table.decide(syn("10.200.9.9"), 0.0, 0).verdict is Verdict.DNAT
    assert cluster.nodes[0].sync(SECOND)[1].full
    assert cluster.nodes[0].table.decide(syn("10.200.9.9"), 0.0, 0).verdict is Verdict.DNAT
    assert cluster.nodes[0].table.contents is cluster.nodes[1].table.contents


def test_look_ups_do_not_grow_with_the_number_of_services() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.200.0.1"))
    cluster.nodes[0].sync(0)
    few = cluster.nodes[0].table.decide(syn("10.200.9.9"), 0.0, 0)
    for number in range(200):
        cluster.apply(service(f"s{number}", f"10.96.1.{number}", 80), piece(f"s{number}", f"10.200.1.{number}"))
    cluster.nodes[0].sync(SECOND)
    many = cluster.nodes[0].table.decide(syn("10.200.9.9"), 0.0, 0)
    assert many == few
    assert (many.service_rules, many.statistic_rules, many.rules) == (1, 0, 15)


@pytest.mark.parametrize("turn", range(6))
def test_the_last_of_the_rivals_for_an_address_wins_whatever_the_order_of_changes(turn: int) -> None:
    cluster = Cluster()
    node = cluster.nodes[0]
    names = ["a", "b", "c"]
    names = names[turn % 3 :] + names[: turn % 3]
    for number, name in enumerate(names):
        spec = service(name, f"10.96.0.{ord(name)}", 80, external_ips=("203.0.113.9",))
        cluster.apply(spec, piece(name, f"10.200.0.{ord(name)}"))
        if turn < 3:
            node.sync(number * SECOND)
    node.sync(5 * SECOND)

    def winner() -> str:
        return format_address(node.table.decide(syn("198.51.100.1", parse_address("203.0.113.9")), 0.0, 0).destination)

    assert winner() == f"10.200.0.{ord('c')}"
    node.tracker.on_service_deleted("ns/c")
    node.sync(6 * SECOND)
    assert winner() == f"10.200.0.{ord('b')}"
    node.tracker.on_service_deleted("ns/a")
    node.sync(7 * SECOND)
    assert winner() == f"10.200.0.{ord('b')}"


def test_affinity_slides_with_new_connections_and_ends_sharp() -> None:
    """facts of a real kernel: sticky while gaps are shorter than the time-out, whatever the total; free after one gap of it."""
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80, **sticky(4)), piece("web", *(f"10.200.0.{n}" for n in range(1, 5))))
    node = cluster.nodes[0]
    node.sync(0)
    first = node.table.decide(syn("10.200.9.9"), 0.0, 0).destination
    now_ns = 0
    for _ in range(10):
        now_ns += 4 * SECOND - 1
        assert node.table.decide(syn("10.200.9.9"), 0.99, now_ns).destination == first
    assert node.table.decide(syn("10.200.9.9"), 0.99, now_ns + 4 * SECOND).destination != first


def test_affinity_has_no_limit_of_a_hundred_clients_and_is_forgotten_with_its_endpoint() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80, **sticky(10800)), piece("web", "10.200.0.1", "10.200.0.2"))
    node = cluster.nodes[0]
    node.sync(0)
    clients = [f"10.201.{number // 250}.{number % 250 + 1}" for number in range(500)]
    chosen = [node.table.decide(syn(client), index / 500, 0).destination for index, client in enumerate(clients)]
    assert [node.table.decide(syn(client), 0.0, SECOND).destination for client in clients] == chosen
    assert len(set(chosen)) == 2
    cluster.apply(piece("web", "10.200.0.2"))
    node.sync(2 * SECOND)
    cluster.apply(piece("web", "10.200.0.1", "10.200.0.2"))
    node.sync(3 * SECOND)
    again = [node.table.decide(syn(client), 0.0, 4 * SECOND).destination for client in clients]
    kept = [index for index, address in enumerate(chosen) if format_address(address) == "10.200.0.2"]
    assert all(again[index] == chosen[index] for index in kept)
    assert {format_address(address) for address in again} == {"10.200.0.1", "10.200.0.2"}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(("10.200.9.1", "10.200.0.1")), st.integers(0, 3), st.floats(0, 1, exclude_max=True)),
        min_size=1,
        max_size=40,
    )
)
def test_walk_and_table_keep_the_same_affinity(packets: list[tuple[str, int, float]]) -> None:
    cluster = Cluster(nodes=2)
    cluster.apply(service("web", "10.96.0.10", 80, **sticky(3)), piece("web", "10.200.0.1", "10.200.0.2", "10.200.0.3"))
    by_table, by_walk = cluster.nodes
    for node in cluster.nodes:
        node.sync(0)
    now_ns = 0
    for source, gap, uniform in packets:
        now_ns += gap * SECOND
        assert by_table.table.decide(syn(source), uniform, now_ns) == by_walk.table.walk(syn(source), uniform, now_ns)[0]
    assert {name: each.live(now_ns) for name, each in by_table.table.dynamic_sets.items() if each.live(now_ns)} == {
        name: each.live(now_ns) for name, each in by_walk.table.dynamic_sets.items() if each.live(now_ns)
    }


def test_a_full_affinity_set_takes_no_new_client_but_renews_old_ones() -> None:
    entries = DynamicSet(timeout_ns=10, size=300)
    assert all(entries.update(client, 0) for client in range(300))
    assert not entries.update(999, 5)
    assert entries.update(7, 5)
    assert (999, 5) not in entries
    assert entries.update(999, 10)
    assert entries.live(10) == {7: 15, 999: 20}


def test_endpoints_get_equal_shares() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", *(f"10.200.0.{n}" for n in range(1, 8))))
    node = cluster.nodes[0]
    node.sync(0)
    counts: dict[int, int] = {}
    for index in range(7000):
        address = node.table.decide(syn("10.200.9.9"), (index + 0.5) / 7000, 0).destination
        counts[address] = counts.get(address, 0) + 1
    assert set(counts.values()) == {1000}


def test_an_endpoint_on_the_node_itself_is_delivered_without_masquerade() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", endpoint("192.168.50.1", "n0")))
    node = cluster.nodes[0]
    node.sync(0)
    decision, steps = node.table.walk(syn("198.51.100.1"), 0.0, 0)
    assert format_endpoint(decision.destination, decision.destination_port) == "192.168.50.1:8080"
    assert not decision.masquerade
    assert steps[-1].chain == "service-endpoints-check"


def test_the_older_form_of_the_masquerading_rule_names_protocol_and_port() -> None:
    catalogue = Catalogue()
    cluster = Cluster()
    set_up = cluster.nodes[0].settings
    node = NftablesProxier(set_up, ChangeTracker(catalogue, "n0"), ProgrammeLibrary(), matches_port_again=True)
    node.tracker.on_service(service("web", "10.96.0.10", ServicePort(name="p80", port=80)))
    node.tracker.on_slice(piece("web", "10.200.0.1", port_name="p80"))
    node.sync(0)
    assert " ip daddr 10.96.0.10 tcp dport 80 ip saddr != 10.192.0.0/10 jump mark-for-masquerade\n" in node.table.text()


def test_ports_without_an_endpoint_that_the_policy_allows_are_counted() -> None:
    cluster = Cluster(nodes=2)
    local = {"internal_traffic_policy": "Local", "type": "NodePort", "external_traffic_policy": "Local"}
    cluster.apply(service("web", "10.96.0.10", 80, **local), piece("web", endpoint("10.200.0.1", "n0")))
    for node in cluster.nodes:
        node.sync(0)
    counts = [(node.table.contents.no_local_internal, node.table.contents.no_local_external) for node in cluster.nodes]
    assert counts == [(0, 0), (1, 1)]
    cluster.apply(piece("web"))
    cluster.nodes[1].sync(SECOND)
    assert (cluster.nodes[1].table.contents.no_local_internal, cluster.nodes[1].table.contents.no_local_external) == (0, 0)
