"""Messages longer than ten segments, window by window, held against arithmetic: rounds, bytes on the wire, shares, losses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.datapath.connection import Request
from svcsim.datapath.fabric import FabricSettings
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.linux.congestion import WindowLimits
from svcsim.linux.packet import TCP
from svcsim.linux.tcp import SEGMENT_BYTES, TcpTimers
from svcsim.network.links import HEADER_BYTES, Link
from svcsim.results.records import Flag
from svcsim.units import MS, US, S
from tests.datapath.small_world import VIP, Route, SmallWorld, charges

HOSTS_NS = 2 * (6_400 + 6_200)
"""What both nodes' CPUs add to a round trip between the kernels."""
FIRST_WINDOW = 10 * SEGMENT_BYTES
SIDES = pytest.mark.parametrize("side", ["request_bytes", "answer_bytes"])


def world_of(rtt_ns=200 * US, mbit=0, queue=1 << 30, loss=0.0, limits=None, **more):
    """Two nodes, the pod of node 1 the only backend; `mbit` is the bandwidth of a link in either direction."""
    world = SmallWorld(
        settings=FabricSettings(windows=limits or WindowLimits(), **more), charges=charges(extra_unit_ns=0), workers=1000,
        conntrack_limit=1_000_000,
    )
    world.rules.backends = [world.pods[1].address]
    for way in ("there", "back"):
        links = (Link(way, mbit * 1_000_000, queue),) if mbit else ()
        route = Route(rtt_ns // 2, links=links, loss=loss)
        if way == "there":
            world.topology.default = route
        else:
            world.topology.routes["node-1", "node-0"] = route
    return world


def connected(world):
    client = world.client()
    connection = client.connect()
    world.run(world.clock.now + 5 * S)
    assert client.names() == ["connected"]
    return client, connection


def took(client, connection, **sizes):
    """How long an exchange takes, to the nanosecond."""
    world = client.world
    begin_ns, before = world.clock.now, len(client.events)
    client.send(connection, **sizes)
    while len(client.events) == before:
        world.run(world.clock.now + MS)
    what, at_ns, _ = client.events[-1]
    assert what == "answered"
    return at_ns - begin_ns


def fresh(world, **sizes):
    client, connection = connected(world)
    spent_ns = took(client, connection, **sizes)
    settle(world)
    return spent_ns


def settle(world):
    """Let all that is under way arrive; every packet is then accounted for."""
    world.run(world.clock.now + 5 * S)
    assert world.fabric.counts.in_flight == 0


def wire_ns(size_bytes, mbit):
    packets = -(-size_bytes // SEGMENT_BYTES)
    return (size_bytes + packets * HEADER_BYTES) * 8 * 1000 // mbit


# ---- rounds ----------------------------------------------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize(
    ("segments", "rounds"), [(10, 1), (11, 2), (30, 2), (31, 3), (70, 3), (71, 4), (150, 4), (151, 5), (630, 6), (631, 7)]
)
def test_each_window_beyond_the_first_takes_a_round_trip_between_the_kernels(side, segments, rounds):
    one_ns = fresh(world_of(), **{side: FIRST_WINDOW})
    found_ns = fresh(world_of(), **{side: segments * SEGMENT_BYTES})
    assert found_ns == one_ns + (rounds - 1) * (200 * US + HOSTS_NS)


@SIDES
def test_both_sides_remember_their_window_and_each_side_its_own(side):
    world = world_of()
    client, connection = connected(world)
    cold_ns = took(client, connection, **{side: 150 * SEGMENT_BYTES})
    warm_ns = took(client, connection, **{side: 150 * SEGMENT_BYTES})
    assert cold_ns - warm_ns == 3 * (200 * US + HOSTS_NS)  # 10, 20, 40, 80 before; 150 fit now
    assert (connection.sender is None) == (side == "request_bytes")
    assert (connection.client_sender is None) == (side == "answer_bytes")


def test_a_window_on_its_way_is_a_few_events_and_a_hundred_megabytes_are_no_more_than_that():
    world = world_of()
    client, connection = connected(world)
    before = world.clock.events_scheduled
    took(client, connection, answer_bytes=630 * SEGMENT_BYTES)
    small = world.clock.events_scheduled - before
    assert small <= 10 + 6 * 3
    before = world.clock.events_scheduled
    took(client, connection, answer_bytes=100_000_000)
    assert world.clock.events_scheduled - before < 200


def test_each_further_unit_charges_the_cpu_of_each_host_and_hosts_work_at_the_same_time():
    world = world_of()
    client, connection = connected(world)
    unit_ns, units = 30 * US, 9
    plain_ns = took(client, connection, answer_bytes=10 * 45 * SEGMENT_BYTES)
    other = world_of()
    for host in other.hosts:
        host.charges = charges(extra_unit_ns=unit_ns)
    client, connection = connected(other)
    slow_ns = took(client, connection, answer_bytes=10 * 45 * SEGMENT_BYTES)
    assert 0 < slow_ns - plain_ns <= units * unit_ns
    warm = world_of()
    client, connection = connected(warm)
    took(client, connection, answer_bytes=10 * 45 * SEGMENT_BYTES)
    plain_ns = took(client, connection, answer_bytes=4 * 45 * SEGMENT_BYTES)
    for host in warm.hosts:
        host.charges = charges(extra_unit_ns=unit_ns)
    assert took(client, connection, answer_bytes=4 * 45 * SEGMENT_BYTES) == plain_ns + 3 * unit_ns


# ---- the window's limits ---------------------------------------------------------------------------------------------


def test_a_capped_window_carries_a_window_a_round_trip():
    largest = 64 * SEGMENT_BYTES
    limits = WindowLimits(largest)
    ten_ns = fresh(world_of(rtt_ns=10 * MS, limits=limits), answer_bytes=10 * largest)
    fifty_ns = fresh(world_of(rtt_ns=10 * MS, limits=limits), answer_bytes=50 * largest)
    assert fifty_ns - ten_ns == 40 * (10 * MS + HOSTS_NS)


@pytest.mark.parametrize(("idle_ns", "rounds"), [(100 * MS, 1), (300 * MS, 2), (500 * MS, 3), (30 * S, 4)])
def test_a_connection_that_rests_starts_more_slowly_again(idle_ns, rounds):
    world = world_of()
    client, connection = connected(world)
    took(client, connection, answer_bytes=150 * SEGMENT_BYTES)  # leaves a window of 160
    world.run(world.clock.now + idle_ns)
    one_ns = fresh(world_of(), answer_bytes=FIRST_WINDOW)
    found_ns = took(client, connection, answer_bytes=150 * SEGMENT_BYTES)
    assert found_ns == one_ns + (rounds - 1) * (200 * US + HOSTS_NS)


def test_a_host_may_be_told_not_to_mind_rest():
    world = world_of(limits=WindowLimits(restarts_after_idle=False))
    client, connection = connected(world)
    took(client, connection, answer_bytes=150 * SEGMENT_BYTES)
    world.run(world.clock.now + 3600 * S)
    assert took(client, connection, answer_bytes=150 * SEGMENT_BYTES) == fresh(world_of(), answer_bytes=FIRST_WINDOW)


# ---- finite links ----------------------------------------------------------------------------------------------------


@SIDES
def test_a_short_path_is_full_from_the_first_window_on(side):
    mbit, size = 100, 1_000_000  # ten segments are 1.2 ms on the wire, a round trip 0.2 ms
    base_ns = fresh(world_of(), **{side: 100})
    found_ns = fresh(world_of(mbit=mbit), **{side: size})
    assert found_ns == pytest.approx(base_ns + wire_ns(size, mbit), rel=0.001)


def test_a_long_path_is_full_once_the_window_holds_what_it_carries():
    mbit, rtt_ns, size = 100, 20 * MS, 5_000_000
    found_ns = fresh(world_of(rtt_ns=rtt_ns, mbit=mbit), answer_bytes=size)
    twice_ns = fresh(world_of(rtt_ns=rtt_ns, mbit=mbit), answer_bytes=2 * size)
    assert twice_ns - found_ns == pytest.approx(wire_ns(size, mbit), rel=0.001)
    # 10, 20, 40 and 80 segments leave it idle for the rest of their round trips; 172 fill it.
    idle_ns = 4 * rtt_ns - wire_ns(150 * SEGMENT_BYTES, mbit)
    assert found_ns == pytest.approx(rtt_ns + idle_ns + wire_ns(size, mbit), rel=0.01)


def test_slow_start_ends_where_the_path_is_full_so_that_its_queue_stays_short():
    mbit, rtt_ns = 100, 20 * MS
    world = world_of(rtt_ns=rtt_ns, mbit=mbit)
    client, connection = connected(world)
    took(client, connection, answer_bytes=5_000_000)
    carried = mbit * 1_000_000 * rtt_ns // (8 * S * (SEGMENT_BYTES + HEADER_BYTES))
    assert carried < connection.sender.window.threshold < 1.6 * carried


def test_two_transfers_share_a_link_and_take_twice_as_long_each():
    mbit, size = 100, 5_000_000
    alone_ns = fresh(world_of(rtt_ns=2 * MS, mbit=mbit), answer_bytes=size)
    world = world_of(rtt_ns=2 * MS, mbit=mbit)
    client = world.client()
    connections = [client.connect() for _ in range(2)]
    world.run(1 * S)
    for connection in connections:
        client.send(connection, answer_bytes=size)
    settle(world)
    first_ns, last_ns = (at_ns - 1 * S for what, at_ns, _ in client.events if what == "answered")
    assert last_ns == pytest.approx(2 * alone_ns, rel=0.02)
    assert first_ns > 1.5 * alone_ns


def test_a_small_message_waits_for_the_queue_and_not_for_the_rest_of_a_transfer():
    world = world_of(rtt_ns=2 * MS, mbit=100)
    client = world.client()
    connections = [client.connect() for _ in range(2)]
    world.run(1 * S)
    client.send(connections[0], answer_bytes=10_000_000)
    world.run(1_300 * MS)
    spent_ns = took(client, connections[1], answer_bytes=100)
    assert spent_ns < 30 * MS
    settle(world)


def test_a_second_link_costs_a_packet_and_not_the_window_again():
    mbit, size = 10, 1_000_000
    once_ns = fresh(world_of(mbit=mbit), answer_bytes=size)
    world = world_of(mbit=mbit)
    route = world.topology.routes["node-1", "node-0"]
    route.links += (Link("second", mbit * 1_000_000, 1 << 30),)
    assert fresh(world, answer_bytes=size) == pytest.approx(once_ns + wire_ns(SEGMENT_BYTES, mbit), abs=wire_ns(100, mbit))


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(FIRST_WINDOW + 1, 2_000_000), more=st.integers(1, 500_000), mbit=st.sampled_from([10, 100, 1000]),
    rtt_us=st.integers(20, 20_000), queue=st.sampled_from([1 << 30, 1 << 20]),
)
def test_no_transfer_beats_its_link_and_more_bytes_never_take_less_time(size, more, mbit, rtt_us, queue):
    def spent_ns(size_bytes):
        return fresh(world_of(rtt_ns=rtt_us * US, mbit=mbit, queue=queue), answer_bytes=size_bytes)

    found_ns = spent_ns(size)
    assert found_ns > wire_ns(size, mbit) + rtt_us * US
    assert spent_ns(size + more) >= found_ns


# ---- losses ----------------------------------------------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize("loss", [0.005, 0.05, 0.3])
def test_whatever_is_lost_comes_again_and_is_counted(side, loss):
    world = world_of(loss=loss)
    client = world.client()
    connection = client.connect()
    world.run(60 * S)
    request = client.send(connection, **{side: 1_000_000})
    world.run(world.clock.now + 600 * S)
    assert client.names() == ["connected", "answered"]
    assert request.flags & Flag.RETRANSMITTED
    counts = world.fabric.counts
    assert counts.in_flight == 0
    assert counts.dropped["link loss"] > 691 * loss / 3


class Losing:
    """A transfer of 150 segments of which some packets get lost on the way back, in the order in which they are sent."""

    def __init__(self, monkeypatch, lost, segments=150):
        self.world = world_of(rtt_ns=10 * MS)
        self.client, self.connection = connected(self.world)
        count = iter(range(1 << 60))
        monkeypatch.setattr(type(self.world.fabric), "is_lost", lambda fabric, connection, route: next(count) in lost)
        self.world.topology.routes["node-1", "node-0"] = Route(5 * MS, loss=0.5)
        self.world.fabric.changed()
        self.spent_ns = took(self.client, self.connection, answer_bytes=segments * SEGMENT_BYTES)
        settle(self.world)
        self.rounds = (self.spent_ns - fresh(world_of(rtt_ns=10 * MS), answer_bytes=FIRST_WINDOW)) / (10 * MS)


def test_one_packet_lost_in_the_middle_takes_no_round_trip_more_and_the_window_falls(monkeypatch):
    losing = Losing(monkeypatch, {12})  # of the second window
    window = losing.connection.sender.window
    assert window.threshold == 14  # 0.7 of 20
    # 10, 20, then 14 and about one more each round: the lost one goes first.
    assert losing.rounds == pytest.approx(9, abs=1.1)
    assert losing.world.fabric.counts.dropped["link loss"] == 1


def test_the_last_packets_of_a_message_are_missed_by_a_probe(monkeypatch):
    losing = Losing(monkeypatch, {148, 149})
    undisturbed = 3
    probe = 2 + 0.2 + 1  # two round trips and 2 ms without news, and the probe's own round trip
    again = 1
    assert losing.rounds == pytest.approx(undisturbed + probe + again, abs=0.1)
    assert losing.world.fabric.counts.dropped["link loss"] == 2


def test_a_lost_window_whose_probe_is_lost_too_waits_for_the_time_out_and_starts_from_one_segment(monkeypatch):
    losing = Losing(monkeypatch, set(range(10, 31)))
    assert losing.spent_ns > 200 * MS
    # The first window, a time-out of 200 ms and a round trip, then 1, 2, 4, 8 and 14 or a little more a round trip.
    assert losing.rounds == pytest.approx(1 + 21 + 4 + 10, abs=3)
    assert losing.connection.sender.window.threshold == 14
    assert losing.world.fabric.counts.dropped["link loss"] == 2  # a train that is lost whole counts as one


def test_a_path_that_is_gone_is_tried_at_doubling_intervals_and_taken_up_again():
    world = world_of(rtt_ns=10 * MS)
    client, connection = connected(world)
    begin_ns = world.clock.now
    client.send(connection, answer_bytes=1_000_000)
    world.run(begin_ns + 25 * MS)
    world.topology.routes["node-1", "node-0"] = Route(loss=1.0)
    world.fabric.changed()
    world.run(begin_ns + 3 * S)
    assert 4 <= world.fabric.counts.dropped["link loss"] <= 7
    world.topology.routes["node-1", "node-0"] = Route(5 * MS)
    world.fabric.changed()
    world.run(begin_ns + 20 * S)
    assert client.names() == ["connected", "answered"]
    settle(world)


def test_a_full_queue_drops_the_end_of_a_window_and_all_of_it_arrives_nevertheless():
    mbit, size = 100, 5_000_000
    world = world_of(rtt_ns=20 * MS, mbit=mbit, queue=1 << 16)
    client, connection = connected(world)
    spent_ns = took(client, connection, answer_bytes=size)
    dropped = world.fabric.counts.dropped["link queue full"]
    assert dropped > 0
    assert connection.sender.window.threshold < 300
    assert 1.0 < spent_ns / wire_ns(size, mbit) < 1.5
    settle(world)


def test_many_transfers_at_once_over_a_short_queue_all_arrive():
    world = world_of(rtt_ns=2 * MS, mbit=100, queue=1 << 16)
    client = world.client()
    connections = [client.connect() for _ in range(20)]
    world.run(5 * S)
    begin_ns = world.clock.now
    for connection in connections:
        client.send(connection, answer_bytes=1_000_000)
    world.run(begin_ns + 60 * S)
    finishes = [at_ns - begin_ns for what, at_ns, _ in client.events if what == "answered"]
    assert len(finishes) == 20
    assert world.fabric.counts.dropped["link queue full"] > 20
    assert wire_ns(20_000_000, 100) < max(finishes) < 2 * wire_ns(20_000_000, 100)
    settle(world)


# ---- streams, and what ends a connection -----------------------------------------------------------------------------


class Streams:
    """A client whose requests share one connection."""

    def __init__(self, world):
        self.world = world
        self.client = world.client()
        self.connection = MultiplexedConnection(self.client, world.client_pod, 40_000, VIP, 80, TCP, 1, 0.0)
        world.network.handshakes.open(self.connection)
        world.run(1 * S)

    def send(self, answer_bytes, sequence=0):
        request = Request(self.client, sequence, self.world.clock.now, 100, answer_bytes, 0.5, 0.0)
        request.connection = self.connection
        self.connection.streams[request] = None
        self.world.network.exchanges.send(request)
        return request


def test_streams_share_the_window_of_their_connection_and_take_turns():
    size = 630 * SEGMENT_BYTES
    alone = Streams(world_of(rtt_ns=10 * MS))
    alone.send(2 * size)
    settle(alone.world)
    both = Streams(world_of(rtt_ns=10 * MS))
    requests = [both.send(size, sequence) for sequence in range(2)]
    settle(both.world)
    assert both.client.names() == ["connected", "answered", "answered"]
    assert both.connection.sender.under_way == 0
    one_ns = alone.client.events[-1][1]
    assert both.client.events[-1][1] == pytest.approx(one_ns, abs=11 * MS)  # as if it were one message
    assert both.client.events[-2][1] > one_ns - 25 * MS
    assert {request.live for request in requests} == {False}


def test_a_stream_that_is_given_up_leaves_the_window_to_the_others():
    streams = Streams(world_of(rtt_ns=10 * MS, limits=WindowLimits(20 * SEGMENT_BYTES)))
    given_up, kept = streams.send(10_000_000), streams.send(100 * SEGMENT_BYTES, 1)
    streams.world.run(1 * S + 30 * MS)
    given_up.live = False
    del streams.connection.streams[given_up]
    settle(streams.world)
    assert not kept.live
    assert streams.client.events[-1][1] < 1 * S + 120 * MS
    assert streams.connection.sender.under_way == 0


def test_what_a_killed_server_had_written_still_arrives():
    world = world_of(rtt_ns=10 * MS)
    client, connection = connected(world)
    client.send(connection, answer_bytes=1_000_000)
    world.run(world.clock.now + 40 * MS)
    world.servers[1].kill()
    world.run(world.clock.now + 1 * S)
    assert client.names() == ["connected", "answered", "disconnected"]
    settle(world)


def test_what_was_on_its_way_from_a_pod_that_is_removed_is_never_complete():
    world = world_of(rtt_ns=10 * MS)
    client, connection = connected(world)
    request = client.send(connection, answer_bytes=1_000_000)
    world.run(world.clock.now + 40 * MS)
    world.remove_pod(1)
    world.run(world.clock.now + 30 * S)
    assert client.names() == ["connected"]
    assert request.live
    settle(world)


def test_a_request_to_a_server_that_dies_is_reset_before_it_is_whole():
    world = world_of(rtt_ns=10 * MS)
    client, connection = connected(world)
    client.send(connection, request_bytes=10_000_000)
    world.run(world.clock.now + 40 * MS)
    world.servers[1].kill()
    world.run(world.clock.now + 1 * S)
    assert client.names() == ["connected", "failed", "disconnected"]
    settle(world)


def test_a_server_that_drains_exits_when_its_long_answer_has_arrived():
    world = world_of(rtt_ns=10 * MS)
    client, connection = connected(world)
    exits = []
    server = world.servers[1]
    server.on_exit = lambda: exits.append(world.clock.now)
    begin_ns = world.clock.now
    client.send(connection, answer_bytes=1_000_000)
    world.run(begin_ns + 5 * MS)
    server.terminate()
    world.run(begin_ns + 10 * S)
    assert client.names() == ["connected", "answered", "disconnected"]
    assert exits[0] == pytest.approx(client.events[1][1], abs=10 * US)
    settle(world)


def test_a_client_that_has_no_more_patience_stops_the_transfer():
    world = world_of(rtt_ns=10 * MS, limits=WindowLimits(20 * SEGMENT_BYTES))
    client, connection = connected(world)
    request = client.send(connection, answer_bytes=10_000_000)
    world.run(world.clock.now + 50 * MS)
    request.live = False
    world.network.handshakes.close(connection)
    sent = world.fabric.counts.sent
    world.run(world.clock.now + 5 * S)
    assert world.fabric.counts.sent <= sent + 1
    settle(world)


@settings(deadline=None, max_examples=40)
@given(
    lost=st.frozensets(st.integers(0, 400), max_size=120), bursts=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60))),
    segments=st.integers(11, 300), queue=st.sampled_from([1 << 30, 40_000, 15_000]),
)
def test_whatever_packets_are_lost_every_transfer_is_complete_in_the_end_and_nothing_is_left(lost, bursts, segments, queue):
    gone = set(lost).union(*(range(since, since + count) for since, count in bursts))
    world = world_of(rtt_ns=10 * MS, mbit=10, queue=queue, timers=TcpTimers(data_retries=1000))
    client, connection = connected(world)
    count = iter(range(1 << 60))
    lossy = world.topology.routes["node-1", "node-0"]
    lossy.loss = 0.5
    world.fabric.changed()
    real = type(world.fabric).is_lost
    type(world.fabric).is_lost = lambda fabric, each, route: route is lossy and next(count) in gone
    try:
        client.send(connection, answer_bytes=segments * SEGMENT_BYTES - 7)
        world.run(world.clock.now + 1_000_000 * S)
    finally:
        type(world.fabric).is_lost = real
    assert client.names() == ["connected", "answered"]
    assert world.fabric.counts.in_flight == 0
    sender = connection.sender
    assert (sender.under_way, list(sender.messages), sender.untold) == (0, [], [])
