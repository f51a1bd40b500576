"""Finite links: FIFO by arithmetic, a queue in bytes, and trains that are not stored and forwarded whole."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from svcsim.network.links import HEADER_BYTES, Link

BYTE_A_MICROSECOND = 8_000_000
MS = 1_000_000
trains = st.lists(st.tuples(st.integers(0, 10_000_000), st.integers(1, 50), st.integers(1, 1448)), min_size=1, max_size=20)


def link(bandwidth: int = BYTE_A_MICROSECOND, queue: int = 1 << 30) -> Link:
    return Link("link", bandwidth, queue)


def through(links: list[Link], at_ns: int, packets: int, size_bytes: int) -> int | None:
    """When the last packet of a train that is there whole is through all links."""
    head_ns = tail_ns = at_ns
    for one in links:
        passed = one.transmit(head_ns, packets, size_bytes, tail_ns)
        if passed is None:
            return None
        head_ns, tail_ns = passed
    return tail_ns


def test_a_packet_takes_its_bytes_on_the_wire_headers_included() -> None:
    assert through([link()], 5_000, 1, 1000) == 5_000 + (1000 + HEADER_BYTES) * 1000


def test_packets_wait_for_those_before_them() -> None:
    shared = [link()]
    assert through(shared, 0, 1, 934) == MS
    assert through(shared, 400_000, 1, 934) == 2 * MS
    assert through(shared, 9 * MS, 1, 934) == 10 * MS


def test_what_does_not_fit_the_queue_is_dropped_whole_and_leaves_the_link_as_it_was() -> None:
    small = link(queue=2500)
    assert through([small], 0, 1, 934) == MS
    assert through([small], 0, 2, 1868) is None
    assert small.dropped_packets == 2
    assert through([small], 0, 1, 934) == 2 * MS


def test_the_queue_empties_as_bytes_leave() -> None:
    small = [link(queue=1500)]
    assert through(small, 0, 1, 934) == MS
    assert through(small, 400_000, 1, 934) is None
    assert through(small, 600_000, 1, 934) == 2 * MS


def test_a_train_is_not_stored_and_forwarded_whole() -> None:
    ten_packets, one_packet = 10 * MS, MS
    assert through([link(), link(), link()], 0, 10, 9340) == ten_packets + 2 * one_packet


def test_a_slow_link_in_the_middle_sets_the_pace() -> None:
    slow = link(BYTE_A_MICROSECOND // 4)
    assert through([link(), slow, link()], 0, 10, 9340) == (1 + 40 + 1) * MS


def test_a_later_drop_leaves_the_earlier_link_loaded() -> None:
    first, full = link(), link(queue=10)
    full.free_ns = 5 * MS
    assert through([first, full], 0, 1, 934) is None
    assert first.free_ns == MS


def test_what_comes_from_near_does_not_wait_for_what_was_booked_from_far() -> None:
    shared = [link(queue=2500)]
    assert through(shared, 10 * MS, 1, 934) == 11 * MS
    assert through(shared, 2 * MS, 1, 934) == 3 * MS
    assert through(shared, 2 * MS, 1, 934) == 4 * MS
    assert through(shared, 9_500_000, 1, 934) == 12 * MS
    assert through(shared, 4 * MS, 5, 934) == 4 * MS + (934 + 5 * HEADER_BYTES) * 1000
    assert shared[0].backlog_bytes(10 * MS) == 2000


@given(trains)
def test_whatever_the_order_of_booking_no_two_trains_are_on_the_wire_at_once(arrivals: list[tuple[int, int, int]]) -> None:
    shared = link()
    busy: list[tuple[int, int]] = []
    for at_ns, packets, size in arrivals:
        passed = shared.transmit(at_ns, packets, size * packets, at_ns)
        assert passed is not None
        whole_ns = shared.wire_ns((size + HEADER_BYTES) * packets)
        assert passed[1] - whole_ns >= at_ns
        busy.append((passed[1] - whole_ns, passed[1]))
    busy.sort()
    assert all(first[1] <= second[0] for first, second in pairwise(busy))
    idle = [(since, until) for (_, since), (until, _) in pairwise([(0, 0), *busy]) if since < until]
    assert shared.gaps == idle


@given(trains)
def test_each_link_finishes_at_least_a_packet_after_the_one_before(arrivals: list[tuple[int, int, int]]) -> None:
    one, two, alone = link(), link(BYTE_A_MICROSECOND * 3), link()
    for at_ns, packets, size in sorted(arrivals):
        single = through([alone], at_ns, packets, size * packets)
        both = through([one, two], at_ns, packets, size * packets)
        assert single is not None
        assert both is not None
        assert both >= single + two.wire_ns(size + HEADER_BYTES)


@given(trains)
def test_a_link_never_works_faster_than_its_bandwidth(arrivals: list[tuple[int, int, int]]) -> None:
    shared = [link()]
    carried = 0
    for at_ns, packets, size in sorted(arrivals):
        end_ns = through(shared, at_ns, packets, size * packets)
        carried += (size + HEADER_BYTES) * packets
        assert end_ns is not None
        assert end_ns - min(arrivals)[0] >= carried * 1000


# ---- trains of long transfers ----------------------------------------------------------------------------------------

spread_trains = st.lists(
    st.tuples(st.integers(0, 10_000_000), st.integers(0, 5_000_000), st.integers(1, 50), st.integers(1, 1448)), min_size=1,
    max_size=20,
)  # fmt: skip


def test_a_train_that_comes_all_at_once_takes_its_bytes_on_the_wire() -> None:
    assert link().carry(0, 0, 10, 9340) == (10, MS, 10 * MS)


def test_a_train_that_comes_more_slowly_than_the_link_ends_a_packet_after_its_last_one_came() -> None:
    assert link().carry(0, 50 * MS, 10, 9340) == (10, MS, 51 * MS)


def test_what_a_slow_train_does_not_need_of_the_link_others_have() -> None:
    shared = link()
    shared.carry(0, 50 * MS, 10, 9340)
    assert shared.carry(0, 0, 30, 28020) == (30, MS, 30 * MS)
    assert shared.transmit(30 * MS, 5, 4670) == (31 * MS, 35 * MS)
    assert shared.free_ns == 51 * MS


def test_a_long_train_fills_the_gaps_between_those_that_are_booked() -> None:
    shared = link()
    assert through([shared], 2 * MS, 1, 934) == 3 * MS
    assert through([shared], 5 * MS, 1, 934) == 6 * MS
    assert shared.carry(0, 0, 10, 9340) == (10, MS, 12 * MS)
    assert shared.gaps == []


def test_packets_that_find_the_queue_full_are_dropped_from_the_end() -> None:
    small = link(queue=4500)
    taken, head_ns, tail_ns = small.carry(0, 0, 10, 9340)
    assert (taken, head_ns, tail_ns) == (5, MS, 5 * MS)  # one on the wire, four in the queue
    assert small.dropped_packets == 5
    assert small.carry(0, 0, 3, 2802)[0] == 0
    assert small.dropped_packets == 8
    assert small.free_ns == 5 * MS
    assert small.carry(2 * MS, 2 * MS, 3, 2802) == (1, 6 * MS, 6 * MS)


def test_packets_that_come_as_fast_as_the_link_sends_need_no_queue() -> None:
    assert link(queue=0).carry(0, 49 * MS, 50, 46_700) == (50, MS, 50 * MS)
    assert link(queue=0).carry(0, 48 * MS, 50, 46_700)[0] == 49


@given(spread_trains)
def test_a_link_is_busy_for_its_bytes_and_idle_for_the_rest(arrivals: list[tuple[int, int, int, int]]) -> None:
    shared = link()
    carried_ns = 0
    for head_ns, spread_ns, packets, size in arrivals:
        taken, first_ns, last_ns = shared.carry(head_ns, head_ns + spread_ns, packets, size * packets)
        one_ns, whole_ns = shared.wire_ns(size + HEADER_BYTES), shared.wire_ns((size + HEADER_BYTES) * packets)
        carried_ns += whole_ns
        assert taken == packets
        assert head_ns + one_ns <= first_ns <= last_ns
        assert last_ns >= max(head_ns + whole_ns, head_ns + spread_ns + one_ns)
        assert all(first[1] <= second[0] for first, second in pairwise(shared.gaps))
    assert shared.free_ns - sum(until - since for since, until in shared.gaps) == carried_ns
