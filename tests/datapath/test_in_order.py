"""A lost packet holds up whatever was sent behind it on its connection, and nothing else."""

import numpy as np
import pytest

from svcsim.datapath.connection import Request
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.linux.packet import TCP
from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, S
from svcsim.workload.multiplexed import Multiplexing
from tests.datapath.small_world import VIP, Client, Route, SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, workload

ROUND_TRIP_NS = 300_000
"""More than it takes to node 1 and back, with all that hosts do."""


class Streams(Client):
    """A client with one connection, on which it sends when it is told to; `done` are (name, when) of what was answered."""

    def __init__(self, world):
        super().__init__(world)
        self.done = []
        self.sent = {}
        self.connection = MultiplexedConnection(self, world.client_pod, self.ports.take(0), VIP, 80, TCP, 1, 0.99)
        world.network.handshakes.open(self.connection)
        world.run(10 * MS)

    def call(self, name, at_ns, request_bytes=100, answer_bytes=100):
        def send():
            request = Request(self, len(self.sent), self.world.clock.now, request_bytes, answer_bytes, 0.5, 0.0)
            self.sent[name] = request
            request.tag = name
            request.connection = self.connection
            self.connection.streams[request] = None
            self.world.network.exchanges.send(request)

        self.world.at(at_ns, send)

    def give_up(self, name, at_ns):
        def forget():
            self.sent[name].live = False
            self.connection.streams.pop(self.sent[name])

        self.world.at(at_ns, forget)

    def answered(self, request, finish_ns):
        self.connection.streams.pop(request)
        self.done.append((request.tag, finish_ns))

    def failed(self, request, outcome, now_ns):
        self.connection.streams.pop(request, None)
        super().failed(request, outcome, now_ns)

    @property
    def took(self):
        return {name: at_ns - self.sent[name].intended_ns for name, at_ns in self.done}

    @property
    def names(self):
        return [name for name, _ in self.done]


def lossy(world, from_ns, until_ns, source="node-0", target="node-1", route=None):
    """Whatever leaves a host for another is lost for a while."""
    def change(routes):
        world.topology.routes.update(routes)
        world.fabric.changed()

    world.at(from_ns, lambda: change({(source, target): route or Route(loss=1.0)}))
    world.at(until_ns, lambda: change({(source, target): world.topology.default}))


@pytest.fixture
def world():
    return SmallWorld(nodes=2, service_ns=1 * MS, workers=10)


def test_what_was_sent_behind_a_lost_request_waits_for_it_and_what_was_sent_before_does_not(world):
    client = Streams(world)
    client.call("before", 19_999_900)
    client.call("lost", 20 * MS + 1000)
    client.call("behind", 21 * MS)
    lossy(world, 20 * MS + 500, 20 * MS + 500_000)
    world.run(1 * S)
    assert client.names == ["before", "lost", "behind"]
    assert client.took["before"] < 1 * MS + ROUND_TRIP_NS
    assert 2 * MS < client.took["lost"] < 2 * MS + 2 * ROUND_TRIP_NS  # «behind» told of it after a millisecond
    assert 1 * MS + ROUND_TRIP_NS / 2 < client.took["behind"] < 1 * MS + 2 * ROUND_TRIP_NS
    assert client.sent["lost"].flags & Flag.RETRANSMITTED
    assert not client.sent["behind"].flags & Flag.RETRANSMITTED


def test_without_anything_behind_it_a_lost_request_waits_for_its_time_out(world):
    client = Streams(world)
    client.call("lost", 20 * MS + 1000)
    client.call("late", 220 * MS + 500_000)
    lossy(world, 20 * MS, 20 * MS + 500_000)
    world.run(1 * S)
    assert 201 * MS < client.took["lost"] < 201 * MS + 2 * ROUND_TRIP_NS
    assert client.took["late"] < 1 * MS + ROUND_TRIP_NS


def test_an_answer_that_is_lost_holds_up_the_answers_behind_it_and_no_request(world):
    client = Streams(world)
    client.call("lost", 20 * MS)
    client.call("behind", 22 * MS)
    lossy(world, 20 * MS + 500_000, 22 * MS, "node-1", "node-0")
    world.run(1 * S)
    assert client.names == ["lost", "behind"]
    lost, behind = client.sent["lost"], client.sent["behind"]
    assert behind.request_ns + behind.queue_ns < ROUND_TRIP_NS
    assert behind.response_ns > ROUND_TRIP_NS / 2
    assert 2 * MS < lost.response_ns < 2 * MS + 2 * ROUND_TRIP_NS


def test_a_gap_is_filled_though_nobody_waits_for_its_stream_any_more(world):
    client = Streams(world)
    client.call("lost", 20 * MS)
    client.give_up("lost", 21 * MS)
    client.call("behind", 22 * MS)
    lossy(world, 19 * MS, 21 * MS)
    world.run(1 * S)
    assert client.names == ["behind"]
    assert 1 * MS + ROUND_TRIP_NS / 2 < client.took["behind"] < 1 * MS + 2 * ROUND_TRIP_NS
    assert not client.connection.gaps
    assert not client.connection.held


def test_while_nothing_gets_through_all_wait_for_the_oldest_and_come_in_order(world):
    client = Streams(world)
    for i in range(10):
        client.call(i, (20 + 100 * i) * MS)
    lossy(world, 19 * MS, 700 * MS, route=Route(loss=1.0))
    world.run(10 * S)
    assert client.names == list(range(10))
    assert client.took[0] > 680 * MS
    assert client.took[9] < 1 * MS + 3 * ROUND_TRIP_NS
    assert world.fabric.counts.sent == world.fabric.counts.delivered + sum(world.fabric.counts.dropped.values())


def test_packets_within_a_message_that_are_lost_hold_up_what_is_behind_it_for_a_round_trip(world):
    client = Streams(world)
    client.call("torn", 20 * MS, request_bytes=14_000)
    client.call("behind", 20 * MS + 20_000)
    lossy(world, 19 * MS, 20 * MS + 10_000, route=Route(loss=0.3))
    world.run(1 * S)
    torn, behind = client.sent["torn"], client.sent["behind"]
    assert torn.flags & Flag.RETRANSMITTED
    assert client.names == ["torn", "behind"]
    assert torn.request_ns > ROUND_TRIP_NS / 2
    assert behind.request_ns == pytest.approx(torn.request_ns - 20_000, abs=10_000)


def test_a_reset_connection_leaves_nothing_behind(world):
    client = Streams(world)
    client.call("lost", 20 * MS)
    client.call("behind", 22 * MS)
    lossy(world, 19 * MS, 21 * MS, route=None)
    world.at(22 * MS + 200_000, world.servers[1].kill)
    world.run(100 * S)
    assert client.names == []
    assert not client.connection.gaps
    assert not client.connection.held
    assert world.fabric.counts.sent == world.fabric.counts.delivered + sum(world.fabric.counts.dropped.values())


def test_a_path_is_as_smooth_as_before_when_the_gap_is_closed(world):
    client = Streams(world)
    client.call("lost", 20 * MS)
    lossy(world, 19 * MS, 21 * MS)
    world.at(22 * MS, lambda: seen.append(client.connection.lossy))
    client.call("later", 1 * S)
    seen = []
    world.run(2 * S)
    assert seen == [True]
    assert not client.connection.lossy


def test_loss_delays_more_requests_where_they_share_a_connection():
    def slow_share(multiplexing):
        world = SmallWorld(nodes=2, service_ns=1 * MS, workers=100)
        world.rules.backends = [world.pods[1].address]
        world.topology.routes["node-0", "node-1"] = Route(delay_ns=5 * MS, loss=0.02)
        load = workload(world, keepalive=True, multiplexing=multiplexing, timeout_ns=10 * S)
        open_loop(load, world, 500, 10 * S)
        world.run(60 * S)
        requests = rows(load)
        assert set(requests.outcome) == {Outcome.OK}
        return float(np.mean(requests.latency_ns > 7 * MS)), float(np.mean(requests.latency_ns > 100 * MS))

    alone, shared = slow_share(None), slow_share(Multiplexing())
    assert shared[0] > 3 * alone[0]  # each lost packet holds up what comes within a round trip
    assert shared[1] < alone[1] / 3  # but others tell of it, so that hardly any waits for a time-out
