"""The connection table: exact counts without an event an entry."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.linux.address import parse_address
from svcsim.linux.conntrack import Conntrack, Entry, State, Timeouts, flow_key
from svcsim.units import S

A = parse_address("10.0.0.1")
B = parse_address("10.96.0.1")
V6 = parse_address("2001:db8::1")


def entry(key, state=State.SYN_SENT):
    return Entry(key, state, B, 80, A, 40000, 0)


def test_an_entry_lives_for_the_time_out_of_its_state():
    table = Conntrack(10, Timeouts())
    table.insert(entry(1), 0)
    assert table.lookup(1, 120 * S - 1) is not None
    assert table.lookup(1, 120 * S) is None
    assert table.count(120 * S) == 0


def test_a_refresh_prolongs_it_and_a_move_changes_its_time():
    table = Conntrack(10, Timeouts())
    flow = entry(1, State.UDP_UNREPLIED)
    table.insert(flow, 0)
    table.refresh(flow, 20 * S)
    assert table.lookup(1, 49 * S) is flow
    table.move(flow, State.UDP_STREAM, 49 * S)
    assert table.lookup(1, 168 * S) is flow
    assert table.lookup(1, 169 * S) is None
    assert flow.expires_ns == 169 * S


def test_a_closed_entry_lingers_in_the_count_and_binds_nobody():
    table = Conntrack(10, Timeouts())
    flow = entry(1)
    table.insert(flow, 0)
    table.move(flow, State.ESTABLISHED, 1)
    table.close(flow, State.TIME_WAIT, 1 * S)
    assert table.lookup(1, 2 * S) is None
    assert table.count(121 * S - 1) == 1
    assert table.count(121 * S) == 0


def test_a_reset_one_is_gone_after_ten_seconds():
    table = Conntrack(10, Timeouts())
    flow = entry(1)
    table.insert(flow, 0)
    table.close(flow, State.CLOSE, 0)
    assert table.count(10 * S - 1) == 1
    assert table.count(10 * S) == 0


def test_a_full_table_drops_and_counts_what_it_dropped_until_there_is_room():
    table = Conntrack(2, Timeouts())
    assert table.insert(entry(1), 0)
    assert table.insert(entry(2), 1 * S)
    assert not table.insert(entry(3), 2 * S)
    assert table.dropped_full == 1
    assert table.insert(entry(3), 120 * S)
    assert table.peak == 2


def test_a_node_that_loses_power_forgets_everything():
    table = Conntrack(5, Timeouts())
    flow = entry(1)
    table.insert(flow, 0)
    table.flush()
    assert flow.expires_ns == 0
    assert table.count(0) == 0


@pytest.mark.parametrize("other", [(17, A, 1, B, 2), (6, A, 2, B, 1), (6, B, 1, A, 2), (6, V6, 1, B, 2), (6, A, 1, V6, 2)])
def test_flow_keys_tell_flows_apart(other):
    assert flow_key(6, A, 1, B, 2) != flow_key(*other)


class Model:
    """The obvious table: a dictionary of expiries."""

    def __init__(self, limit):
        self.limit = limit
        self.expiry = {}
        self.alive = set()

    def at(self, now):
        self.expiry = {key: due for key, due in self.expiry.items() if due > now}
        self.alive &= set(self.expiry)


operations = st.lists(
    st.tuples(
        st.sampled_from(["insert", "establish", "refresh", "close", "reset", "delete"]), st.integers(0, 5), st.integers(0, 90),
        st.booleans(),
    ),
    max_size=60,
)


@given(operations)
def test_counts_equal_those_of_the_obvious_table_whatever_happens(steps):
    timeouts = Timeouts(syn_sent_ns=20, established_ns=100, time_wait_ns=20, close_ns=7)
    table, model = Conntrack(4, timeouts), Model(4)
    flows, now = {}, 0
    peak = 0
    for operation, key, wait, looks in steps:
        now += wait
        model.at(now)
        flow = flows.get(key)
        alive = key in model.alive
        if operation == "insert":
            fresh = entry(key)
            took = table.insert(fresh, now)
            assert took == (len(model.expiry) < 4 or key in model.expiry)
            if took:
                flows[key] = fresh
                model.expiry[key] = now + 20
                model.alive.add(key)
                peak = max(peak, len(model.expiry))
        elif flow is not None and alive:
            if operation == "establish":
                table.move(flow, State.ESTABLISHED, now)
                model.expiry[key] = now + 100
            elif operation == "refresh":
                table.refresh(flow, now)
                model.expiry[key] = now + (100 if flow.state is State.ESTABLISHED else 20)
            elif operation in {"close", "reset"}:
                state, life = (State.TIME_WAIT, 20) if operation == "close" else (State.CLOSE, 7)
                table.close(flow, state, now)
                model.expiry[key] = now + life
                model.alive.discard(key)
            else:
                table.delete(flow)
                del model.expiry[key]
                model.alive.discard(key)
        assert table.peak == peak
        if looks:
            assert table.count(now) == len(model.expiry)
        assert {key for key in range(6) if table.lookup(key, now) is not None} == model.alive


def test_a_live_entry_takes_no_more_than_300_bytes_and_a_lingering_one_less():
    count = 25_000
    ports = [32768 + number % 28000 for number in range(count)]  # belong to connections
    table = Conntrack(count, Timeouts())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number, port in enumerate(ports):
        key = flow_key(6, A + number // 28000, port, B, 80)
        flow = Entry(key, State.SYN_SENT, B, 8080, A, port, number * 1000 + 10_000)
        table.insert(flow, number * 1000)
        table.move(flow, State.ESTABLISHED, number * 1000 + 50_000)
    live = (tracemalloc.get_traced_memory()[0] - before) / count
    for flow in table.live():
        table.close(flow, State.TIME_WAIT, 1 * S)
    del flow
    lingering = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    assert table.count(1 * S) == count
    assert live <= 300
    assert lingering <= 200
