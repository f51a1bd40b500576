"""Ports, the ICMP limit, neighbours and TCP's timers."""

from svcsim.linux.address import parse_address
from svcsim.linux.icmp import IcmpLimiter
from svcsim.linux.neighbour import Neighbours
from svcsim.linux.ports import PortAllocator
from svcsim.linux.tcp import TcpTimers
from svcsim.units import MS, S


def test_six_icmp_errors_at_once_and_then_one_a_second_for_each_peer():
    limiter = IcmpLimiter(burst=6, interval_ns=S)
    assert [limiter.allow(1, 0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert limiter.allow(2, 0)
    assert [limiter.allow(1, S), limiter.allow(1, S), limiter.allow(1, 2 * S)] == [True, False, True]


def test_errors_of_ipv6_come_four_times_as_fast():
    limiter, peer = IcmpLimiter(burst=6, interval_ns=S), parse_address("fd00::1")
    assert [limiter.allow(peer, 0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert [limiter.allow(peer, at * 252 * MS) for at in (1, 2, 3)] == [True] * 3
    assert not limiter.allow(peer, 760 * MS)


def test_packets_for_a_silent_neighbour_fail_together_and_the_next_one_starts_anew():
    neighbours = Neighbours(timeout_ns=3 * S)
    assert neighbours.fails_at(9, 0) == 3 * S
    assert neighbours.fails_at(9, 2 * S) == 3 * S
    assert neighbours.fails_at(9, 4 * S) == 7 * S


def test_a_port_comes_back_when_its_time_wait_is_over_and_not_before():
    ports = PortAllocator(first=1, last=2)
    first, second = ports.take(0), ports.take(0)
    assert {first, second} == {1, 2}
    assert ports.take(0) == 0
    ports.give(second, 60 * S)
    ports.give(first, 0)
    assert ports.take(0) == first
    assert ports.take(60 * S - 1) == 0
    assert ports.take(60 * S) == second


def test_ports_go_round_and_those_in_use_are_passed_over():
    ports = PortAllocator(offset=2, first=1, last=5)
    assert [ports.take(0) for _ in range(5)] == [3, 4, 5, 1, 2]
    for port, free_at_ns in ((4, 60 * S), (1, 0), (5, 10 * S), (3, 0)):
        ports.give(port, free_at_ns)
    assert [ports.take(S), ports.take(10 * S), ports.take(10 * S), ports.take(10 * S)] == [3, 5, 1, 0]
    ports.give(3, 10 * S)
    assert ports.take(10 * S) == 3
    assert ports.take(61 * S) == 4
    assert ports.take(61 * S) == 0, "2 is in use"


def _syn_times(timers):
    times, at = [0], 0
    for attempt in range(timers.last_syn()):
        at += timers.syn_wait_ns(attempt)
        times.append(at // S)
    return times


def test_syns_follow_the_linear_schedule_from_6_5_and_the_classic_one_before():
    assert _syn_times(TcpTimers()) == [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67]
    assert _syn_times(TcpTimers(syn_linear=0)) == [0, 1, 3, 7, 15, 31, 63]


def test_data_is_sent_again_after_200_ms_doubling_up_to_two_minutes():
    waits = [TcpTimers().data_wait_ns(i) for i in range(12)]
    assert waits[:3] == [200 * MS, 400 * MS, 800 * MS]
    assert waits[-1] == 120 * S
