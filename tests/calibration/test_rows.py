"""The shipped profile gives back the rows that it was made from, within 5 %.

Rows: medians in microseconds of netns sections 2-6 (see the profile's header): client socket - node - backend socket.
"""

from __future__ import annotations

import pytest

from svcsim.calibration.costs import Costs, costs_of
from svcsim.calibration.profile import load_profile

TCP, UDP = 6, 17
PROFILE = load_profile()
COSTS = {
    key: costs_of(PROFILE, "iptables" if key.startswith("iptables") else key, "nft" if key.endswith("nft") else "legacy",
                  comments=not key.endswith("comments"))
    for key in ("iptables", "iptables-without-comments", "iptables-nft", "nftables", "ipvs", "userspace")
}
KUBE_PROXY_ROWS = ("iptables", "iptables-nft", "nftables")
EXTRA_UDP_RULES = 3
"""KUBE-SERVICES had a UDP rule for the first, middle and last Service besides."""


def close(simulated_ns: float, row_us: float) -> bool:
    return abs(simulated_ns / 1000 - row_us) <= 0.05 * row_us


def handshake(costs: Costs, first_ns: int, later_ns: int) -> int:
    """SYN, SYN-ACK, and sending the ACK."""
    return 3 * (costs.handshake_send_ns + costs.handshake_receive_ns) + first_ns + 2 * later_ns


def connect(costs: Costs, rules: int = 1, statistic: int = 0, *, masquerade: bool = False, endpoints: int = 1) -> int:
    first = costs.first_packet_ns(rules, statistic, masquerade, TCP, endpoints=endpoints)
    return handshake(costs, first, costs.nat_packet_ns + masquerade * costs.masquerade_packet_ns)


def first_one_way(
    costs: Costs, rules: int = 1, statistic: int = 0, *, masquerade: bool = False, endpoints: int = 1, matched: bool = True
) -> int:
    first = costs.first_packet_ns(rules, statistic, masquerade, UDP, endpoints=endpoints, matched=matched)
    return costs.send_udp_ns + costs.fresh_udp_send_ns + first + costs.receive_udp_ns


def udp_way(costs: Costs, node_ns: int) -> int:
    return costs.send_udp_ns + node_ns + costs.receive_udp_ns


def tcp_way(costs: Costs, node_ns: int) -> int:
    return costs.send_tcp_ns + node_ns + costs.receive_tcp_ns


class TestBaselines:
    """netns 2."""

    def test_plain_forwarding_sums_to_5_4_us_over_the_measured_topology(self) -> None:
        costs = COSTS["iptables"]
        assert costs.send_udp_ns + costs.fresh_udp_send_ns + costs.forward_ns + costs.receive_udp_ns == 5400

    def test_plain_forwarding(self) -> None:
        costs = COSTS["iptables"]
        forward = costs.forward_ns
        assert close(handshake(costs, forward, forward), 16.36)
        assert close(udp_way(costs, forward) * 2 + costs.fresh_udp_send_ns + costs.fresh_udp_reply_ns, 11.25)
        assert close(udp_way(costs, forward) * 2, 10.46)
        assert close(udp_way(costs, forward) * 2, 10.36)
        assert close(tcp_way(costs, forward) * 2, 11.68)

    def test_conntrack_alone(self) -> None:
        costs = COSTS["iptables"]
        first = costs.forward_ns + round(PROFILE.entry("path.conntrack_new").base_value)
        later = costs.forward_ns + round(PROFILE.entry("path.conntrack_established").base_value)
        assert close(handshake(costs, first, later), 18.52)
        assert close(udp_way(costs, first) + costs.fresh_udp_send_ns, 6.31)
        assert close(udp_way(costs, later) * 2, 11.36)
        assert close(tcp_way(costs, later) * 2, 12.79)

    def test_one_dnat_rule(self) -> None:
        costs = COSTS["userspace"]
        assert close(handshake(costs, costs.first_ns, costs.nat_packet_ns), 20.02)
        assert close(udp_way(costs, costs.first_ns) + costs.fresh_udp_send_ns, 7.55)
        assert close(udp_way(costs, costs.nat_packet_ns) * 2, 12.22)
        assert close(tcp_way(costs, costs.nat_packet_ns) * 2, 13.38)

    @pytest.mark.parametrize(("mode", "row"), [
        ("iptables", (21.25, 8.17, 15.26, 12.95, 13.97, 12.83)),
        ("iptables-nft", (22.25, 8.8, 16.18, 13.5, 14.5, 13.37)),
        ("nftables", (21.31, 8.38, 15.36, 12.67, 13.7, 12.56)),
    ])
    def test_kube_proxy_rules_of_one_service(self, mode: str, row: tuple[float, ...]) -> None:
        costs = COSTS[mode]
        first_trip = first_one_way(costs) + udp_way(costs, costs.nat_packet_ns) + costs.fresh_udp_reply_ns
        assert close(connect(costs), row[0])
        assert close(first_one_way(costs), row[1])
        assert close(first_trip, row[2])
        assert close(udp_way(costs, costs.nat_packet_ns) * 2, row[3])
        assert close(tcp_way(costs, costs.nat_packet_ns) * 2, row[4])
        assert close(udp_way(costs, costs.nat_packet_ns) * 2, row[5])

    @pytest.mark.parametrize(("mode", "row"), [
        ("iptables", (22.16, 8.73, 13.36, 14.39)),
        ("iptables-nft", (23.20, 9.42, 13.93, 14.89)),
        ("nftables", (22.34, 9.17, 13.11, 14.08)),
    ])
    def test_masquerade(self, mode: str, row: tuple[float, ...]) -> None:
        costs = COSTS[mode]
        node = costs.nat_packet_ns + costs.masquerade_packet_ns
        assert close(connect(costs, masquerade=True), row[0])
        assert close(first_one_way(costs, masquerade=True), row[1])
        assert close(udp_way(costs, node) * 2, row[2])
        assert close(tcp_way(costs, node) * 2, row[3])


FIRST_PACKETS = {
    # N: connect() first, middle, last; UDP first one way last; UDP to a pod's address
    "iptables": {
        1: (21.3, 21.3, 21.3, 8.2, 7.7), 100: (21.2, 21.5, 21.6, 8.6, 8.1), 1000: (21.3, 23.8, 26.3, 12.4, 11.9),
        5000: (21.3, 34.4, 50.5, 34.4, 33.9), 10000: (21.2, 51.5, 83.6, 65.9, 65.2), 20000: (21.3, 82.7, 138.0, 121.0, 119.9),
    },
    "iptables-without-comments": {
        1: (21.3, 21.3, 21.3, 8.1, 7.8), 100: (21.2, 21.5, 21.7, 8.5, 8.2), 1000: (21.2, 23.3, 25.5, 12.0, 11.7),
        5000: (21.2, 33.6, 45.8, 30.5, 30.4), 10000: (21.1, 45.5, 65.9, 49.9, 49.7), 20000: (21.1, 66.2, 106.9, 90.2, 89.5),
    },
    "iptables-nft": {
        1: (22.3, 22.3, 22.2, 8.8, 8.3), 100: (22.3, 23.2, 24.0, 10.0, 9.5), 1000: (22.2, 30.7, 38.7, 21.3, 20.6),
        5000: (22.2, 63.5, 104.2, 68.2, 67.5), 10000: (22.3, 104.3, 182.1, 127.8, 126.9),
        20000: (22.3, 181.0, 334.2, 245.8, 245.4),
    },
    "nftables": {
        1: (21.3, 21.3, 21.3, 8.4, 7.7), 100: (21.3, 21.4, 21.3, 8.4, 7.7), 1000: (21.3, 21.3, 21.3, 8.4, 7.7),
        5000: (21.2, 21.3, 21.2, 8.4, 7.8), 10000: (21.3, 21.2, 21.3, 8.4, 7.7), 20000: (21.3, 21.3, 21.3, 8.4, 7.7),
    },
}


@pytest.mark.parametrize("services", [1, 100, 1000, 5000, 10000, 20000])
@pytest.mark.parametrize("mode", FIRST_PACKETS)
def test_first_packet_over_services(mode: str, services: int) -> None:
    """netns 3."""
    costs = COSTS[mode]
    first, middle, last, udp_last, udp_miss = FIRST_PACKETS[mode][services]
    listed = services + (EXTRA_UDP_RULES - 1 if services > 1 else 0)
    assert close(connect(costs, 1), first)
    assert close(connect(costs, services // 2 + 1), middle)
    assert close(connect(costs, listed), last)
    assert close(first_one_way(costs, listed), udp_last)
    assert close(first_one_way(costs, services + EXTRA_UDP_RULES, matched=False), udp_miss)


@pytest.mark.parametrize(("mode", "pair_ns"), [
    ("iptables", (49.9, 47.5)), ("iptables-without-comments", (24.1, 23.6)), ("iptables-nft", (80.0, 75.7)), ("nftables", (0, 0)),
])
def test_rules_of_the_same_vip(mode: str, pair_ns: tuple[float, float]) -> None:
    """netns 3, multi-port Services: a pair is a rule of the same VIP and protocol and one of the other protocol."""
    for protocol, row in zip((TCP, UDP), pair_ns, strict=True):
        costs = COSTS[mode]
        grown = costs.first_packet_ns(1001, 0, False, protocol, same_vip_rules=1000)
        pair = (grown - costs.first_packet_ns(1, 0, False, protocol)) / 1000
        assert pair == pytest.approx(row, rel=0.05, abs=0.1)


@pytest.mark.parametrize(("mode", "tcp_rtt", "udp_rtt"), [
    ("iptables", (13.971, 13.991, 13.981), (12.844, 12.794, 12.749)),
    ("iptables-without-comments", (13.951, 13.981, 13.981), (12.834, 12.779, 12.769)),
    ("iptables-nft", (14.521, 14.527, 14.531), (13.37, 13.29, 13.334)),
    ("nftables", (13.685, 13.7, 13.71), (12.539, 12.488, 12.539)),
])
def test_established_packets_do_not_see_the_list(mode: str, tcp_rtt: tuple[float, ...], udp_rtt: tuple[float, ...]) -> None:
    """netns 4, N = 1, 1000 and 20000."""
    costs = COSTS[mode]
    assert all(close(tcp_way(costs, costs.nat_packet_ns) * 2, row) for row in tcp_rtt)
    assert all(close(udp_way(costs, costs.nat_packet_ns) * 2, row) for row in udp_rtt)


@pytest.mark.parametrize(("mode", "tcp", "udp"), [
    ("iptables", (21.2, 21.4, 22.1, 26.3, 42.2), (8.2, 8.3, 8.8, 12.8, 26.6)),
    ("iptables-without-comments", (21.1, 21.4, 21.9, 25.1, 36.4), (8.1, 8.2, 8.6, 11.5, 22.3)),
    ("iptables-nft", (22.3, 22.4, 23.4, 30.3, 56.6), (8.8, 8.9, 9.8, 15.8, 39.0)),
    ("nftables", (21.3, 21.3, 21.7, 22.3, 22.3), (8.4, 8.4, 8.6, 9.1, 9.3)),
])
def test_endpoints(mode: str, tcp: tuple[float, ...], udp: tuple[float, ...]) -> None:
    """netns 5: medians, so the median pick."""
    costs = COSTS[mode]
    for endpoints, tcp_row, udp_row in zip((1, 2, 10, 100, 500), tcp, udp, strict=True):
        examined = (endpoints + 1) // 2 if endpoints > 1 else 0
        assert close(connect(costs, 1, examined, endpoints=endpoints), tcp_row)
        assert close(first_one_way(costs, 1, examined, endpoints=endpoints), udp_row)


class TestUserspace:
    """netns 6, placement onecpu; medians for what is steady, minima of round medians for what is not."""

    def test_direct(self) -> None:
        costs = COSTS["iptables"]
        trip = 2 * (tcp_way(costs, costs.nat_packet_ns) + costs.wakeup_ns)
        opened = connect(costs) + costs.wakeup_ns
        assert close(trip, 19.6)
        assert close(trip + 2 * costs.socket_copy_ns(1024), 20.1)
        assert 2 * costs.socket_copy_ns(1024) == pytest.approx(500, rel=0.05)
        assert close(opened, 23.6)
        assert close(opened + costs.accept_ns + trip, 60.5)

    def test_through_the_proxy(self) -> None:
        costs = COSTS["userspace"]
        proxy = costs.userspace
        front = 2 * (tcp_way(costs, costs.nat_packet_ns) + costs.wakeup_ns)
        back = 2 * (tcp_way(costs, costs.plain_packet_ns) + costs.wakeup_ns)
        trip = front + back + 2 * proxy.copy_ns
        assert close(trip, 41.5)
        assert close(trip, 42.0)
        assert close(trip + 4 * costs.socket_copy_ns(1024) + round(2 * proxy.copy_ns_per_kib), 42.7)
        opened = connect(costs) + costs.wakeup_ns
        dialled = handshake(costs, costs.first_miss_ns, costs.plain_packet_ns) + costs.wakeup_ns
        assert close(opened, 22.2)
        assert close(opened + proxy.accept_ns + proxy.dial_ns + dialled + costs.accept_ns + trip, 172.9)

    def test_one_stream(self) -> None:
        costs = COSTS["iptables"]
        unit_ns = costs.extra_unit_ns + costs.extra_unit_sockets_ns
        assert 1e9 / unit_ns / 16 == pytest.approx(1241, rel=0.05)
        costs = COSTS["userspace"]
        unit_ns += costs.forward_ns + costs.userspace.extra_unit_ns
        assert 1e9 / unit_ns / 16 == pytest.approx(610, rel=0.05)


def test_a_reject_answers_in_20_26_of_a_connect() -> None:
    """netns 8 e: 20 us where a connect() took 26."""
    costs = COSTS["iptables"]
    answered = costs.handshake_send_ns + costs.first_miss_ns + costs.reject_ns + costs.handshake_receive_ns
    assert answered / connect(costs) == pytest.approx(20 / 26, rel=0.05)


def test_a_node_sees_a_message_as_units_of_64_kib() -> None:
    """netns 6, notes."""
    costs = COSTS["iptables"]
    assert [costs.units(size) for size in (0, 1, 65536, 65537, 1 << 20)] == [1, 1, 1, 2, 16]


def test_ipvs_costs_a_connect_8_7_where_iptables_costs_4_6() -> None:
    plain = handshake(COSTS["ipvs"], COSTS["ipvs"].forward_ns, COSTS["ipvs"].forward_ns)
    ratio = (connect(COSTS["ipvs"]) - plain) / (connect(COSTS["iptables"]) - plain)
    assert ratio == pytest.approx(8.7 / 4.6, rel=0.02)
    assert connect(COSTS["ipvs"], 20000) == connect(COSTS["ipvs"], 1)


@pytest.mark.parametrize(("mode", "kind", "rows"), [
    ("iptables", "full", (4, 9, 63, 313, 635, 1693)), ("iptables", "partial", (4, 7, 38, 245, 414, 802)),
    ("iptables-nft", "full", (5, 16, 227, 3966)), ("iptables-nft", "partial", (4, 9, 46, 262, 860, 5310)),
    ("nftables", "full", (6, 22, 304, 7234, 39460, 283078)), ("nftables", "partial", (5, 7, 16, 61, 146, 269)),
])
def test_programming_within_a_fifth(mode: str, kind: str, rows: tuple[float, ...]) -> None:
    """netns 7, CPU ms of one sync; the rows of one measurement each scatter more than the others do."""
    for services, row in zip((1, 100, 1000, 5000, 10000, 20000), rows, strict=False):
        ms = COSTS[mode].programming_ns("partial" if kind == "partial" else "full", services, 1) / 1e6
        assert ms == pytest.approx(row, rel=0.2)
