"""A balancer chooses among the members that pass their checks, and changes its mind after so many results."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.datapath.balancer import Balancer, Member, Thresholds
from svcsim.engine.streams import Stream
from svcsim.linux.address import Address, Prefix, parse_address
from svcsim.linux.packet import TCP, UDP

CLIENT = parse_address("203.0.113.9")
NODES = [(f"n{number}", Address(number)) for number in range(1, 5)]
SPREAD = Stream(1, "cloud/spread")


def balancer(healthy=("n1", "n2", "n3", "n4"), **settings):
    made = Balancer(parse_address("198.51.100.2"), {(TCP, 80): 30080}, **settings)
    made.set_members(NODES)
    for name in healthy:
        made.members[name].healthy = True
    return made


def chosen(made, keys=range(4000), client=CLIENT, port=80, protocol=TCP):
    members = [made.pick(client, protocol, port, SPREAD.uniform, key) for key in keys]
    return Counter(member.name if member else None for member in members)


def test_connections_spread_evenly_over_the_healthy_members():
    counts = chosen(balancer(healthy=("n1", "n3", "n4")))
    assert set(counts) == {"n1", "n3", "n4"}
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_one_connection_stays_with_its_member():
    assert len(chosen(balancer(), keys=[77] * 50)) == 1


def test_with_client_affinity_a_client_stays_with_its_member():
    made = balancer(by_client=True)
    assert len(chosen(made)) == 1
    assert len({next(iter(chosen(made, keys=[1], client=Address(CLIENT + i)))) for i in range(50)}) == 4


def test_other_ports_and_protocols_are_not_taken():
    assert set(chosen(balancer(), port=81)) == {None}
    assert set(chosen(balancer(), protocol=UDP)) == {None}


def test_only_clients_of_the_source_ranges_are_let_in():
    made = balancer(source_ranges=(Prefix.parse("203.0.113.0/24"),))
    assert None not in chosen(made)
    assert set(chosen(made, client=parse_address("192.0.2.1"))) == {None}


@pytest.mark.parametrize(("fail_open", "members"), [(False, {None}), (True, {"n1", "n2", "n3", "n4"})])
def test_without_a_healthy_member_nobody_or_everybody_takes_traffic(fail_open, members):
    assert set(chosen(balancer(healthy=(), fail_open=fail_open))) == members


def test_a_new_member_has_to_pass_its_check_and_an_old_one_keeps_its_state():
    made = balancer()
    made.set_members([*NODES[1:], ("n5", Address(5))])
    assert {name: member.healthy for name, member in made.members.items()} == {"n2": True, "n3": True, "n4": True, "n5": False}
    made.set_members([("n2", Address(9))])
    assert not made.members["n2"].healthy  # another machine of the same name


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_a_member_changes_after_so_many_contradicting_results_in_a_row(results, healthy, unhealthy):
    member = Member("n1", Address(1))
    state, tail = False, []
    for result in results:
        tail.append(result)
        needed = unhealthy if state else healthy
        flips = len(tail) >= needed and all(each is not state for each in tail[-needed:])
        assert member.judge(result, Thresholds(healthy, unhealthy)) is flips
        if flips:
            state, tail = not state, []
        assert member.healthy is state
