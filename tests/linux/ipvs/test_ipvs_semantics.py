"""What a real Linux IPVS was seen to do, statement by statement."""

from __future__ import annotations

import pytest

from svcsim.errors import UsageError
from svcsim.linux.address import parse_address
from svcsim.linux.ipvs import Dropped, IpvsError, IpvsKernel, IpvsSysctls, IpvsTable, PacketFate, State
from svcsim.linux.ipvs.keys import split_key
from svcsim.linux.packet import TCP, UDP
from svcsim.units import S
from tests.linux.ipvs.make import CLIENT, VIP, Bench, name

# ---- the list ----------------------------------------------------------------------------------------------------------


def test_a_new_server_becomes_the_head_of_the_list():
    bench = Bench("rr", "ABC")
    assert [chr(server.address & 0xFF) for server in bench.service.servers] == ["C", "B", "A"]
    bench.delete("B")
    bench.add("B")
    assert [chr(server.address & 0xFF) for server in bench.service.servers] == ["B", "C", "A"]


# ---- rr ----------------------------------------------------------------------------------------------------------------


def test_rr_starts_with_the_server_added_last_and_goes_back():
    assert Bench("rr", "ABC").chosen(5) == "CBACB"


def test_rr_does_not_ask_for_the_size_of_a_weight():
    bench = Bench("rr", "ABC")
    bench.weigh("B", 100)
    bench.weigh("A", 0)
    assert bench.chosen(4) == "CBCB"


def test_rr_lets_a_new_server_wait_until_the_cursor_has_come_round():
    bench = Bench("rr", "ABC")
    assert bench.chosen(1) == "C"
    bench.add("D")
    assert bench.chosen(4) == "BADC"


def test_rr_steps_back_when_the_server_under_the_cursor_goes():
    bench = Bench("rr", "ABCD")
    assert bench.chosen(2) == "DC"
    bench.delete("C")
    assert bench.chosen(3) == "BAD"


def test_rr_is_not_disturbed_when_another_server_goes():
    bench = Bench("rr", "ABCD")
    assert bench.chosen(2) == "DC"
    bench.delete("D")
    assert bench.chosen(3) == "BAC"


def test_editing_a_service_keeps_the_cursor_of_the_same_scheduler_only():
    bench = Bench("rr", "ABC")
    assert bench.chosen(1) == "C"
    bench.table.edit_service(bench.service, "rr")
    assert bench.chosen(1) == "B"
    bench.table.edit_service(bench.service, "lc")
    bench.table.edit_service(bench.service, "rr")
    assert bench.chosen(1) == "C"


# ---- wrr ---------------------------------------------------------------------------------------------------------------


def weighted(scheduler, weights, **options) -> Bench:
    bench = Bench(scheduler, **options)
    for server, weight in weights.items():
        bench.add(server, weight)
    return bench


def test_wrr_takes_in_each_pass_who_reaches_the_threshold():
    assert weighted("wrr", {"A": 1, "B": 2, "C": 3, "D": 4}).chosen(14) == "DCBA" "D" "DC" "DCB" "DCBA"


def test_wrr_returns_to_the_head_when_a_weight_changes():
    bench = weighted("wrr", {"A": 1, "B": 1, "C": 1})
    assert bench.chosen(2) == "CB"
    bench.weigh("A", 1)
    assert bench.chosen(3) == "CBA"


def test_wrr_falls_by_the_common_divisor():
    assert weighted("wrr", {"A": 10, "B": 20}).chosen(6) == "BA" "B" "BA" "B"


# ---- lc, wlc, sed, nq --------------------------------------------------------------------------------------------------


def test_lc_takes_the_first_of_equals_and_counts_256_closed_as_one_open():
    bench = Bench("lc", "AB")
    first, second = bench.open(), bench.open()
    assert name(first) + name(second) == "BA"
    bench["B"].inactive = 255
    assert bench.chosen(2) == "AB"


def test_wlc_compares_load_by_weight():
    bench = weighted("wlc", {"A": 1, "B": 3})
    assert bench.chosen(8) == "BABBBABB"


def test_sed_asks_where_the_new_connection_would_wait_least():
    assert weighted("sed", {"A": 1, "B": 2, "C": 3}).chosen(6) == "CBCCBA"


def test_nq_takes_an_idle_server_whatever_its_weight():
    assert weighted("nq", {"A": 3, "B": 2, "C": 1}).chosen(3) == "CBA"


@pytest.mark.parametrize(("scheduler", "served"), [("sed", "BBBB"), ("nq", "CCCC"), ("lc", "CBAC")])
def test_over_udp_every_flow_is_inactive(scheduler, served):
    bench = weighted(scheduler, {"A": 1, "B": 5, "C": 1}, protocol=UDP)
    assert bench.chosen(4) == served
    assert sum(server.active for server in bench.service.servers) == 0


# ---- counting ----------------------------------------------------------------------------------------------------------


def test_a_connection_is_active_from_the_syn_until_the_first_fin():
    bench = Bench("rr", "A")
    connection = bench.connect()
    assert (connection.state, bench.counts("A")) == (State.SYN_RECV, [(1, 0)])
    bench.table.on_packet(connection, 0)
    assert (connection.state, bench.counts("A")) == (State.ESTABLISHED, [(1, 0)])
    bench.table.on_fin(connection, True, 0)
    assert (connection.state, bench.counts("A")) == (State.CLOSE_WAIT, [(0, 1)])
    bench.table.on_fin(connection, False, 0)
    assert (connection.state, bench.counts("A")) == (State.TIME_WAIT, [(0, 1)])


@pytest.mark.parametrize(
    ("act", "state", "seconds"),
    [
        (lambda table, one: table.on_fin(one, True, 0), State.CLOSE_WAIT, 60),
        (lambda table, one: table.on_fin(one, False, 0), State.FIN_WAIT, 120),
        (lambda table, one: one.on_close(0, by_client=False), State.TIME_WAIT, 120),
        (lambda table, one: table.on_rst(one, True, 0), State.CLOSE, 10),
        (lambda table, one: table.on_rst(one, False, 0), State.CLOSE, 10),
        (lambda table, one: table.on_packet(one, 0), State.ESTABLISHED, 900),
    ],
)
def test_an_entry_lives_for_the_time_of_its_state(act, state, seconds):
    bench = Bench("rr", "A")
    connection = bench.open()
    act(bench.table, connection)
    assert connection.state is state
    bench.wait(seconds - 0.001)
    assert sum(bench.counts("A")[0]) == 1
    bench.wait(0.001)
    assert bench.counts("A") == [(0, 0)]
    assert bench.table.on_packet(connection, bench.now_ns) is PacketFate.GONE


def test_a_syn_that_nobody_answers_is_active_for_a_minute():
    bench = Bench("rr", "A")
    bench.connect()
    bench.wait(59.9)
    assert bench.counts("A") == [(1, 0)]
    bench.wait(0.1)
    assert bench.counts("A") == [(0, 0)]


def test_a_udp_flow_is_inactive_until_300_s_after_its_last_packet():
    bench = Bench("rr", "A", protocol=UDP)
    flow = bench.open(port=5)
    bench.wait(200)
    assert bench.open(port=5) is flow
    bench.wait(299)
    assert bench.counts("A") == [(0, 1)]
    bench.wait(1)
    assert bench.counts("A") == [(0, 0)]


def test_each_service_has_counters_of_its_own():
    bench = Bench("lc", "AB")
    other = bench.table.add_service(TCP, VIP + 1, 80, "lc")
    for server in reversed(bench.service.servers):
        bench.table.add_server(other, server.address, server.port, 1, 0)
    bench.open()
    assert [server.active for server in other.servers] == [0, 0]


def test_a_deleted_server_comes_back_with_its_counters():
    bench = Bench("rr", "AB")
    bench.open(), bench.open(), bench.open()
    server = bench.delete("B")
    assert bench.add("B") is server
    assert bench.counts("AB") == [(1, 0), (2, 0)]


def test_a_deleted_server_without_entries_is_forgotten_in_time():
    bench = Bench("rr", "AB")
    server = bench.delete("B")
    bench.wait(241)
    bench.delete("A")
    assert bench.add("B") is not server


# ---- weight 0 and no servers -------------------------------------------------------------------------------------------


def test_weight_0_takes_no_new_connections_and_keeps_the_old_ones():
    bench = Bench("lc", "AB")
    old = bench.open()
    bench.weigh("B", 0)
    assert bench.chosen(3) == "AAA"
    assert bench.table.on_packet(old, 0) is PacketFate.FORWARDED


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr"])
def test_without_a_server_of_some_weight_the_client_is_refused(scheduler):
    bench = Bench(scheduler)
    assert bench.connect() is None
    bench.add("A", 0)
    assert bench.connect() is None
    assert len(bench.table.connections) == 0


# ---- hashing -----------------------------------------------------------------------------------------------------------


def test_sh_sends_a_client_always_to_the_same_server_and_ignores_its_port():
    bench = Bench("sh", "ABC")
    assert len(set(bench.chosen(20, client=7))) == 1
    assert len({bench.chosen(1, client=client) for client in range(64)}) == 3


def test_sh_with_a_drained_server_refuses_its_clients_unless_it_may_fall_back():
    clients = range(256)
    plain, fallback = Bench("sh", "ABC"), Bench("sh", "ABC", flags=("sh-fallback",))
    before = [plain.chosen(1, client) for client in clients]
    for bench in (plain, fallback):
        bench.weigh("B", 0)
    assert [plain.chosen(1, client) for client in clients] == [server.replace("B", "-") for server in before]
    after = [fallback.chosen(1, client) for client in clients]
    assert set(after) == {"A", "C"}
    assert all(new == old for new, old in zip(after, before, strict=True) if old != "B")


def test_sh_gives_heavy_servers_more_buckets_in_a_row_and_cuts_off_beyond_256():
    bench = weighted("sh", {"A": 10, "B": 300})
    assert {bench.chosen(1, client) for client in range(512)} == {"B"}


def test_dh_sends_one_address_to_one_server():
    bench = Bench("dh", "ABC")
    assert len({bench.chosen(1, client) for client in range(20)}) == 1


def test_mh_moves_only_the_clients_of_the_server_that_went():
    bench = Bench("mh", "ABCD")
    before = [bench.chosen(1, client) for client in range(500)]
    bench.delete("B")
    after = [bench.chosen(1, client) for client in range(500)]
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != "B")
    assert "B" not in after
    assert moved < 25


def test_lblc_serves_many_destinations_of_one_firewall_mark():
    table = IpvsTable()
    service = table.add_service(TCP, 0, 0, "lblc", fwmark=7)
    servers = [table.add_server(service, 0x0AF40000 + index, 8080, 100, 0) for index in range(2)]

    def ask(destination, port):
        connection = table.connect(
            service, CLIENT, port, 0, protocol=TCP, destination=VIP + destination, destination_port=80
        )
        return servers.index(connection.server)

    assert [ask(destination, 1) for destination in range(4)] == [1, 0, 1, 0]
    assert [ask(destination, 2) for destination in range(4)] == [1, 0, 1, 0]
    assert {split_key(entry.key).address for entry in table.entries()} == {VIP, VIP + 1, VIP + 2, VIP + 3}


# ---- persistence -------------------------------------------------------------------------------------------------------


def test_a_known_client_follows_its_template_and_leaves_the_scheduler_alone():
    bench = Bench("rr", "ABC", persistence_ns=10800 * S)
    assert bench.chosen(4, client=1) == "CCCC"
    assert bench.chosen(1, client=2) == "B"
    assert [server.templates for server in bench.service.servers] == [1, 1, 0]


def test_the_template_lives_while_it_controls_entries_then_a_minute_at_a_time():
    bench = Bench("rr", "AB", persistence_ns=3 * S)
    connection = bench.open(client=1)
    bench.wait(5)
    assert name(bench.open(client=1)) == "B"
    bench.close(connection)
    for other in list(bench.table.entries()):
        bench.close(other)
    bench.wait(119)
    assert name(bench.open(client=1)) == "B"


def test_a_template_without_entries_goes_when_its_time_is_up():
    bench = Bench("rr", "AB", persistence_ns=3 * S)
    connection = bench.open(client=1)
    bench.table.on_rst(connection, False, 0)
    bench.wait(62.9)
    assert [one.held for one in bench.table.templates()] == [0]
    bench.wait(0.2)
    assert not list(bench.table.templates())
    assert name(bench.open(client=1)) == "A"


@pytest.mark.parametrize(("quiescent", "served"), [(False, "B"), (True, "A")])
def test_a_drained_server_keeps_its_known_clients_unless_quiescent_templates_expire(quiescent, served):
    bench = Bench("rr", "AB", persistence_ns=10800 * S, expire_quiescent_template=quiescent)
    assert bench.chosen(1, client=1) == "B"
    bench.weigh("B", 0)
    assert bench.chosen(1, client=1) == served
    bench.weigh("B", 1)
    assert bench.chosen(1, client=1) == served
    assert [one.displaced for one in bench.table.templates()].count(True) == quiescent


def test_a_template_of_a_deleted_server_holds_again_if_the_client_did_not_come_meanwhile():
    bench = Bench("rr", "AB", persistence_ns=10800 * S)
    assert bench.chosen(1, client=1) + bench.chosen(1, client=2) == "BA"
    bench.delete("B")
    assert bench.chosen(1, client=2) == "A"
    bench.add("B")
    assert bench.chosen(1, client=1) == "B"
    bench.delete("B")
    assert bench.chosen(1, client=1) == "A"
    bench.add("B")
    assert bench.chosen(1, client=1) == "A"


# ---- deleting a server with live connections ---------------------------------------------------------------------------


def test_without_expire_nodest_conn_packets_vanish_until_the_server_is_back():
    bench = Bench("rr", "AB")
    connection = bench.open()
    bench.delete("B")
    bench.wait(1)
    assert bench.table.on_packet(connection, bench.now_ns) is PacketFate.DROPPED
    assert bench.table.on_fin(connection, True, bench.now_ns) is PacketFate.DROPPED
    assert connection.state is State.ESTABLISHED
    assert bench.table.on_packet(connection, bench.now_ns, from_client=False) is PacketFate.FORWARDED
    bench.add("B")
    assert bench.table.on_packet(connection, bench.now_ns) is PacketFate.FORWARDED


def test_with_expire_nodest_conn_all_entries_and_templates_go_a_tick_after_the_delete():
    bench = Bench("rr", "AB", expire_nodest_conn=True, persistence_ns=10800 * S)
    connections = [bench.open(client) for client in range(4)]
    server = bench.delete("B")
    assert server.in_use()
    bench.wait(0.01)
    assert not server.in_use()
    assert [bool(one.expires_ns) for one in connections] == [False, True, False, True]
    assert bench.table.on_packet(connections[0], bench.now_ns) is PacketFate.GONE
    assert len(list(bench.table.templates())) == 2


def test_a_datagram_after_the_delete_starts_a_new_flow():
    bench = Bench("rr", "AB", protocol=UDP, expire_nodest_conn=True)
    flow = bench.open(port=5)
    assert name(flow) == "B"
    bench.delete("B")
    again = bench.connect(port=5)
    assert name(again) == "A"
    assert [name(one) for one in bench.table.entries()] == ["A", "B"]
    bench.wait(0.01)
    assert list(bench.table.entries()) == [again]


def test_a_datagram_of_a_flow_to_a_deleted_server_vanishes_without_expire_nodest_conn():
    bench = Bench("rr", "AB", protocol=UDP)
    bench.open(port=5)
    bench.delete("B")
    assert bench.connect(port=5) is Dropped.SILENTLY


# ---- the same client port again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "served"), [(0, "B"), (1, "A"), (2, "A")])
def test_a_port_reused_in_time_wait_is_scheduled_anew_unless_conn_reuse_mode_is_0(mode, served):
    bench = Bench("rr", "AB", conn_reuse_mode=mode)
    old = bench.open(port=5)
    bench.close(old)
    assert name(bench.open(port=5)) == served
    assert sum(active + inactive for active, inactive in bench.counts("AB")) == (1 if mode == 0 else 2)
    bench.wait(0.01)
    assert sum(active + inactive for active, inactive in bench.counts("AB")) == 1


def test_a_port_reused_while_established_meets_its_entry():
    bench = Bench("rr", "AB")
    old = bench.open(port=5)
    assert bench.connect(port=5) is old


def test_with_expire_nodest_conn_an_entry_of_a_drained_server_is_scheduled_anew_in_every_mode():
    bench = Bench("rr", "AB", conn_reuse_mode=0, expire_nodest_conn=True)
    bench.open(port=5)
    bench.weigh("B", 0)
    assert name(bench.connect(port=5)) == "A"


def test_conn_reuse_mode_0_drops_the_syn_to_a_deleted_server():
    bench = Bench("rr", "AB", conn_reuse_mode=0)
    old = bench.open(port=5)
    bench.close(old)
    bench.delete("B")
    assert bench.connect(port=5) is Dropped.SILENTLY


def test_kernels_before_5_9_drop_the_syn_that_meets_a_tracked_entry_and_take_its_retransmission():
    bench = Bench("rr", "AB", conntrack=True, kernel=IpvsKernel.of((5, 8)))
    bench.close(bench.open(port=5))
    assert bench.connect(port=5) is Dropped.SILENTLY
    bench.wait(1)
    assert name(bench.connect(port=5)) == "A"


def test_kube_proxy_turns_reuse_off_only_before_5_9():
    assert IpvsSysctls.of_kube_proxy((5, 4)).conn_reuse_mode == 0
    assert IpvsSysctls.of_kube_proxy((6, 1)).conn_reuse_mode == 1


# ---- commands ----------------------------------------------------------------------------------------------------------


def test_commands_that_the_kernel_refuses():
    bench = Bench("rr", "A")
    with pytest.raises(IpvsError):
        bench.add("A")
    with pytest.raises(IpvsError):
        bench.table.add_service(TCP, VIP, 80)
    gone = bench.delete("A")
    with pytest.raises(IpvsError):
        bench.table.delete_server(gone, 0)
    bench.table.delete_service(bench.service, 0)
    with pytest.raises(IpvsError):
        bench.table.delete_service(bench.service, 0)


def test_an_unknown_scheduler_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean 'wlc'"):
        IpvsTable().add_service(TCP, VIP, 80, "wcl")
    with pytest.raises(UsageError, match="no flag 'sh-port'"):
        IpvsTable().add_service(TCP, VIP, 80, "rr", flags=("sh-port",))


def test_lookup_knows_protocol_address_and_port_and_falls_back_to_port_0():
    table = IpvsTable()
    web = table.add_service(TCP, VIP, 80)
    six = table.add_service(TCP, parse_address("fd00::1"), 80)
    everything = table.add_service(TCP, VIP + 1, 0, persistence_ns=S)
    assert table.lookup(TCP, VIP, 80) is web
    assert table.lookup(UDP, VIP, 80) is None
    assert table.lookup(TCP, VIP, 81) is None
    assert table.lookup(TCP, parse_address("fd00::1"), 80) is six
    assert table.lookup(TCP, VIP + 1, 443) is everything


def test_a_deleted_service_leaves_its_entries_until_their_time():
    bench = Bench("rr", "A")
    connection = bench.open()
    bench.table.delete_service(bench.service, 0)
    assert bench.table.lookup(TCP, VIP, 80) is None
    assert bench.table.on_packet(connection, 0) is PacketFate.DROPPED
    assert bench.table.on_packet(connection, 0, from_client=False) is PacketFate.FORWARDED


def test_power_off_forgets_everything():
    bench = Bench("rr", "AB", persistence_ns=S)
    connection = bench.open()
    bench.table.flush()
    assert bench.table.on_packet(connection, 0) is PacketFate.GONE
    assert not bench.table.services
    bench.table.advance(10000 * S)


def test_ipv6_flows_keep_their_five_tuple():
    table = IpvsTable()
    vip, client, server = (parse_address(f"fd00::{end}") for end in ("1", "c:1", "5"))
    service = table.add_service(TCP, vip, 443, "rr")
    table.add_server(service, server, 8443, 1, 0)
    connection = table.connect(service, client, 40000, 0)
    assert split_key(connection.key) == (TCP, client, 40000, vip, 443)
    assert table.connect(service, client, 40000, 1) is connection
