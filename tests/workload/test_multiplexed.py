"""Requests that share a connection: streams and their limit, age, pings, and what a dead peer does to all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.streams import Stream
from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, S
from svcsim.workload.balancing import Balancing
from svcsim.workload.multiplexed import Multiplexing
from svcsim.workload.reconnecting import Backoffs, Reconnecting
from tests.datapath.directors import Captured
from tests.datapath.small_world import Route, SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload


def told(world, rate=200, until_ns=4 * S, **settings):
    values = {"keepalive": True, "multiplexing": Multiplexing(), **settings}
    load = workload(world, **values)
    open_loop(load, world, rate, until_ns)
    return load


def opened(requests):
    return int(np.count_nonzero(requests.flags & Flag.NEW_CONNECTION))


def test_a_client_opens_one_connection_and_one_pod_gets_everything():
    world = SmallWorld(nodes=3, service_ns=20 * MS, workers=100)
    load = told(world)
    world.run(10 * S)
    requests = rows(load)
    assert opened(requests) == 1
    assert len(set(requests.endpoint)) == 1
    assert set(requests.outcome) == {Outcome.OK}
    assert requests.wait_ns.max() == 0  # though up to ten are under way at a time


def test_requests_that_come_while_it_connects_wait_for_the_handshake():
    world = SmallWorld()
    world.rules.backends = [world.pods[1].address]
    load = told(world, rate=100_000, until_ns=1 * MS, timeout_ns=10 * S)
    world.run(1 * S)
    requests = rows(load)
    assert opened(requests) == 1
    assert np.count_nonzero(requests.connect_ns) > 10
    connected = requests.start_ns + requests.connect_ns
    assert len(set(connected[requests.connect_ns > 0])) == 1


@pytest.mark.parametrize(("when_full", "connections"), [("wait", 1), ("connect", 5)])
def test_what_is_beyond_the_streams_waits_or_opens_another_connection(when_full, connections):
    world = SmallWorld(service_ns=50 * MS, workers=100)
    load = told(world, rate=100_000, until_ns=500_000, multiplexing=Multiplexing(10, when_full), timeout_ns=10 * S)
    world.run(10 * S)
    requests = rows(load)
    n = len(requests)
    assert opened(requests) == (1 if when_full == "wait" else -(-n // 10)) >= connections
    rounds = np.round(requests.wait_ns / (50 * MS)).astype(int)
    if when_full == "wait":
        assert np.bincount(rounds).tolist() == [10] * (n // 10) + ([n % 10] if n % 10 else [])
    else:
        assert rounds.max() == 0


def test_a_request_that_times_out_gives_up_its_stream_and_not_the_connection():
    world = SmallWorld(nodes=1)
    world.servers[0].hang()
    world.at(2 * S, world.servers[0].resume)
    load = told(world, timeout_ns=300 * MS)
    world.run(10 * S)
    requests = rows(load)
    assert opened(requests) == 1
    assert Outcome.REQUEST_TIMEOUT in set(requests.outcome)
    assert set(requests.outcome[requests.start_ns > 3 * S]) == {Outcome.OK}


def test_age_ends_a_connection_within_a_tenth_without_losing_a_request_and_pods_come_to_be_even():
    world = SmallWorld(nodes=3, service_ns=5 * MS, workers=100)
    load = told(world, until_ns=60 * S, multiplexing=Multiplexing(max_age_ns=1 * S))
    world.run(80 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    starts = np.sort(requests.start_ns[(requests.flags & Flag.NEW_CONNECTION) > 0])
    lives = np.diff(starts)
    assert 0.9 * S < lives.min() < 0.95 * S
    assert 1.05 * S < lives.max() < 1.15 * S
    assert np.bincount(requests.endpoint).min() > len(requests) / 6


@pytest.mark.parametrize(("grace_ns", "outcome"), [(None, Outcome.OK), (50 * MS, Outcome.RESET), (200 * MS, Outcome.OK)])
def test_what_is_under_way_at_that_age_is_finished_or_reset_after_the_grace(grace_ns, outcome):
    world = SmallWorld(nodes=1, service_ns=150 * MS, workers=100)
    load = told(world, until_ns=3 * S, multiplexing=Multiplexing(max_age_ns=1 * S, grace_ns=grace_ns))
    world.run(10 * S)
    assert (outcome == Outcome.RESET) == (Outcome.RESET in set(rows(load).outcome))


def test_a_killed_server_resets_every_stream_at_once():
    world = SmallWorld(nodes=1, service_ns=100 * MS, workers=100)
    load = told(world, until_ns=1 * S)
    world.at(1 * S, world.servers[0].kill)
    world.run(5 * S)
    requests = rows(load)
    reset = requests.outcome == Outcome.RESET
    assert 10 < np.count_nonzero(reset) < 40
    assert len(set((requests.start_ns + requests.latency_ns)[reset])) == 1


def test_a_server_that_drains_says_so_finishes_its_streams_and_exits():
    world = SmallWorld(nodes=2, service_ns=50 * MS, workers=100)
    load = told(world, until_ns=3 * S)
    exits = []
    for server in world.servers:
        server.on_exit = lambda: exits.append(world.clock.now)

    def rollout():
        [busy] = [i for i, server in enumerate(world.servers) if server.busy]
        world.rules.backends = [pod.address for i, pod in enumerate(world.pods) if i != busy]
        world.servers[busy].terminate()

    world.at(1 * S, rollout)
    world.run(10 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert opened(requests) == 2
    assert len(exits) == 1
    assert 1 * S < exits[0] < 1 * S + 60 * MS


@pytest.mark.parametrize(("keepalive_ns", "recovers"), [(None, False), ((1 * S, 500 * MS), True)])
def test_without_pings_a_client_stays_with_a_silent_peer(keepalive_ns, recovers):
    world = SmallWorld(nodes=2)
    load = told(world, until_ns=10 * S, timeout_ns=200 * MS, multiplexing=Multiplexing(keepalive_ns=keepalive_ns))

    def silence():
        [channel] = load.sources[0].channels
        gone = channel.server_host.index
        world.remove_pod(gone)
        world.rules.backends = [pod.address for i, pod in enumerate(world.pods) if i != gone]

    world.at(2 * S, silence)
    world.run(20 * S)
    requests = rows(load)
    assert set(requests.outcome[requests.start_ns > 4 * S]) == {Outcome.OK if recovers else Outcome.REQUEST_TIMEOUT}


def test_a_connection_that_fails_fails_all_that_waited_for_it():
    world = SmallWorld()
    for pod in world.pods:
        pod.listeners.clear()
    load = told(world, rate=100_000, until_ns=100_000)
    world.run(1 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.REFUSED}
    assert len(set(requests.start_ns + requests.latency_ns)) < len(requests)


def test_requests_draw_what_they_draw_without_sharing():
    plain, shared = SmallWorld(), SmallWorld()
    one = workload(plain, keepalive=True)
    open_loop(one, plain, 200, 2 * S)
    two = told(shared, until_ns=2 * S)
    plain.run(5 * S)
    shared.run(5 * S)
    first, second = rows(one), rows(two)
    order, other = np.argsort(first.sequence), np.argsort(second.sequence)
    assert first.start_ns[order].tolist() == second.start_ns[other].tolist()
    assert first.service_ns[order].tolist() == second.service_ns[other].tolist()


def test_who_waits_behind_a_handshake_moves_up_when_another_gives_up():
    world = SmallWorld(nodes=2)
    world.rules.backends = [world.pods[1].address]
    world.topology.routes["node-0", "node-1"] = world.topology.routes["node-1", "node-0"] = None
    world.at(900 * MS, world.topology.routes.clear)
    load = told(world, rate=200, until_ns=300 * MS, timeout_ns=750 * MS, multiplexing=Multiplexing(max_streams=3))
    world.run(10 * S)
    requests = rows(load)
    assert opened(requests) == 1
    # The second SYN, at 1 s, gets through: who is not out of time by then is answered, though the first three are.
    in_time = requests.start_ns > 260 * MS
    assert np.count_nonzero(in_time) > 3
    assert set(requests.outcome[in_time]) == {Outcome.OK}
    assert Outcome.OK not in set(requests.outcome[requests.start_ns < 250 * MS])


def test_through_a_userspace_proxy_streams_share_both_connections_and_a_drain_loses_none():
    world = SmallWorld(nodes=3, service_ns=50 * MS, workers=100)
    proxy = Captured(world)
    load = told(world, until_ns=3 * S)
    exits = []

    def rollout():
        [busy] = [i for i, server in enumerate(world.servers) if server.busy]
        proxy.endpoints = [endpoint for endpoint in proxy.endpoints if endpoint[0] != world.pods[busy].address]
        world.servers[busy].on_exit = lambda: exits.append(world.clock.now)
        world.servers[busy].terminate()

    world.at(1 * S, rollout)
    world.run(10 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert opened(requests) == proxy.process.dialed == 2
    [gone] = exits
    assert gone < 1 * S + 60 * MS


def test_through_a_userspace_proxy_every_stream_of_a_killed_server_is_reset():
    world = SmallWorld(nodes=2, service_ns=100 * MS, workers=100)
    Captured(world)
    load = told(world, until_ns=1 * S)
    world.at(1 * S, world.servers[1].kill)
    world.run(5 * S)
    requests = rows(load)
    assert 10 < np.count_nonzero(requests.outcome == Outcome.RESET) < 40


def test_a_userspace_proxy_sends_again_what_is_lost_of_every_stream():
    world = SmallWorld(nodes=2, service_ns=20 * MS, workers=100)
    Captured(world)
    world.topology.routes["node-0", "node-1"] = Route(loss=0.2)
    load = told(world, until_ns=2 * S, timeout_ns=30 * S)
    world.run(60 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert np.count_nonzero(requests.flags & Flag.RETRANSMITTED) > 20


def test_however_often_connections_end_a_client_that_balances_asks_for_addresses_twice_a_minute():
    world = SmallWorld(nodes=3, service_ns=1 * MS)
    world.pods[2].listeners.clear()
    asked = []

    def resolve(load, source, on_address):
        asked.append(world.clock.now)
        source.failed = set()
        on_address(source.targets[0])

    load = told(
        world, rate=20, until_ns=100 * S, multiplexing=Multiplexing(max_age_ns=500 * MS), balancing=Balancing("round_robin"),
        port=8080, resolve="interval", resolve_interval_ns=300 * S,
    )
    load.resolve = resolve
    load.sources[0].targets = tuple(pod.address for pod in world.pods)
    load.sources[0].resolved_until_ns = 200 * S
    world.run(200 * S)
    assert opened(rows(load)) > 200
    assert asked[0] < 1 * S
    assert [round((b - a) / S) for a, b in pairwise(asked)] == [30, 30, 30]


# ---- connecting again --------------------------------------------------------------------------------------------------------


def test_until_the_back_off_is_over_requests_fail_at_once_and_then_one_connects():
    world = SmallWorld(nodes=1)
    listening = dict(world.pods[0].listeners)
    world.pods[0].listeners.clear()
    world.at(4_500 * MS, lambda: world.pods[0].listeners.update(listening))
    load = told(world, rate=100, until_ns=8 * S, multiplexing=Multiplexing(reconnecting=Reconnecting(jitter=0.0)))
    world.run(20 * S)
    requests = rows(load)
    tries = np.sort(requests.start_ns[(requests.flags & Flag.NEW_CONNECTION) > 0]) / S
    assert np.diff(tries) == pytest.approx([1.0, 1.6, 2.56], abs=0.05)
    failed = requests.outcome == Outcome.REFUSED
    assert requests.start_ns[~failed].min() / S == tries[3]
    assert failed[requests.start_ns < tries[3] * S].all()
    assert not requests.latency_ns[failed & ((requests.flags & Flag.NEW_CONNECTION) == 0)].any()


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=30), st.floats(0, 1))
def test_a_wait_grows_up_to_its_limit_within_its_jitter_and_begins_anew_after_a_success(index, outcomes, jitter):
    settings = Reconnecting(1 * S, 2.0, jitter, 10 * S)
    backoffs, source = Backoffs(settings, Stream(1, "reconnecting")), source_on(SmallWorld())
    source.index = index
    now = failures = 0
    for succeeds in outcomes:
        assert backoffs.refusal(source, 7, now) is None
        if succeeds:
            backoffs.succeeded(source, 7)
            failures = 0
            continue
        wait_ns = backoffs.failed(source, 7, Outcome.NO_ROUTE, now)
        expected = min(1 * S * 2**failures, 10 * S)
        spread = jitter if failures else 0.0
        assert expected * (1 - spread) - 1 <= wait_ns <= expected * (1 + spread) + 1
        if wait_ns:
            assert backoffs.refusal(source, 7, now + wait_ns - 1) is Outcome.NO_ROUTE
        assert backoffs.refusal(source, 8, now) is None
        now += wait_ns
        failures += 1


def test_who_balances_leaves_an_address_out_as_long_as_it_waits():
    world = SmallWorld(nodes=2)
    listening = dict(world.pods[1].listeners)
    world.pods[1].listeners.clear()
    world.at(2 * S, lambda: world.pods[1].listeners.update(listening))
    load = told(
        world, rate=100, until_ns=6 * S, multiplexing=Multiplexing(reconnecting=Reconnecting(jitter=0.0)), port=8080,
        balancing=Balancing("round_robin"),
    )
    load.sources[0].targets = tuple(pod.address for pod in world.pods)
    world.run(20 * S)
    requests = rows(load)
    assert np.count_nonzero(requests.outcome == Outcome.REFUSED) == 2  # at the start, and a second later
    late = requests.endpoint[requests.start_ns > 3 * S]
    assert abs(np.count_nonzero(late == 0) - np.count_nonzero(late == 1)) <= 1


def test_a_connection_that_is_to_end_is_closed_though_a_request_was_about_to_take_its_last_stream():
    world = SmallWorld(nodes=2, service_ns=5 * MS)
    load = told(world, rate=1000, until_ns=100 * MS, multiplexing=Multiplexing(max_streams=1), timeout_ns=60 * S)
    left = []

    def leave(request, finish_ns):
        """The server's GOAWAY is there before the answer that frees the stream is read."""
        [channel] = load.sources[0].channels
        if load.ended == 10:
            left.append(channel)
            world.clock.after(1, lambda: channel.on_go_away(channel, world.clock.now))

    load.on_end = leave
    world.run(100 * S)
    assert set(rows(load).outcome) == {Outcome.OK}
    assert not left[0].open
    assert load.sources[0].opened == len(load.sources[0].channels) == 1
