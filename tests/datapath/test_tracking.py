"""A connection that was idle for longer than conntrack remembers it: its next segment is the first of a flow."""

from pathlib import Path

import pytest

from svcsim.cli.main import run
from svcsim.datapath.fabric import FabricSettings
from svcsim.linux.conntrack import State, Timeouts
from svcsim.linux.packet import Verdict
from svcsim.results.records import Outcome
from svcsim.units import MS, S
from tests.datapath.directors import Director
from tests.datapath.small_world import SmallWorld
from tests.world.small import KERNEL_MODES, SMALL, see


def forgetful(**settings):
    return SmallWorld(
        nodes=3, settings=FabricSettings(remembers=False), timeouts=Timeouts(established_ns=30 * S), **settings
    )


def idle_for(world, seconds, uniform=0.5):
    """A client with a connection to pod-1 that has been answered once and then idle for so long."""
    client = world.client()
    connection = client.connect(uniform=uniform)
    world.run(1 * S)
    client.send(connection)
    world.run(round((1 + seconds) * S))
    assert client.names() == ["connected", "answered"]
    client.events.clear()
    return client, connection


def send(world, client, connection):
    client.send(connection)
    world.run(world.clock.now + 2 * S)
    return client.names()


def test_as_long_as_entries_live_nothing_is_decided_again():
    world = forgetful()
    client, connection = idle_for(world, 29)
    entry = connection.near_entry
    world.rules.backends = [world.pods[2].address]
    for _ in range(5):  # each request keeps the entries for another 30 s
        assert send(world, client, connection)[-1] == "answered"
        world.run(world.clock.now + 27 * S)
    assert connection.near_entry is entry
    assert connection.decisions == 1


def test_an_idle_connection_goes_on_if_the_same_endpoint_is_chosen_again():
    world = forgetful()
    client, connection = idle_for(world, 31)
    rules = connection.rules
    world.rules.backends = [world.pods[1].address]
    assert world.hosts[0].conntrack.count(world.clock.now) == 0
    assert send(world, client, connection) == ["answered"]
    assert world.hosts[0].conntrack.count(world.clock.now) == 1
    assert world.hosts[1].conntrack.count(world.clock.now) == 1
    assert connection.near_entry.state is connection.far_entry.state is State.ESTABLISHED
    assert connection.rules == rules + 4 + 2  # both nodes walked again


def test_another_endpoint_knows_no_such_connection_and_resets_it():
    world = forgetful()
    client, connection = idle_for(world, 31)
    world.rules.backends = [world.pods[2].address]
    began_ns = world.clock.now
    assert send(world, client, connection) == ["failed", "disconnected"]
    _, at_ns, outcome = client.events[0]
    assert outcome is Outcome.RESET
    assert 0 < at_ns - began_ns < 1 * MS
    assert world.fabric.counts.in_flight == 0
    world.run(world.clock.now + 11 * S)
    assert world.hosts[0].conntrack.count(world.clock.now) == 0  # CLOSE has a short life


@pytest.mark.parametrize(("verdict", "cause"), [(Verdict.REJECT, "rejected"), (Verdict.DROP, "dropped by rule")])
def test_an_established_socket_passes_over_icmp_errors(verdict, cause):
    world = forgetful()
    client, connection = idle_for(world, 31)
    world.rules.verdict = verdict
    assert send(world, client, connection) == []
    assert world.fabric.counts.dropped[cause] > 1  # it is sent again and again
    world.rules.verdict = None
    world.rules.backends = [world.pods[1].address]
    world.run(world.clock.now + 20 * S)
    assert client.names() == ["answered"]


def test_a_dead_endpoint_does_not_answer():
    world = forgetful()
    client, connection = idle_for(world, 31)
    world.rules.backends = [world.pods[2].address]
    world.remove_pod(2)
    assert send(world, client, connection) == []
    assert world.fabric.counts.in_flight == 0


def test_a_masqueraded_connection_comes_from_another_port_and_is_reset():
    world = forgetful()
    world.rules.masquerade = True
    client, connection = idle_for(world, 31)
    world.rules.backends = [world.pods[1].address]
    assert send(world, client, connection) == ["failed", "disconnected"]


def test_ipvs_finds_the_server_by_its_own_entry():
    world = forgetful()
    Director(world)
    client = world.client()
    connection = client.connect()
    world.run(1 * S)
    endpoint = connection.endpoint
    world.run(40 * S)
    assert send(world, client, connection)[-1] == "answered"
    assert connection.endpoint == endpoint
    assert world.hosts[0].conntrack.count(world.clock.now) == 1


def test_a_direct_connection_is_picked_up_in_its_middle():
    world = forgetful()
    client = world.client()
    connection = client.connect(destination=world.pods[1].address, port=8080)
    world.run(40 * S)
    assert send(world, client, connection)[-1] == "answered"


def test_a_world_that_remembers_has_nothing_of_it():
    world = SmallWorld()
    connection = world.client().connect()
    world.run(1 * S)
    assert connection.flow is None


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_in_a_run_idle_connections_break_where_the_entry_is_older_than_they_are_idle(mode):
    kept = {"workloads[0].connections": {"keepalive": True}, "workloads[0].arrivals": {"constant": "1/s"}}
    short = see(mode=mode, **kept, **{"cluster.conntrack.tcpEstablished": "500ms"})
    long = see(mode=mode, **kept, **{"cluster.conntrack.tcpEstablished": "15s"})
    assert set(long.outcomes()) == {Outcome.OK}
    assert (Outcome.RESET in short.outcomes()) == (mode != "ipvs/rr")


def test_a_capture_says_why_the_connection_was_reset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    words = ["cluster.conntrack.tcpEstablished=100ms", "workloads[0].connections.keepalive=true", "run.duration=10s",
             "workloads[0].arrivals.constant=3/s"]
    settings = [part for word in words for part in ("--set", word)]
    assert run(["run", "small.yaml", "--no-out", "--quiet", "--pcap", "worker-1.pcapng", *settings]) == 0
    assert b"the node forgot the connection and chose an endpoint anew" in Path("worker-1.pcapng").read_bytes()
