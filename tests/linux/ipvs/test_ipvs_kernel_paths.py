"""Paths of the kernel that no recorded trace reaches, each read from net/netfilter/ipvs of Linux 6.1."""

from __future__ import annotations

from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.linux.address import parse_address
from svcsim.linux.ipvs import Dropped, IpvsKernel, IpvsSysctls, IpvsTable, IpvsTimeouts, PacketFate, State
from svcsim.linux.ipvs.schedulers import _destinations as remembered
from svcsim.linux.ipvs.schedulers.hashing import bucket_of, folded, hash_32, hsiphash
from svcsim.linux.packet import TCP, UDP
from svcsim.units import DAY, MINUTE, S
from tests.linux.ipvs.make import CLIENT, VIP, Bench, name

WEIGHTS = st.lists(st.integers(0, 6), min_size=1, max_size=6)


def weighted(scheduler, weights, **options) -> Bench:
    bench = Bench(scheduler, **options)
    for server, weight in weights.items():
        bench.add(server, weight)
    return bench


# ---- rr: ip_vs_rr_del_dest ---------------------------------------------------------------------------------------------


def test_rr_a_server_deleted_under_the_cursor_and_added_again_waits_at_the_head():
    bench = Bench("rr", "ABCD")
    assert bench.chosen(2) == "DC"
    bench.delete("C")
    bench.add("C")
    assert bench.chosen(5) == "BACDB"


def test_rr_without_the_head_that_it_chose_it_begins_at_the_new_head():
    bench = Bench("rr", "ABC")
    assert bench.chosen(1) == "C"
    bench.delete("C")
    assert bench.chosen(3) == "BAB"


def test_rr_comes_back_to_the_only_server_with_a_weight():
    bench = Bench("rr", "ABC")
    assert bench.chosen(1) == "C"
    bench.weigh("A", 0)
    bench.weigh("B", 0)
    assert bench.chosen(2) == "CC"
    bench.weigh("C", 0)
    assert bench.chosen(1) == "-"
    bench.weigh("A", 1)
    assert bench.chosen(1) == "A"


# ---- wrr: ip_vs_wrr_dest_changed ---------------------------------------------------------------------------------------


def test_wrr_fits_its_threshold_to_a_new_divisor_and_a_new_highest_weight():
    bench = weighted("wrr", {"A": 4, "B": 8})
    scheduler = bench.service.scheduler

    def numbers():
        return scheduler._highest, scheduler._step, scheduler._threshold

    assert numbers() == (5, 4, 1)
    bench.weigh("B", 9)
    assert numbers() == (9, 1, 1)
    assert bench.chosen(6) == "BABBBB"
    assert numbers() == (9, 1, 6)
    bench.weigh("B", 10)
    assert numbers() == (9, 2, 7), "6 is no threshold of weights with divisor 2"
    bench.weigh("B", 4)
    assert numbers() == (1, 4, 1)


@given(WEIGHTS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 7)), max_size=12))
def test_wrr_threshold_and_divisor_are_the_kernels_after_any_changes(weights, changes):
    bench = weighted("wrr", dict(zip("ABCDEF", weights, strict=False)))
    scheduler = bench.service.scheduler
    for place, weight, choices in changes:
        bench.chosen(choices)
        before = scheduler._threshold
        bench.weigh("ABCDEF"[place % len(weights)], weight)
        now = [server.weight for server in bench.service.servers]
        step = gcd(*now) or 1
        highest = max(now) - step + 1
        assert (scheduler._step, scheduler._highest, scheduler._cursor) == (step, highest, -1)
        expected = highest if before > highest or not before else before // step * step + 1 if step > 1 else before
        assert scheduler._threshold == expected
    total = sum(server.weight for server in bench.service.servers)
    if total:
        period = total // scheduler._step
        served = bench.chosen(2 * period)
        assert served[:period] == served[period:]
        for server in bench.service.servers:
            assert served.count(chr(server.address & 0xFF)) == 2 * server.weight // scheduler._step


def test_wrr_deleting_a_server_starts_the_pass_anew_and_the_last_one_leaves_nothing():
    bench = weighted("wrr", {"A": 1, "B": 3, "C": 2})
    assert bench.chosen(3) == "CBA"
    bench.delete("C")
    assert bench.chosen(4) == "BABB"
    bench.delete("A")
    bench.delete("B")
    assert bench.chosen(1) == "-"
    bench.add("B", 3)
    assert bench.chosen(2) == "BB"


# ---- sh: ip_vs_sh_reassign, ip_vs_sh_get_fallback ----------------------------------------------------------------------


def test_sh_a_server_of_weight_0_owns_one_bucket_a_round_and_refuses_whoever_hashes_there():
    """The kernel goes on to the next server as soon as `++d_count >= weight`: with weight 0 after its first bucket."""
    bench = weighted("sh", {"A": 2, "B": 0, "C": 1})
    turn = "CBAA"
    for client in range(400):
        assert bench.chosen(1, client) == turn[bucket_of(CLIENT + client, 0) % 4].replace("B", "-")


def test_sh_weights_are_read_when_the_list_changes_and_flags_at_each_choice():
    bench = weighted("sh", {"A": 1, "B": 1})
    before = [bench.chosen(1, client) for client in range(64)]
    bench.weigh("B", 0)
    bench.table.edit_service(bench.service, "sh", flags=("sh-fallback",))
    assert [bench.chosen(1, client) for client in range(64)] == ["A"] * 64
    bench.weigh("B", 1)
    assert [bench.chosen(1, client) for client in range(64)] == before


def test_sh_fallback_tries_buckets_from_the_hash_on_and_gives_up_after_a_round():
    bench = weighted("sh", {"A": 1, "B": 0, "C": 0}, flags=("sh-fallback",))
    for client in range(200):
        hashed = bucket_of(CLIENT + client, 0)
        owners = ["CBA"[bucket % 3] for bucket in range(256)]
        tried = [owners[((offset + hashed) % 256 + hashed) % 256] for offset in range(256)]
        assert bench.chosen(1, client) == ("A" if owners[hashed] == "A" or "A" in tried else "-")
    bench.weigh("A", 0)
    assert bench.chosen(3) == "---"


def test_sh_port_adds_the_port_to_the_address():
    bench = Bench("sh", "ABC", flags=("sh-port",))
    for port in range(1000, 1100):
        assert name(bench.connect(7, port)) == "CBA"[bucket_of(CLIENT + 7 + port, 0) % 3]


def test_ipv6_addresses_are_hashed_as_the_exclusive_or_of_their_words():
    address = parse_address("2001:db8:1:2::5")
    assert folded(address) == 0x20010DB8 ^ 0x00010002 ^ 0 ^ 5
    assert bucket_of(address, 0) == hash_32(folded(address), 8)


# ---- dh ----------------------------------------------------------------------------------------------------------------


def test_dh_ignores_weights_but_a_bucket_of_weight_0_refuses():
    table = IpvsTable()
    service = table.add_service(TCP, 0, 0, "dh", fwmark=1)
    servers = [table.add_server(service, 0x0AF40000 + index, 80, weight, 0) for index, weight in enumerate((0, 7, 1))]
    for destination in range(VIP, VIP + 100):
        owner = [*reversed(servers)][bucket_of(destination, 0) % 3]
        answer = table.connect(service, CLIENT, 1000, 0, protocol=TCP, destination=destination, destination_port=80)
        assert (answer.server if answer else None) is (owner if owner.weight else None)


# ---- mh: ip_vs_mh_permutate, ip_vs_mh_populate, ip_vs_mh_shift_weight ---------------------------------------------------


def maglev(servers, weights):
    """The table by the paper's own words: each server's permutation, filled in turns."""
    divisor = gcd(*weights)
    shift = max(0, (max(weights) // divisor).bit_length() - 6)
    turns = [weight // divisor >> shift or (1 if weight else 0) for weight in weights]
    orders = []
    for server in servers:
        word = server.address + server.port
        offset, step = hsiphash(word, 2654435761) % 4093, hsiphash(word, 2654446892) % 4092 + 1
        orders.append(iter([(offset + count * step) % 4093 for count in range(4093)]))
    table: dict[int, object] = {}
    while True:
        for server, order, turn in zip(servers, orders, turns, strict=True):
            for _ in range(turn):
                table[next(place for place in order if place not in table)] = server
                if len(table) == 4093:
                    return table


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 0, 5), (1000, 10, 1), (64, 32, 16), (130, 65, 0)])
def test_mh_fills_its_table_as_maglev_does_with_weights_cut_to_six_bits(weights):
    bench = weighted("mh", dict(zip("ABC", weights, strict=True)))
    servers = bench.service.servers
    table = maglev(servers, [server.weight for server in servers])
    for client in range(300):
        owner = table[hsiphash(CLIENT + client, 2654435761) % 4093]
        assert name(bench.connect(client)) == chr(owner.address & 0xFF)


def test_mh_a_server_added_with_weight_0_owns_nothing_a_drained_one_keeps_its_places():
    bench = weighted("mh", {"A": 1, "B": 1, "C": 0})
    before = [bench.chosen(1, client) for client in range(300)]
    assert set(before) == {"A", "B"}
    bench.weigh("B", 0)
    assert [bench.chosen(1, client) for client in range(300)] == [one.replace("B", "-") for one in before]
    bench.delete("B")
    bench.add("B", 0)
    assert {bench.chosen(1, client) for client in range(300)} == {"A"}


def test_mh_fallback_asks_the_hash_again_with_the_place_as_offset():
    bench = weighted("mh", {"A": 1, "B": 1, "C": 1}, flags=("mh-fallback",))
    servers = bench.service.servers
    table = maglev(servers, [1, 1, 1])
    bench.weigh("B", 0)
    for client in range(300):
        word = CLIENT + client
        place = hsiphash(word, 2654435761) % 4093
        tried = [table[place]] + [table[hsiphash(word + (place + more) % 4093, 2654435761) % 4093] for more in range(60)]
        assert name(bench.connect(client)) == next(chr(one.address & 0xFF) for one in tried if one.weight)


def test_mh_port_adds_the_port_to_the_hashed_word():
    bench = Bench("mh", "ABC", flags=("mh-port",))
    table = maglev(bench.service.servers, [1, 1, 1])
    for port in range(1000, 1100):
        owner = table[hsiphash(CLIENT + port, 2654435761) % 4093]
        assert name(bench.connect(0, port)) == chr(owner.address & 0xFF)


# ---- sed, nq -----------------------------------------------------------------------------------------------------------


def test_sed_and_nq_give_ties_to_the_first_in_the_list_and_skip_weight_0():
    bench = weighted("sed", {"A": 2, "B": 2, "C": 0})
    assert bench.chosen(4) == "BABA"
    bench = weighted("nq", {"A": 5, "B": 1, "C": 0})
    assert bench.chosen(4) == "BAAA"


# ---- lblc, lblcr -------------------------------------------------------------------------------------------------------


class Caches:
    """A service by firewall mark, asked for destinations by number."""

    def __init__(self, scheduler: str, weights: tuple[int, ...]) -> None:
        self.table = IpvsTable()
        self.service = self.table.add_service(TCP, 0, 0, scheduler, fwmark=7)
        self.servers = [
            self.table.add_server(self.service, 0x0AF40000 + index, 80, weight, 0) for index, weight in enumerate(weights)
        ]
        self.port = 1000
        self.now_ns = 0

    def ask(self, destination: int) -> int | None:
        self.port += 1
        answer = self.table.connect(
            self.service, CLIENT, self.port, self.now_ns, protocol=TCP, destination=VIP + destination, destination_port=80
        )
        return None if answer is None else self.servers.index(answer.server)


def test_lblc_keeps_a_server_until_it_has_more_than_its_weight_and_another_less_than_half():
    caches = Caches("lblc", (2, 2))
    assert [caches.ask(0) for _ in range(3)] == [1, 1, 1]
    caches.servers[0].active = 1
    assert caches.ask(0) == 1, "1 * 2 < 2 does not hold: nobody is idle enough"
    caches.servers[0].active = 0
    assert caches.ask(0) == 0


def test_lblc_leaves_a_drained_or_deleted_server_and_a_deleted_one_is_remembered_when_it_is_back():
    caches = Caches("lblc", (100, 100))
    assert caches.ask(0) == 1
    caches.table.edit_server(caches.servers[1], 0)
    assert caches.ask(0) == 0
    caches.table.edit_server(caches.servers[1], 100)
    assert caches.ask(0) == 0
    caches.table.delete_server(caches.servers[0], 0)
    caches.now_ns = 2000 * S
    caches.table.delete_server(caches.servers[1], caches.now_ns)
    assert caches.ask(0) is None
    back = caches.table.add_server(caches.service, 0x0AF40001, 80, 100, caches.now_ns)
    assert caches.table.add_server(caches.service, 0x0AF40000, 80, 100, caches.now_ns) is caches.servers[0]
    caches.servers[1] = back
    caches.servers[0].active = 50
    assert caches.ask(0) == 0, "the trash kept what the scheduler remembers"


def test_another_scheduler_forgets_what_lblc_remembered():
    caches = Caches("lblc", (100, 100))
    caches.ask(0)
    assert caches.servers[1].remembered == 1
    caches.table.edit_service(caches.service, "rr")
    assert [server.remembered for server in caches.servers] == [0, 0]
    caches.table.edit_service(caches.service, "lblcr")
    caches.ask(0)
    caches.table.delete_service(caches.service, 0)
    assert [server.remembered for server in caches.servers] == [0, 0]


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_a_destination_is_forgotten_at_the_first_full_look_a_day_after_its_last_use(scheduler):
    """Looks come each minute from a minute after the first question on, the thirtieth is a full one."""
    caches = Caches(scheduler, (100, 100))
    assert caches.ask(0) == 1
    caches.now_ns = 5 * MINUTE
    assert caches.ask(1) is not None
    assert caches.ask(0) == 1
    kept = caches.service.scheduler._cache if scheduler == "lblc" else caches.service.scheduler._sets
    caches.now_ns = DAY + 29 * MINUTE
    caches.ask(2)
    assert len(kept) == 3
    caches.now_ns = DAY + 30 * MINUTE
    caches.ask(2)
    assert len(kept) == 1
    assert sum(server.remembered for server in caches.servers) == 1


def test_too_many_destinations_are_forgotten_a_third_more_than_the_surplus_at_a_look_bucket_by_bucket():
    class One:
        def __init__(self) -> None:
            self.used_ns = 0

        def release(self) -> None:
            pass

    table: remembered.Destinations[One] = remembered.Destinations()
    table.get(0, 0)
    surplus = 300
    for destination in range(remembered.LIMIT + surplus):
        table.put(destination, One())
    table.get(1 << 31, 6 * MINUTE - 1)
    assert len(table) == remembered.LIMIT + surplus, "not idle yet"
    table.get(1 << 31, 6 * MINUTE)
    gone = remembered.LIMIT + surplus - len(table)
    assert 400 <= gone < 400 + 2 * 17, "all idle ones of a bucket go, and some sixteen are in each"
    table.get(1 << 31, 7 * MINUTE)
    assert remembered.LIMIT + surplus - len(table) == gone, "no surplus is left"


def test_lblcr_drops_the_most_loaded_member_a_day_after_the_last_change_of_the_set():
    caches = Caches("lblcr", (1, 1))
    assert caches.ask(0) == 1
    caches.servers[1].active = 2
    assert caches.ask(0) == 0
    caches.now_ns = DAY // 2
    caches.ask(0)
    caches.servers[0].active, caches.servers[1].active = 0, 1
    caches.now_ns = DAY + 1
    assert caches.ask(0) == 0
    [members] = caches.service.scheduler._sets._kept.values()
    assert members.servers == [caches.servers[0]]
    assert caches.servers[1].remembered == 0


# ---- persistence: ip_vs_sched_persist, ip_vs_check_template -------------------------------------------------------------


def test_persistence_by_netmask_takes_a_network_as_one_client():
    table = IpvsTable()
    service = table.add_service(TCP, VIP, 80, "rr", persistence_ns=300 * S, prefix_length=24)
    for index in range(3):
        table.add_server(service, 0x0AF40000 + index, 80, 1, 0)
    first, near, far = (table.connect(service, client, 1000, 0) for client in (0x0A010001, 0x0A0100FE, 0x0A010101))
    assert first.server is near.server
    assert far.server is not first.server
    assert len(list(table.templates())) == 2


def test_a_firewall_mark_has_one_template_for_all_its_addresses_and_protocols():
    table = IpvsTable()
    service = table.add_service(TCP, 0, 0, "rr", fwmark=3, persistence_ns=300 * S)
    for index in range(3):
        table.add_server(service, 0x0AF40000 + index, 80, 1, 0)
    answers = [
        table.connect(service, CLIENT, 1000, 0, protocol=protocol, destination=VIP + offset, destination_port=port)
        for protocol, offset, port in ((TCP, 0, 80), (TCP, 1, 443), (UDP, 1, 53))
    ]
    assert len({id(answer.server) for answer in answers}) == 1
    [template] = table.templates()
    assert template.held == 3


def test_changing_the_persistence_of_a_service_leaves_its_templates_their_time():
    bench = Bench("rr", "AB", persistence_ns=300 * S)
    bench.table.on_rst(bench.open(client=1), False, 0)
    bench.table.edit_service(bench.service, "rr", persistence_ns=20 * S)
    bench.wait(299)
    assert len(list(bench.table.templates())) == 1
    bench.wait(2)
    assert not list(bench.table.templates())


def test_a_port_reused_under_a_template_is_never_scheduled_anew():
    bench = Bench("rr", "AB", persistence_ns=300 * S, conn_reuse_mode=1)
    old = bench.open(client=1, port=5)
    bench.close(old)
    assert bench.connect(client=1, port=5) is old
    assert old.state is State.SYN_RECV


# ---- deleted and drained servers ---------------------------------------------------------------------------------------


def test_a_server_comes_back_with_its_count_of_connections_only_to_the_service_that_had_it():
    bench = Bench("rr", "A")
    server = bench["A"]
    bench.chosen(2)
    bench.delete("A")
    bench.add("A")
    assert (bench["A"], bench["A"].connections) == (server, 2)
    bench.table.delete_service(bench.service, 0)
    bench.service = bench.table.add_service(TCP, VIP, 80, "rr")
    bench.add("A")
    assert (bench["A"], bench["A"].connections, bench["A"].active) == (server, 0, 2)


def test_a_server_that_comes_back_takes_its_new_weight_whatever_it_was():
    bench = weighted("mh", {"A": 1, "B": 7})
    bench.connect(1)
    bench.delete("B")
    assert bench.add("B", 0).last_weight == 0


def test_kernels_before_5_9_drop_the_first_packet_after_a_deletion_and_the_entry_with_it():
    bench = Bench("rr", "AB", kernel=IpvsKernel.of((5, 8)), expire_nodest_conn=True)
    stale, other = bench.open(), bench.open()
    assert name(stale) + name(other) == "BA"
    bench.delete("B")
    bench.wait(60)
    assert stale.expires_ns
    assert bench.table.on_packet(stale, bench.now_ns) is PacketFate.DROPPED
    bench.wait(0.02)
    assert bench.table.on_packet(stale, bench.now_ns) is PacketFate.GONE


def test_kernels_before_5_9_lose_a_datagram_to_a_deleted_server_before_they_schedule_the_next():
    bench = Bench("rr", "AB", protocol=UDP, kernel=IpvsKernel.of((4, 19)), expire_nodest_conn=True)
    assert name(bench.connect(port=5)) == "B"
    bench.delete("B")
    bench.wait(1)
    assert bench.connect(port=5) is Dropped.SILENTLY
    bench.wait(1)
    assert name(bench.connect(port=5)) == "A"


@pytest.mark.parametrize(("version", "served"), [((5, 15), "B"), ((5, 16), "A")])
def test_a_busy_client_stays_with_a_drained_server_in_mode_0_until_5_16(version, served):
    """kubernetes issue 81775: its ports come round before their entries go, and each SYN renews one."""
    bench = Bench("rr", "AB", kernel=IpvsKernel.of(version), expire_nodest_conn=True, conn_reuse_mode=0)
    bench.close(bench.open(port=5))
    bench.weigh("B", 0)
    assert name(bench.connect(port=5)) == served


@pytest.mark.parametrize(
    ("state", "anew"),
    [(State.TIME_WAIT, True), (State.CLOSE, True), (State.FIN_WAIT, False), (State.CLOSE_WAIT, False), (State.SYN_RECV, False)],
)
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_a_port_is_scheduled_anew_once_its_connection_is_over(state, anew, mode):
    """Bit 2 of conn_reuse_mode speaks of FIN_WAIT where IPVS sees one direction only; of NAT it sees both."""
    bench = Bench("rr", "AB", conn_reuse_mode=mode)
    old = bench.open(port=5)
    bench.table._move(old, state, 0)
    assert name(bench.connect(port=5)) == ("A" if anew else "B")


def test_a_reused_port_that_nobody_serves_leaves_no_entry_after_the_tick():
    bench = Bench("rr", "A", conn_reuse_mode=1)
    bench.close(bench.open(port=5))
    bench.weigh("A", 0)
    assert bench.connect(port=5) is None
    bench.wait(0.02)
    assert not list(bench.table.entries())
    assert bench.counts("A") == [(0, 0)]


# ---- kernels and versions of kube-proxy --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "kubernetes", "mode"),
    [
        ((3, 10), (1, 12), 0), ((4, 15), (1, 12), 1), ((4, 15), (1, 13), 0), ((5, 10), (1, 13), 0), ((5, 10), (1, 19), 0),
        ((5, 10), (1, 20), 1), ((5, 8), (1, 30), 0), ((5, 8), None, 0), ((6, 1), None, 1),
    ],
)
def test_conn_reuse_mode_as_kube_proxy_leaves_it(kernel, kubernetes, mode):
    assert IpvsSysctls.of_kube_proxy(kernel, kubernetes).conn_reuse_mode == mode


def test_the_delay_of_a_second_is_that_of_conntrack_and_of_kernels_before_5_9():
    for version, conntrack, answer in (((5, 8), True, True), ((5, 9), True, False), ((5, 8), False, False)):
        bench = Bench("rr", "AB", conntrack=conntrack, kernel=IpvsKernel.of(version))
        bench.close(bench.open(port=5))
        assert (bench.connect(port=5) is Dropped.SILENTLY) is answer


# ---- time-outs ---------------------------------------------------------------------------------------------------------


def test_time_outs_that_were_set_reach_established_fin_wait_and_udp_entries_only():
    timeouts = IpvsTimeouts(tcp_ns=10 * S, tcp_fin_ns=20 * S, udp_ns=30 * S)
    bench = Bench("rr", "A", timeouts=timeouts)
    entry = bench.open()
    assert entry.expires_ns == 10 * S
    bench.table.on_fin(entry, False, 0)
    assert (entry.state, entry.expires_ns) == (State.FIN_WAIT, 20 * S)
    bench.table.on_fin(entry, True, 0)
    assert (entry.state, entry.expires_ns) == (State.TIME_WAIT, 120 * S)
    bench = Bench("rr", "A", protocol=UDP, timeouts=timeouts)
    assert bench.connect().expires_ns == 30 * S


def test_an_answer_of_a_deleted_server_passes_and_renews_its_entry():
    """Availability is asked of packets from the client only (ip_vs_in); ip_vs_out does not look."""
    bench = Bench("rr", "A")
    entry = bench.open()
    bench.delete("A")
    bench.wait(100)
    assert bench.table.on_packet(entry, bench.now_ns, from_client=False) is PacketFate.FORWARDED
    assert entry.expires_ns == 1000 * S
