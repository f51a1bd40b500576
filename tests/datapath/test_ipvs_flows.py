"""Connections that IPVS keeps an entry of, beside conntrack: what happens to them when the entry goes."""

import pytest

from svcsim.linux.ipvs.states import State
from svcsim.linux.packet import UDP
from svcsim.results.records import Outcome
from svcsim.units import MS, US, S
from tests.datapath.directors import Director
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload


@pytest.fixture
def director():
    world = SmallWorld()
    return Director(world)


def test_the_entry_follows_the_connection_through_its_states(director):
    world = director.world
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    assert connection.flow.state is State.ESTABLISHED
    server = connection.flow.server
    assert (server.active, server.inactive) == (1, 0)
    client.send(connection)
    world.run(2 * S)
    world.network.handshakes.close(connection)
    assert (server.active, server.inactive) == (0, 1)
    assert connection.flow.state is State.TIME_WAIT


def test_a_refused_connection_leaves_an_entry_that_is_closed(director):
    world = director.world
    for pod in world.pods:
        pod.listeners.clear()
    connection = world.client().connect()
    world.run(1 * S)
    assert connection.flow.state is State.CLOSE


def test_when_the_entry_is_gone_the_clients_own_node_resets_the_connection_at_the_next_segment(director):
    world = director.world
    client = world.client()
    connections = [client.connect(), client.connect()]
    world.run(1 * S)
    across = next(one for one in connections if one.endpoint == 1)
    director.delete(1)
    world.run(2 * S)
    assert client.names() == ["connected", "connected"]  # nothing is noticed as long as nothing is sent
    client.send(across)
    world.run(3 * S)
    assert client.names()[2:] == ["failed", "disconnected"]
    _, at_ns, outcome = client.events[2]
    assert outcome is Outcome.RESET
    assert at_ns - 2 * S < 50 * US  # it did not cross the network
    assert across not in world.servers[1].connections
    counts = world.fabric.counts
    assert counts.sent == counts.delivered + sum(counts.dropped.values())


def test_the_workload_goes_on_with_new_connections_and_its_pool_stays_in_order(director):
    world = director.world
    source = source_on(world)
    load = workload(world, sources=[source], keepalive=True, pool_limit=8)
    open_loop(load, world, 500, 4 * S)
    world.at(2 * S, lambda: director.delete(1))
    world.run(10 * S)
    requests = rows(load)
    failed = requests.outcome == Outcome.RESET
    assert 1 <= failed.sum() <= 8
    late = requests.start_ns > 3 * S
    assert set(requests.endpoint[late]) == {0}
    assert not requests.outcome[late].any()
    assert source.opened == len(source.idle) <= 8


def test_the_next_datagram_after_its_entry_is_gone_goes_to_another_server(director):
    world = director.world
    client = world.client()
    flow = client.socket()
    client.datagram(flow)
    world.run(1 * S)
    first = client.events[-1][2]
    director.delete(first, UDP)
    world.run(2 * S)
    client.datagram(flow)
    world.run(3 * S)
    assert client.events[-1][0] == "answered"
    assert client.events[-1][2] == 1 - first


def test_a_syn_in_flight_to_a_silent_server_moves_when_that_server_is_deleted(director):
    world = director.world
    world.hosts[1].up = False
    world.fabric.changed()
    client = world.client()
    connections = [client.connect(), client.connect()]
    world.run(500 * MS)
    assert client.names() == ["connected"]
    director.delete(1)
    world.run(10 * S)
    assert client.names() == ["connected", "connected"]
    assert {connection.endpoint for connection in connections} == {0}


def test_without_servers_it_refuses(director):
    world = director.world
    director.delete(0)
    director.delete(1)
    client = world.client()
    client.connect()
    world.run(1 * S)
    assert client.events[0][2] is Outcome.REFUSED
