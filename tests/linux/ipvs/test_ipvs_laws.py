"""Laws that hold for any sequence of packets and commands."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.linux.ipvs import Dropped, IpvsConnection, IpvsTimeouts, State
from svcsim.linux.ipvs.connections import ExpiryQueue, Template
from svcsim.linux.ipvs.schedulers import SCHEDULERS
from svcsim.linux.packet import TCP, UDP
from svcsim.units import MS, S
from tests.linux.ipvs.make import Bench

NAMES = "ABCD"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(NAMES), st.integers(0, 4)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("weigh"), st.sampled_from(NAMES), st.integers(0, 4)),
        st.tuples(st.just("open"), st.integers(0, 6), st.integers(1, 3)),
        st.tuples(st.just("packet"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("fin"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("rst"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([1 * MS, 10 * MS, 1 * S, 9 * S, 61 * S, 130 * S, 901 * S])),
    ),
    min_size=25, max_size=60,
)


class Driver:
    """Applies steps that make sense and ignores the others."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.opened: list[IpvsConnection] = []
        self.present: set[str] = set()
        self.seen = set()

    def apply(self, step) -> None:
        bench = self.bench
        kind, *rest = step
        if kind == "add" and rest[0] not in self.present:
            self.present.add(rest[0])
            self.seen.add(bench.add(*rest))
        elif kind == "delete" and rest[0] in self.present:
            self.present.remove(rest[0])
            bench.delete(rest[0])
        elif kind == "weigh" and rest[0] in self.present:
            bench.weigh(*rest)
        elif kind == "open":
            connection = bench.connect(rest[0], rest[1])
            if isinstance(connection, IpvsConnection) and connection not in self.opened:
                assert connection.server.weight > 0 or connection.template is not None
                assert connection.server.available
                self.opened.append(connection)
        elif kind in ("packet", "fin", "rst") and rest[0] < len(self.opened):
            connection = self.opened[rest[0]]
            if kind == "packet":
                bench.table.on_packet(connection, bench.now_ns, from_client=rest[1])
            else:
                getattr(bench.table, f"on_{kind}")(connection, rest[1], bench.now_ns)
        elif kind == "wait":
            bench.now_ns += rest[0]
            bench.table.advance(bench.now_ns)


@pytest.mark.parametrize("protocol", [TCP, UDP])
@settings(max_examples=200, deadline=None)
@given(
    steps=STEPS, scheduler=st.sampled_from(sorted(SCHEDULERS)), persistence_ns=st.sampled_from([0, 30 * S]),
    nodest=st.booleans(), quiescent=st.booleans(), mode=st.integers(0, 2),
)
def test_counters_are_what_counting_the_entries_gives(
    protocol, steps, scheduler, persistence_ns, nodest, quiescent, mode
):
    if protocol == UDP:
        steps = [step for step in steps if step[0] not in ("fin", "rst")]
    bench = Bench(
        scheduler, protocol=protocol, persistence_ns=persistence_ns, expire_nodest_conn=nodest,
        expire_quiescent_template=quiescent, conn_reuse_mode=mode,
    )
    driver = Driver(bench)
    for step in steps:
        driver.apply(step)
        active, inactive, held, templates = Counter(), Counter(), Counter(), Counter()
        for entry in bench.table.entries():
            assert entry.expires_ns > bench.now_ns
            (active if entry.active else inactive)[entry.server] += 1
            held[entry.template] += 1
        for template in bench.table.templates():
            assert template.held == held[template]
            templates[template.server] += 1
        for server in driver.seen:
            assert (server.active, server.inactive, server.templates) == (
                active[server], inactive[server], templates[server]
            )
    bench.now_ns += 100_000 * S
    bench.table.advance(bench.now_ns)
    assert not list(bench.table.entries())
    assert not list(bench.table.templates())
    assert not any(server.in_use() for server in driver.seen)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_an_entry_lives_exactly_as_long_as_a_timer_of_its_own_would(steps):
    """The lazy FIFOs against one timer an entry, over established flows, FINs and RSTs."""
    bench = Bench("rr", "AB", timeouts=IpvsTimeouts(tcp_ns=100 * S), conn_reuse_mode=0)
    driver = Driver(bench)
    driver.present.update("AB")
    life_ns = bench.table.timeouts.by_state()
    expires_ns: dict[IpvsConnection, int] = {}
    for step in steps:
        if step[0] in ("delete", "add"):
            continue
        before = {one: one.state for one in driver.opened}
        driver.apply(step)
        if step[0] == "open":
            touched = bench.connect(step[1], step[2])
            if touched is not None and touched is not Dropped.SILENTLY:
                expires_ns[touched] = bench.now_ns + life_ns[touched.state]
        elif step[0] in ("packet", "fin", "rst") and step[1] < len(driver.opened):
            touched = driver.opened[step[1]]
            if expires_ns.get(touched, 0) > bench.now_ns:
                expires_ns[touched] = bench.now_ns + life_ns[touched.state]
            else:
                assert touched.state is before[touched]
        for connection, until_ns in expires_ns.items():
            assert bool(connection.expires_ns) == (until_ns > bench.now_ns)


@given(st.lists(st.tuples(st.sampled_from([1, 10, 60]), st.integers(0, 100)), max_size=80))
def test_the_queue_gives_entries_back_in_the_order_of_their_time(appointments):
    queue = ExpiryQueue()
    for timeout, due in appointments:
        queue.put(Template(0, None, 0), timeout, due)
    got = []
    while queue.next_ns < 1 << 62:
        entry = queue.pop()
        assert entry is not None
        got.append(entry.due_ns)
    assert got == sorted(due for _, due in appointments)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 40))
def test_rr_is_fair_among_servers_with_a_weight(weights, rounds):
    bench = Bench("rr")
    for index, weight in enumerate(weights):
        bench.add(chr(65 + index), weight)
    able = sum(weight > 0 for weight in weights)
    chosen = Counter(bench.chosen(able * rounds))
    if able:
        assert set(chosen.values()) == {rounds}
    else:
        assert not chosen


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 5))
def test_wrr_gives_each_server_its_weight_in_every_cycle(weights, cycles):
    bench = Bench("wrr")
    for index, weight in enumerate(weights):
        bench.add(chr(65 + index), weight)
    chosen = Counter(bench.chosen(sum(weights) * cycles))
    assert chosen == Counter({chr(65 + index): weight * cycles for index, weight in enumerate(weights) if weight})


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(1, 60))
def test_lc_keeps_active_connections_within_one_of_each_other(weights, connections):
    bench = Bench("lc")
    for index, weight in enumerate(weights):
        bench.add(chr(65 + index), weight)
    for _ in range(connections):
        bench.open()
    active = [server.active for server in bench.service.servers]
    assert max(active) - min(active) <= 1


@given(st.sampled_from(["sh", "mh"]), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2**16))
def test_hashing_schedulers_remember_nothing(scheduler, weights, client):
    bench = Bench(scheduler)
    for index, weight in enumerate(weights):
        bench.add(chr(65 + index), weight)
    assert len(set(bench.chosen(5, client))) == 1


def test_state_tables_never_lead_a_tcp_entry_to_the_state_of_udp():
    from svcsim.linux.ipvs import states

    for table in (states.CLIENT_SYN, states.CLIENT_FIN, states.CLIENT_ACK, states.CLIENT_RST, states.SERVER_SYN,
                  states.SERVER_FIN, states.SERVER_ACK, states.SERVER_RST):
        assert len(table) == len(State)
        assert State.UDP not in table[:-1]
        assert table[-1] is State.UDP
