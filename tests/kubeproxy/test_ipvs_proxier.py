"""What a node in IPVS mode makes of Services, and how it lets real servers go."""

from __future__ import annotations

import pytest

from svcsim.kube.api.service import ClientIPConfig, ServicePort, SessionAffinityConfig
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier, node_addresses
from svcsim.kubeproxy.ipvs_sets import LOAD_BALANCER_SOURCE_CIDR, can_use_ipvs, is_valid_for_set, set_name
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, format_address, format_endpoint, parse_address, parse_endpoint
from svcsim.linux.ipvs import IpvsSysctls, IpvsTable
from svcsim.linux.ipvs.text import format_save
from svcsim.linux.packet import PROTOCOL_NUMBER, SCTP, TCP, UDP, Hook, Packet, Verdict
from svcsim.units import MINUTE, S
from tests.kubeproxy.objects import endpoint, piece, service

VIP = parse_address("10.96.0.10")
CLIENT = parse_address("10.0.9.9")


class Cluster:
    """Nodes in IPVS mode that watch the same objects."""

    def __init__(self, nodes: int = 1, **options: object) -> None:
        self.catalogue, self.library = Catalogue(), IpvsLibrary()
        self.nodes = [self.make(index, **options) for index in range(nodes)]
        self.here = self.nodes[0]
        self.port = 40000

    def make(self, index: int, *, family="IPv4", exclude_cidrs=(), order=None, graceful=True, **options: object) -> IpvsNode:
        address = parse_address(f"192.168.50.{index + 1}")
        set_up = ProxySettings(
            mode="ipvs", family=family, node_name=f"n{index}", node_ip=address,
            **{"local_ips": (address,), **options},  # type: ignore[arg-type]
        )
        more = {} if order is None else {"order": order}
        tracker = ChangeTracker(self.catalogue, f"n{index}")
        table = IpvsTable(IpvsSysctls.of_kube_proxy())
        return IpvsNode(IpvsProxier(set_up, tracker, self.library, table, exclude_cidrs=exclude_cidrs, graceful=graceful, **more))

    def apply(self, *objects: object, now_ns: int = 0) -> None:
        for node in self.nodes:
            for each in objects:
                if hasattr(each, "spec"):
                    node.proxier.tracker.on_service(each)
                else:
                    node.proxier.tracker.on_slice(each)
            node.proxier.sync(now_ns)

    def connect(self, now_ns: int = 0, *, protocol=TCP, destination=VIP, port=80, source=CLIENT, hook=Hook.PREROUTING):
        self.port += 1
        return self.here.decide(Packet(protocol, source, self.port, destination, port, hook), 0.0, now_ns)

    def saved(self) -> list[str]:
        self.here.proxier.make_all(0)
        return format_save(self.here.proxier.table).splitlines()


def weights(cluster: Cluster, destination=(VIP, TCP, 80)) -> dict[str, int]:
    return {format_address(one.address): one.weight for one in cluster.here.proxier.live[destination].servers}


def test_each_address_of_a_port_gets_a_virtual_server_with_real_servers_of_weight_1() -> None:
    cluster = Cluster()
    cluster.apply(
        service("web", "10.96.0.10", ServicePort(port=80, node_port=30080), type="NodePort", external_ips=("1.2.3.4",)),
        piece("web", "10.0.1.1"),
    )
    assert cluster.saved() == [
        "-A -t 1.2.3.4:80 -s rr", "-a -t 1.2.3.4:80 -r 10.0.1.1:8080 -m -w 1",
        "-A -t 10.96.0.10:80 -s rr", "-a -t 10.96.0.10:80 -r 10.0.1.1:8080 -m -w 1",
        "-A -t 192.168.50.1:30080 -s rr", "-a -t 192.168.50.1:30080 -r 10.0.1.1:8080 -m -w 1",
    ]
    assert [format_address(one) for one in cluster.here.proxier.bound_addresses()] == ["1.2.3.4", "10.96.0.10"]


def test_affinity_becomes_persistence_and_mh_hashes_ports_too() -> None:
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=600))
    cluster = Cluster(scheduler="mh")
    cluster.apply(service("web", "10.96.0.10", 80, session_affinity="ClientIP", session_affinity_config=config))
    assert cluster.saved() == ["-A -t 10.96.0.10:80 -s mh -p 600 -b mh-port"]
    cluster.apply(service("web", "10.96.0.10", 80))
    assert cluster.saved() == ["-A -t 10.96.0.10:80 -s mh -b mh-port"]


def test_policy_local_falls_back_to_the_cluster_where_no_local_endpoint_is() -> None:
    local = service(
        "web", "10.96.0.10", ServicePort(port=80, node_port=30080), type="NodePort", external_traffic_policy="Local"
    )
    elsewhere = Cluster()
    elsewhere.apply(local, piece("web", endpoint("10.0.2.1", "n9")))
    assert elsewhere.saved()[-1] == "-a -t 192.168.50.1:30080 -r 10.0.2.1:8080 -m -w 1"
    here = Cluster()
    here.apply(local, piece("web", endpoint("10.0.2.1", "n9"), endpoint("10.0.1.1", "n0")))
    assert [line for line in here.saved() if "30080 -r" in line] == [
        "-a -t 192.168.50.1:30080 -r 10.0.1.1:8080 -m -w 1"
    ]


def test_without_endpoints_the_virtual_server_refuses_and_other_ports_of_its_address_too() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80))
    assert cluster.connect().verdict == Verdict.REJECT
    assert cluster.connect(port=81).verdict == Verdict.REJECT
    assert cluster.connect(destination=VIP + 1).verdict == Verdict.NO_MATCH


def test_connections_go_round_and_each_node_has_its_own_order() -> None:
    cluster = Cluster(order=reversed)
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.0.1.1", "10.0.1.2", "10.0.1.3"))
    assert [cluster.connect().destination & 0xFF for _ in range(4)] == [1, 2, 3, 1]


# ---- masquerading ------------------------------------------------------------------------------------------------------


def test_who_is_masqueraded() -> None:
    pods = {"local_detector": "ByCIDR", "cluster_cidr": Prefix.parse("10.0.0.0/16")}
    cluster = Cluster(**pods)
    cluster.apply(
        service("web", "10.96.0.10", ServicePort(port=80, node_port=30080), type="NodePort", external_ips=("1.2.3.4",)),
        piece("web", endpoint("10.0.1.1", "n0")),
    )
    node, outside = parse_address("192.168.50.1"), parse_address("203.0.113.9")
    assert not cluster.connect().masquerade
    assert cluster.connect(source=outside).masquerade
    assert cluster.connect(destination=node, port=30080, source=outside).masquerade
    assert cluster.connect(destination=parse_address("1.2.3.4")).masquerade
    assert cluster.connect(source=node, hook=Hook.OUTPUT).masquerade
    hairpin = parse_address("10.0.1.1")
    assert cluster.connect(source=hairpin).masquerade


def test_policy_local_keeps_the_clients_address() -> None:
    cluster = Cluster()
    cluster.apply(
        service("web", "10.96.0.10", ServicePort(port=80, node_port=30080), type="NodePort", external_traffic_policy="Local"),
        piece("web", endpoint("10.0.1.1", "n0")),
    )
    decision = cluster.connect(destination=parse_address("192.168.50.1"), port=30080, source=parse_address("203.0.113.9"))
    assert (decision.verdict, decision.masquerade) == (Verdict.DNAT, False)


def test_a_balancers_source_ranges_are_a_firewall() -> None:
    made = service(
        "web", "10.96.0.10", 80, type="LoadBalancer", load_balancer_source_ranges=("203.0.113.0/24",)
    )
    status = type(made).model_validate(
        {"metadata": {"name": "x"}, "spec": {}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    ).status
    cluster = Cluster()
    cluster.apply(made.model_copy(update={"status": status}), piece("web", "10.0.1.1"))
    balancer = parse_address("1.2.3.4")
    assert cluster.connect(destination=balancer, source=parse_address("203.0.113.9")).verdict == Verdict.DNAT
    assert cluster.connect(destination=balancer, source=parse_address("198.51.100.1")).verdict == Verdict.DROP
    own = cluster.connect(destination=balancer, source=parse_address("192.168.50.1"), hook=Hook.OUTPUT)
    assert own.verdict == Verdict.DROP


# ---- endpoints that go -------------------------------------------------------------------------------------------------


def test_a_real_server_with_connections_drains_at_weight_0_and_goes_at_a_check_after_the_last() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.0.1.1", "10.0.1.2"))
    flows = [cluster.connect().flow for _ in range(2)]
    for flow in flows:
        flow.on_packet(0)
    doomed = next(flow for flow in flows if flow.server.address & 0xFF == 2)
    cluster.apply(piece("web", "10.0.1.1"), now_ns=S)
    assert weights(cluster) == {"10.0.1.1": 1, "10.0.1.2": 0}
    assert {cluster.connect(S).destination & 0xFF for _ in range(4)} == {1}
    assert doomed.on_packet(2 * S)
    doomed.on_close(3 * S, by_client=True)
    assert cluster.here.proxier.check_terminating(MINUTE) == 0
    assert cluster.here.proxier.check_terminating(2 * MINUTE) == 0
    assert cluster.here.proxier.check_terminating(3 * MINUTE) == 1
    assert weights(cluster) == {"10.0.1.1": 1}


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_protocols_without_grace_lose_their_real_server_at_once(protocol: str) -> None:
    number = PROTOCOL_NUMBER[protocol]
    cluster = Cluster()
    cluster.apply(
        service("dns", "10.96.0.10", ServicePort(port=53, protocol=protocol)),
        piece("dns", "10.0.1.1", "10.0.1.2", protocol=protocol),
    )
    flow = cluster.connect(protocol=number, port=53).flow
    gone = format_address(flow.server.address)
    left = {"10.0.1.1", "10.0.1.2"} - {gone}
    cluster.apply(piece("dns", *left, protocol=protocol), now_ns=S)
    assert weights(cluster, (VIP, number, 53)) == dict.fromkeys(left, 1)
    assert not flow.on_packet(2 * S)


def test_an_endpoint_that_comes_back_keeps_its_connections() -> None:
    cluster = Cluster()
    both = piece("web", "10.0.1.1", "10.0.1.2")
    cluster.apply(service("web", "10.96.0.10", 80), both)
    flow = cluster.connect().flow
    flow.on_packet(0)
    other = ({"10.0.1.1", "10.0.1.2"} - {format_address(flow.server.address)}).pop()
    cluster.apply(piece("web", other), now_ns=S)
    assert len(cluster.here.proxier.terminating) == 1
    cluster.apply(both, now_ns=2 * S)
    assert weights(cluster) == {"10.0.1.1": 1, "10.0.1.2": 1}
    assert len(cluster.here.proxier.terminating) == 0
    assert flow.on_packet(3 * S)
    assert flow.server.active == 1


def test_a_service_that_goes_takes_its_real_servers_along() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.0.1.1"))
    flow = cluster.connect().flow
    cluster.here.proxier.tracker.on_service_deleted("ns/web")
    cluster.here.proxier.sync(S)
    assert cluster.here.proxier.destinations() == []
    assert cluster.connect(S).verdict == Verdict.NO_MATCH
    assert not flow.on_packet(2 * S)


def test_after_a_restart_weights_are_1_again_and_strangers_drain_anew() -> None:
    """Test_syncEndpoint_updateWeightsOnRestart (pkg/proxy/ipvs/proxier_test.go)."""
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.0.1.1", "10.0.1.2"))
    for _ in range(2):
        cluster.connect().flow.on_packet(0)
    cluster.apply(piece("web"), now_ns=S)
    assert weights(cluster) == {"10.0.1.1": 0, "10.0.1.2": 0}
    cluster.here.proxier.restart()
    cluster.apply(piece("web", "10.0.1.1"), now_ns=2 * S)
    assert weights(cluster) == {"10.0.1.1": 1, "10.0.1.2": 0}
    assert len(cluster.here.proxier.terminating) == 1


def test_power_off_empties_the_table_and_the_next_sync_fills_it() -> None:
    cluster = Cluster()
    cluster.apply(service("web", "10.96.0.10", 80), piece("web", "10.0.1.1"))
    flow = cluster.connect().flow
    cluster.here.proxier.forget()
    assert cluster.connect().verdict == Verdict.NO_MATCH
    assert not flow.on_packet(S)
    cluster.here.proxier.sync(2 * S)
    assert cluster.connect(2 * S).verdict == Verdict.DNAT


def test_packets_see_a_sync_when_it_is_committed() -> None:
    cluster = Cluster()
    proxier = cluster.here.proxier
    proxier.tracker.on_service(service("web", "10.96.0.10", 80))
    proxier.tracker.on_slice(piece("web", "10.0.1.1", "10.0.1.2"))
    prepared = proxier.prepare(0)
    assert (prepared.full, prepared.services, prepared.rules) == (True, 1, 3)  # a virtual server and two real ones
    assert cluster.connect().verdict == Verdict.NO_MATCH
    prepared.commit()
    assert cluster.connect().verdict == Verdict.DNAT
    assert proxier.objects == prepared.rules


def test_two_services_may_claim_one_address_and_port() -> None:
    cluster = Cluster()
    one = service("a", "10.96.0.10", 80, external_ips=("1.2.3.4",))
    cluster.apply(one, piece("a", "10.0.1.1"), service("b", "10.96.0.11", 80, external_ips=("1.2.3.4",)), piece("b", "10.0.1.2"))
    external = parse_address("1.2.3.4")
    assert format_address(cluster.connect(destination=external).destination) == "10.0.1.2"
    cluster.here.proxier.tracker.on_service_deleted("ns/b")
    cluster.here.proxier.sync(S)
    assert format_address(cluster.connect(S, destination=external).destination) == "10.0.1.1"


# ---- many nodes --------------------------------------------------------------------------------------------------------


def test_nodes_share_programmes_and_contents() -> None:
    cluster = Cluster(nodes=20)
    cluster.apply(*(service(f"s{number}", f"10.96.1.{number}", 80) for number in range(50)))
    cluster.apply(*(piece(f"s{number}", "10.0.1.1") for number in range(50)))
    assert len({id(node.proxier.contents) for node in cluster.nodes}) == 1
    assert cluster.library.programmes.built <= 100
    assert cluster.library.pool.copies <= 2
    cluster.apply(piece("s7", "10.0.1.1", "10.0.1.2"))
    assert cluster.library.programmes.built <= 101
    assert len({id(node.proxier.contents) for node in cluster.nodes}) == 1


def test_a_virtual_server_costs_a_node_nothing_until_its_first_packet() -> None:
    cluster = Cluster()
    cluster.apply(*(service(f"s{number}", f"10.96.1.{number}", 80) for number in range(50)))
    assert not cluster.here.proxier.table.services
    cluster.connect(destination=parse_address("10.96.1.7"))
    assert len(cluster.here.proxier.table.services) == 1


# ---- cases of kube-proxy's own tests (pkg/proxy/ipvs/proxier_test.go) -----------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "ipv6", "expected"),
    [
        ("1.2.3.4 127.0.0.1", False, "1.2.3.4"),
        ("127.0.0.1", False, ""),
        ("10.20.30.40 fe80::200:ff:fe01:1 127.0.0.1 ::1 172.17.0.1", False, "10.20.30.40 172.17.0.1"),
        ("10.20.30.40 127.0.0.1 ::1 1000:: 10.20.30.31", False, "10.20.30.40 10.20.30.31"),
        ("1.2.3.4 1000:: 127.0.0.1 ::1 10.20.30.31 2000:: fe80::200:ff:fe01:1", True, "1000:: 2000::"),
    ],
)
def test_addresses_of_the_node_are_those_of_its_family_without_loopback_and_link_local(devices, ipv6, expected) -> None:
    """TestGetNodeIPs; the addresses of kube-ipvs0 are not among a node's own to begin with."""
    local_ips = tuple(parse_address(text) for text in devices.split())
    set_up = ProxySettings(mode="ipvs", family="IPv6" if ipv6 else "IPv4", local_ips=local_ips)
    assert [format_address(one) for one in node_addresses(set_up)] == expected.split()


@pytest.mark.parametrize(
    ("ipv6", "address", "valid"),
    [
        (False, "127.0.0.1", False), (False, "127.0.0.0", False), (False, "127.6.7.8", False), (False, "8.8.8.8", True),
        (False, "192.168.0.1", True), (False, "169.254.0.0", True), (False, "::ffff:169.254.0.0", True),
        (False, "1000::", False), (True, "::1", False), (True, "1000::", True), (True, "fe80::200:ff:fe01:1", False),
        (True, "8.8.8.8", False), (True, "::ffff:8.8.8.8", False),
    ],
)
def test_which_addresses_are_valid_for_a_set(ipv6: bool, address: str, valid: bool) -> None:
    """TestIpIsValidForSet."""
    assert is_valid_for_set(parse_address(address), ipv6=ipv6) == valid


def test_ipvs_needs_its_modules_and_a_new_ipset() -> None:
    """TestCanUseIPVSProxier."""
    assert can_use_ipvs(ipset_version=(6, 0), has_modules=True)
    assert not can_use_ipvs(ipset_version=None, has_modules=True)
    assert not can_use_ipvs(ipset_version=(4, 3, 0), has_modules=True)
    assert not can_use_ipvs(ipset_version=(6, 0), has_modules=False)


def test_names_of_ipv6_sets_are_cut_to_31_characters() -> None:
    assert set_name(LOAD_BALANCER_SOURCE_CIDR, ipv6=False) == "KUBE-LOAD-BALANCER-SOURCE-CIDR"
    assert set_name(LOAD_BALANCER_SOURCE_CIDR, ipv6=True) == "KUBE-6-LOAD-BALANCER-SOURCE-CID"


@pytest.mark.parametrize(
    ("family", "excluded", "active", "current", "remaining"),
    [
        (
            "IPv4", "3.3.3.0/24 4.4.4.0/24", "1.1.1.1:53 2.2.2.2:54",
            "1.1.1.1:53 2.2.2.2:54 3.3.3.3:55 4.4.4.4:56 5.5.5.5:57 6.6.6.6:58",
            "1.1.1.1:53 2.2.2.2:54 3.3.3.3:55 4.4.4.4:56",
        ),
        (
            "IPv6", "3000::/64 4000::/64", "[1000::1]:53 [1000::2]:54",
            "[1000::1]:53 [1000::2]:54 [3000::1]:55 [4000::1]:56 [5000::1]:57 [1000::6]:58",
            "[1000::1]:53 [1000::2]:54 [3000::1]:55 [4000::1]:56",
        ),
        ("IPv4", "4.4.4.4/32", "", "4.4.4.4:56", "4.4.4.4:56"),
        ("IPv4", "", "", "4.4.4.4:56 [5000::1]:57", "[5000::1]:57"),
    ],
)
def test_virtual_servers_of_nobody_go_unless_excluded_or_of_the_other_family(
    family, excluded, active, current, remaining
) -> None:
    """TestCleanLegacyService and its kin: real servers, draining or not, do not hold them."""
    cluster = Cluster.__new__(Cluster)
    cluster.catalogue, cluster.library = Catalogue(family), IpvsLibrary()
    node = cluster.make(0, family=family, exclude_cidrs=tuple(map(Prefix.parse, excluded.split())))
    table = node.proxier.table
    for text in current.split():
        stale = table.add_service(UDP, *parse_endpoint(text), "rr")
        table.add_server(stale, parse_address("10.180.0.1"), 53, 1, 0)
    for number, text in enumerate(active.split()):
        address, port = parse_endpoint(text)
        made = service(f"s{number}", format_address(address), ServicePort(port=port, protocol="UDP"))
        node.proxier.tracker.on_service(made)
    node.proxier.sync(0)
    assert [format_endpoint(one.address, one.port) for one in table.services.values()] == remaining.split()


@pytest.mark.parametrize("protocol", [TCP, SCTP])
def test_a_virtual_server_that_is_there_already_is_taken_over_and_changed_in_place(protocol: int) -> None:
    """Test_syncService: other flags or another scheduler are set without taking it down."""
    cluster = Cluster()
    table = cluster.here.proxier.table
    old = table.add_service(protocol, VIP, 8080, "wlc", persistence_ns=10800 * S)
    name = {TCP: "TCP", SCTP: "SCTP"}[protocol]
    cluster.apply(service("web", "10.96.0.10", ServicePort(port=8080, protocol=name)))
    assert table.lookup(protocol, VIP, 8080) is old
    assert (old.scheduler_name, old.persistence_ns) == ("rr", 0)


def test_up_to_kubernetes_1_11_a_real_server_goes_at_once_with_connections_on_it() -> None:
    cluster = Cluster(graceful=False)
    cluster.apply(service("web", "10.96.0.10", ServicePort(port=80)), piece("web", "10.0.1.1", "10.0.1.2"))
    for _ in range(2):
        cluster.connect()
    cluster.apply(piece("web", "10.0.1.2"), now_ns=1)
    assert weights(cluster) == {"10.0.1.2": 1}
    assert len(cluster.here.proxier.terminating) == 0
