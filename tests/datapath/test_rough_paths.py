"""Jitter, loss, finite links, long messages: what a train meets on a path that is not smooth."""

import numpy as np
import pytest

from svcsim.datapath.fabric import FabricSettings
from svcsim.datapath.transfer import Sender
from svcsim.linux.congestion import CongestionWindow, WindowLimits
from svcsim.linux.packet import UDP
from svcsim.linux.tcp import SEGMENT_BYTES
from svcsim.network.links import HEADER_BYTES, Link
from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, US, S
from tests.datapath.small_world import Route, SmallWorld, charges
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload

ROUND_TRIP_NS = 200 * US


def rough_world(loss=0.0, jitter_ns=0, links=(), back=(), **settings):
    """Two nodes; the pod of node 1 is the only backend. `links` lead there, `back` from there."""
    world = SmallWorld(conntrack_limit=1_000_000, **settings)
    world.rules.backends = [world.pods[1].address]
    world.topology.default = Route(loss=loss, jitter_ns=jitter_ns, links=links)
    world.topology.routes[("node-1", "node-0")] = Route(loss=loss, jitter_ns=jitter_ns, links=back)
    return world


def balance(world):
    counts = world.fabric.counts
    return counts.sent - counts.delivered - sum(counts.dropped.values())


def traffic(world, rate=1000, seconds=4, drain_s=400, **settings):
    load = workload(world, sources=[source_on(world)], **settings)
    open_loop(load, world, rate, seconds * S)
    world.run((seconds + drain_s) * S)
    assert load.started == load.ended
    assert balance(world) == 0
    return rows(load)


# ---- jitter ----------------------------------------------------------------------------------------------------------


def test_jitter_delays_each_crossing_by_an_exponential_of_its_mean():
    smooth = traffic(rough_world(), keepalive=True)
    late = traffic(rough_world(jitter_ns=500 * US), keepalive=True, pool_limit=None)
    kept = late.connect_ns == 0
    extra = (late.request_ns + late.response_ns)[kept] - np.median(smooth.request_ns + smooth.response_ns)
    assert extra.mean() == pytest.approx(2 * 500 * US, rel=0.05)
    assert extra.std() == pytest.approx(500 * US * 2**0.5, rel=0.05)  # of two independent exponentials
    assert extra.min() > -20 * US


def test_jitter_is_drawn_by_connection_so_other_traffic_does_not_change_it():
    alone = traffic(rough_world(jitter_ns=500 * US), rate=200)
    world = rough_world(jitter_ns=500 * US, workers=1000)
    other = workload(world, name="other", index=1, sources=[source_on(world)])
    open_loop(other, world, 100, 4 * S)
    beside = traffic(world, rate=200)
    order, order_beside = np.argsort(alone.sequence), np.argsort(beside.sequence)
    same = np.abs(alone.latency_ns[order] - beside.latency_ns[order_beside]) < 100 * US  # CPU queues may differ a little
    assert same.mean() > 0.97


# ---- loss ------------------------------------------------------------------------------------------------------------


def test_without_loss_nothing_is_sent_again():
    requests = traffic(rough_world(jitter_ns=1), keepalive=True)
    assert not (requests.flags & Flag.RETRANSMITTED).any()


def test_a_small_message_that_is_lost_is_sent_again_after_200_ms_and_says_so():
    loss = 0.1
    requests = traffic(rough_world(loss=loss), keepalive=True, timeout_ns=100 * S)
    kept = requests.connect_ns == 0
    again = (requests.flags[kept] & Flag.RETRANSMITTED) > 0
    assert again.mean() == pytest.approx(1 - (1 - loss) ** 2, rel=0.1)
    assert (requests.latency_ns[kept][again] > 200 * MS).all()
    assert (requests.latency_ns[kept][~again] < 100 * MS).all()


def test_retransmissions_double_from_200_ms_in_each_direction():
    world = rough_world()
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    world.topology.default = Route(loss=1.0)
    world.fabric.changed()
    client.send(connection)
    world.run(4500 * MS)
    assert world.fabric.counts.dropped["link loss"] == 5  # at 0, 0.2, 0.6, 1.4 and 3.0 s
    world.topology.default = Route()
    world.topology.routes[("node-1", "node-0")] = Route(loss=1.0)
    world.fabric.changed()
    world.run(9 * S)
    assert client.names() == ["connected"]
    world.topology.routes.clear()
    world.fabric.changed()
    world.run(20 * S)
    assert client.names() == ["connected", "answered"]


@pytest.mark.parametrize("direction", [("node-0", "node-1"), ("node-1", "node-0")], ids=["SYN", "SYN-ACK"])
def test_a_handshake_that_loses_a_packet_starts_again_after_a_second_bound_to_the_same_endpoint(direction):
    world = rough_world()
    world.topology.routes[direction] = Route(loss=1.0)
    client = world.client()
    connection = client.connect()
    world.run(2500 * MS)
    assert world.fabric.counts.dropped["link loss"] == 3
    world.rules.backends = [world.pods[0].address]
    world.topology.routes[direction] = Route()
    world.fabric.changed()
    world.run(4 * S)
    assert [(what, endpoint) for what, _, endpoint in client.events] == [("connected", 1)]
    assert client.events[0][1] == pytest.approx(3 * S, abs=1 * MS)
    assert connection.syn_attempt == 3


def test_lost_handshakes_count_in_the_connect_part():
    loss = 0.1
    requests = traffic(rough_world(loss=loss), timeout_ns=100 * S)
    late = requests.connect_ns > 900 * MS
    assert late.mean() == pytest.approx(1 - (1 - loss) ** 2, rel=0.1)
    assert ((requests.flags[late] & Flag.RETRANSMITTED) > 0).all()


def test_a_lost_datagram_is_lost():
    loss = 0.1
    requests = traffic(rough_world(loss=loss), protocol=UDP, timeout_ns=500 * MS, keepalive=True)
    assert set(requests.outcome) == {Outcome.OK, Outcome.REQUEST_TIMEOUT}
    assert (requests.outcome == Outcome.REQUEST_TIMEOUT).mean() == pytest.approx(1 - (1 - loss) ** 2, rel=0.15)


def test_packets_behind_a_lost_one_have_it_repaired_in_a_round_trip():
    loss, segments = 0.01, 10
    world = rough_world(loss=loss)
    load = workload(world, sources=[source_on(world)], keepalive=True, timeout_ns=100 * S)
    loop = open_loop(load, world, 500, 10 * S)
    loop._answer_size = lambda u: segments * SEGMENT_BYTES
    world.run(500 * S)
    assert balance(world) == 0
    requests = rows(load)
    kept = requests.connect_ns == 0
    response = requests.response_ns[kept]
    smooth = np.median(response)
    repaired = (response > smooth + 0.9 * ROUND_TRIP_NS) & (response < 100 * MS)
    one_of_ten = 1 - (1 - loss) ** segments
    assert repaired.mean() == pytest.approx(one_of_ten, rel=0.15)
    assert np.median(response[repaired]) == pytest.approx(smooth + ROUND_TRIP_NS, rel=0.25)
    assert (requests.flags[kept][repaired] & Flag.RETRANSMITTED).all()


def test_a_connection_reset_by_a_lost_rst_is_noticed_at_the_next_segment():
    world = rough_world(loss=1.0)
    world.topology.routes.clear()
    world.topology.default = Route()
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    world.topology.default = Route(loss=1.0)
    world.fabric.changed()
    world.network.exchanges.revalidate(connection)
    world.servers[1].kill()
    world.run(2 * S)
    assert client.names() == ["connected"]
    world.topology.default = Route()
    world.fabric.changed()
    client.send(connection)
    world.run(3 * S)
    assert client.names() == ["connected", "failed", "disconnected"]
    assert balance(world) == 0


def test_packets_from_outside_may_be_lost_before_they_enter_the_cluster():
    world = rough_world()
    outside = world.outside_host()
    world.topology.routes[("outside", "node-0")] = Route(loss=0.2)
    world.topology.routes[("node-0", "outside")] = Route(loss=0.2)
    source = source_on(world, outside.namespace)
    load = workload(world, sources=[source], timeout_ns=100 * S)
    open_loop(load, world, 200, 4 * S)
    world.run(400 * S)
    requests = rows(load)
    assert (requests.connect_ns > 900 * MS).mean() == pytest.approx(0.36, abs=0.05)
    assert balance(world) == 0


# ---- finite links ----------------------------------------------------------------------------------------------------

MEGABIT = 1_000_000
WIRE_NS_A_BYTE = 800  # at 10 Mbit/s


def link(mbit=10, queue_bytes=1 << 20):
    return Link("link", mbit * MEGABIT, queue_bytes)


def warm(segments):
    """A sender as after a long slow start."""
    sender = Sender(CongestionWindow(WindowLimits()))
    sender.window.segments = segments
    return sender


def answer_time(world, answer_bytes, request_bytes=100):
    client = world.client()
    connection = client.connect()
    connection.sender, connection.client_sender = warm(10_000), warm(10_000)
    world.run(1 * S)
    client.send(connection, answer_bytes, request_bytes)
    world.run(60 * S)
    assert client.names() == ["connected", "answered"]
    return client.events[-1][1] - 1 * S


def test_a_message_takes_its_bytes_on_the_wire():
    size = 100 * SEGMENT_BYTES
    wire_ns = (size + 100 * HEADER_BYTES) * WIRE_NS_A_BYTE
    base_ns = answer_time(rough_world(), size)
    assert answer_time(rough_world(back=(link(),)), size) == pytest.approx(base_ns + wire_ns, rel=0.001)
    base_ns = answer_time(rough_world(), 100, size)
    assert answer_time(rough_world(links=(link(),)), 100, size) == pytest.approx(base_ns + wire_ns, rel=0.001)


def test_a_second_link_costs_one_packet_more_and_not_the_whole_train_again():
    size = 100 * SEGMENT_BYTES
    packet_ns = (SEGMENT_BYTES + HEADER_BYTES) * WIRE_NS_A_BYTE
    once_ns = answer_time(rough_world(back=(link(),)), size)
    twice_ns = answer_time(rough_world(back=(link(), link())), size)
    assert twice_ns - once_ns == packet_ns


def test_a_host_works_on_the_head_while_the_tail_is_on_the_wire():
    size = 100 * SEGMENT_BYTES
    slow = charges(nat_packet_ns=50 * MS)
    wire_ns = (size + 100 * HEADER_BYTES) * WIRE_NS_A_BYTE
    with_link_ns = answer_time(rough_world(back=(link(),), charges=slow), size)
    without_ns = answer_time(rough_world(charges=slow), size)
    assert wire_ns < with_link_ns - without_ns + 1 * MS
    assert with_link_ns - without_ns < wire_ns + 1 * MS


def test_a_link_carries_no_more_than_its_bandwidth_and_what_waits_waits_in_turn():
    world = rough_world(back=(link(queue_bytes=1 << 30),), workers=1000)
    load = workload(world, sources=[source_on(world)], keepalive=True, timeout_ns=1000 * S)
    loop = open_loop(load, world, 200, 5 * S)
    loop._answer_size = lambda u: 10_000
    world.run(100 * S)
    requests = rows(load)
    ends = np.sort(requests.end_ns)
    carried = len(requests) * (10_000 + 7 * HEADER_BYTES)
    assert ends[-1] - ends[0] == pytest.approx(carried * WIRE_NS_A_BYTE, rel=0.02)


def test_what_finds_no_room_before_a_link_is_dropped_sent_again_and_arrives_in_the_end():
    world = rough_world(back=(link(queue_bytes=30_000),), workers=1000)
    load = workload(world, sources=[source_on(world)], keepalive=True, timeout_ns=1000 * S)
    loop = open_loop(load, world, 200, 2 * S)
    loop._answer_size = lambda u: 10_000
    world.run(1000 * S)
    requests = rows(load)
    assert not requests.outcome.any()
    assert world.fabric.counts.dropped["link queue full"] > 50
    assert ((requests.flags & Flag.RETRANSMITTED) > 0).mean() > 0.2
    assert balance(world) == 0


def test_a_message_longer_than_the_links_queue_gets_through_when_the_link_is_free():
    assert answer_time(rough_world(back=(link(queue_bytes=20_000),)), 500_000) > 400 * MS


def test_small_packets_wait_for_the_link_too():
    shared = link(mbit=1)
    world = rough_world(links=(shared,))
    shared.free_ns = 300 * MS
    client = world.client()
    client.connect()
    world.run(900 * MS)
    assert client.events[0][1] == pytest.approx(300 * MS, abs=2 * MS)



def test_a_time_out_of_a_short_message_shrinks_the_window_of_long_ones():
    world = rough_world()
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    connection.sender = warm(160)
    world.topology.routes[("node-1", "node-0")] = Route(loss=1.0)
    world.fabric.changed()
    client.send(connection, 100)
    world.run(1_100 * MS)
    assert world.fabric.counts.dropped["link loss"] == 1
    assert connection.sender.window.segments == 10


# ---- the softirq backlog ---------------------------------------------------------------------------------------------


def burst(world, count=200):
    """So many connections from one source port's queue at once."""
    client = world.client()
    for _ in range(count):
        client.connect()
    return client


def test_a_first_packet_that_finds_too_much_waiting_is_dropped_and_sent_again():
    world = rough_world(settings=FabricSettings(backlog_ns=100 * US))
    client = burst(world, 400)
    world.run(500 * MS)
    accepted = client.names().count("connected")
    assert 0 < accepted < 400
    assert world.fabric.counts.dropped["softirq backlog"] == 400 - accepted
    world.run(60 * S)
    assert client.names().count("connected") == 400
    assert balance(world) == 0


def test_an_established_train_that_finds_too_much_waiting_is_sent_again_after_200_ms():
    world = rough_world(settings=FabricSettings(backlog_ns=1 * MS))
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    free, queue, *_ = connection.forward[0]
    free[queue] = 1 * S + 2 * MS
    request = client.send(connection)
    world.run(1 * S + 100 * MS)
    assert world.fabric.counts.dropped["softirq backlog"] == 1
    world.run(2 * S)
    assert client.names() == ["connected", "answered"]
    assert client.events[-1][1] == pytest.approx(1 * S + 200 * MS, abs=3 * MS)
    assert request.flags & Flag.RETRANSMITTED


def test_a_datagram_that_finds_too_much_waiting_is_gone():
    world = rough_world(settings=FabricSettings(backlog_ns=1 * MS))
    client = world.client()
    flow = client.socket()
    host = world.hosts[0]
    host.queues[:] = [5 * MS] * 4
    client.datagram(flow)
    world.run(1 * S)
    assert client.events == []
    assert world.fabric.counts.dropped["softirq backlog"] == 1
