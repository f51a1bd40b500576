"""A request's life on the client's side: connections, time-outs, retries, and a record whose parts sum."""

import numpy as np
import pytest

from svcsim.datapath.fabric import FabricSettings
from svcsim.linux.packet import UDP, Verdict
from svcsim.results.records import Outcome
from svcsim.units import MS, US, S
from svcsim.workload.settings import Retries
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import closed_loop, open_loop, outcomes, rows, source_on, workload


def test_every_request_of_an_open_loop_ends_in_one_outcome_and_its_parts_sum():
    world = SmallWorld(workers=1)
    load = workload(world)
    open_loop(load, world, 1500, 2 * S)
    world.run(10 * S)
    requests = rows(load)
    assert len(requests) == load.started == load.ended > 2500
    assert set(requests.outcome) == {Outcome.OK}
    assert requests.queue_ns.max() > 0
    assert requests.connect_ns.min() > 0


def test_kept_connections_are_used_again():
    world = SmallWorld()
    load = workload(world, keepalive=True)
    open_loop(load, world, 500, 2 * S)
    world.run(5 * S)
    requests = rows(load)
    assert np.mean(requests.connect_ns == 0) > 0.95
    assert world.hosts[0].conntrack.peak < 30


def test_a_pool_of_one_connection_makes_requests_wait_for_it():
    world = SmallWorld(service_ns=10 * MS)
    load = workload(world, keepalive=True, pool_limit=1)
    open_loop(load, world, 60, 5 * S)
    world.run(20 * S)
    requests = rows(load)
    assert world.hosts[0].conntrack.peak == 1
    assert requests.wait_ns.max() > 10 * MS


def test_latency_counts_from_the_intended_send_even_when_the_client_could_not_send():
    world = SmallWorld(service_ns=10 * MS)
    load = workload(world, keepalive=True, pool_limit=1, timeout_ns=60 * S)
    open_loop(load, world, 200, 1 * S)
    world.run(100 * S)
    requests = rows(load)
    last = int(np.argmax(requests.start_ns))
    assert requests.latency_ns[last] > 0.5 * S


def test_a_hung_server_times_requests_out_at_their_limit_exactly():
    world = SmallWorld(nodes=1)
    world.servers[0].hang()
    load = workload(world, timeout_ns=300 * MS)
    open_loop(load, world, 100, 1 * S)
    world.run(10 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.REQUEST_TIMEOUT}
    assert set(requests.latency_ns) == {300 * MS}


def test_a_dropped_syn_is_a_connect_time_out_and_a_shorter_connect_limit_applies_first():
    world = SmallWorld()
    world.rules.verdict = Verdict.DROP
    load = workload(world, timeout_ns=2 * S, connect_timeout_ns=250 * MS)
    open_loop(load, world, 50, 1 * S)
    world.run(10 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.CONNECT_TIMEOUT}
    assert set(requests.latency_ns) == {250 * MS}
    assert (requests.connect_ns == 250 * MS).all()


def test_a_retry_may_reach_another_endpoint_and_its_first_attempt_is_a_part():
    world = SmallWorld()
    world.pods[1].listeners.clear()
    load = workload(world, retries=Retries(attempts=8, base_ns=10 * MS))
    open_loop(load, world, 200, 2 * S)
    world.run(60 * S)
    requests = rows(load)
    assert (requests.outcome == Outcome.OK).mean() > 0.97
    again = requests.attempts > 1
    assert again.mean() == pytest.approx(0.5, abs=0.1)
    assert (requests.retry_ns[again] >= 10 * MS).all()
    assert (requests.retry_ns[~again] == 0).all()
    assert set(requests.endpoint[requests.outcome == Outcome.OK]) == {0}


def test_back_off_doubles_and_is_limited():
    world = SmallWorld()
    world.rules.backends = []
    world.hosts[0].icmp.burst = 1000
    load = workload(world, retries=Retries(attempts=5, base_ns=100 * MS, max_ns=300 * MS))
    open_loop(load, world, 5, 1 * S)
    world.run(20 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.REFUSED}
    expected = (100 + 200 + 300 + 300) * MS
    assert np.abs(requests.retry_ns - expected).max() < 1 * MS


def test_a_kill_resets_what_is_under_way_and_later_requests_reconnect():
    world = SmallWorld(nodes=1, service_ns=20 * MS, workers=64)
    load = workload(world, keepalive=True)
    open_loop(load, world, 500, 1 * S)
    world.at(500 * MS, world.servers[0].kill)
    world.run(5 * S)
    counted = outcomes(load)
    assert counted[Outcome.RESET] == pytest.approx(10, abs=8)
    assert counted[Outcome.REFUSED] > 200
    assert counted[Outcome.OK] > 200
    assert load.started == load.ended


def test_arrivals_of_a_dead_client_end_as_client_gone_and_so_does_what_it_had_under_way():
    world = SmallWorld(service_ns=100 * MS, workers=1000)
    source = source_on(world)
    load = workload(world, sources=[source])
    open_loop(load, world, 500, 1 * S)
    world.at(500 * MS, lambda: load.source_gone(source))
    world.run(5 * S)
    requests = rows(load)
    gone = requests.outcome == Outcome.CLIENT_GONE
    assert gone.sum() == pytest.approx(300, abs=60)
    assert (requests.latency_ns[gone & (requests.start_ns < 500 * MS)] > 0).all()


def test_a_server_that_turns_requests_away_is_busy():
    from svcsim.workload import distributions
    from svcsim.workload.server import ServerProfile

    world = SmallWorld(nodes=1)
    world.servers[0].profile = ServerProfile(distributions.constant(100 * MS), workers=1, queue_limit=2)
    load = workload(world)
    open_loop(load, world, 100, 1 * S)
    world.run(5 * S)
    counted = outcomes(load)
    assert counted[Outcome.SERVER_BUSY] > 50
    assert counted[Outcome.OK] >= 10


def test_without_a_local_port_a_request_says_so():
    world = SmallWorld()
    load = workload(world)
    pool = load.sources[0].port_pool(load.sources[0].target, 80)
    for _ in range(60999 - 32768 + 1):
        pool.take(0)
    open_loop(load, world, 100, 100 * MS)
    world.run(1 * S)
    assert set(rows(load).outcome) == {Outcome.NO_LOCAL_PORT}


def test_udp_requests_are_answered_and_lost_ones_time_out():
    world = SmallWorld()
    load = workload(world, protocol=UDP, timeout_ns=500 * MS, keepalive=True)
    open_loop(load, world, 200, 1 * S)
    world.run(5 * S)
    assert set(rows(load).outcome) == {Outcome.OK}
    lost = SmallWorld()
    lost.rules.verdict = Verdict.DROP
    load = workload(lost, protocol=UDP, timeout_ns=500 * MS)
    open_loop(load, lost, 200, 1 * S)
    lost.run(5 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.REQUEST_TIMEOUT}
    assert set(requests.latency_ns) == {500 * MS}


def test_users_of_a_closed_loop_never_overlap_themselves():
    world = SmallWorld(service_ns=10 * MS)
    load = workload(world)
    closed_loop(load, world, users=3, think_ns=20 * MS, until_ns=5 * S)
    world.run(10 * S)
    requests = rows(load)
    starts, ends = requests.start_ns, requests.start_ns + requests.latency_ns
    points = sorted([(at, 1) for at in starts] + [(at, -1) for at in ends], key=lambda point: (point[0], point[1]))
    level = most = 0
    for _, change in points:
        level += change
        most = max(most, level)
    assert most <= 3
    assert len(requests) == pytest.approx(3 * 5000 / 30.5, rel=0.05)


def test_slow_start_makes_long_answers_take_round_trips():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    client.send(connection, answer_bytes=14_000)
    world.run(2 * S)
    client.send(connection, answer_bytes=200_000)
    at_once = 2 * S + 50 * MS  # sooner than a time-out: a connection that rests longer begins anew
    world.run(at_once)
    client.send(connection, answer_bytes=200_000)
    world.run(3 * S)
    times = [at - begin for (_, at, _), begin in zip(client.events[1:], (1 * S, 2 * S, at_once), strict=True)]
    round_trip = 230 * US
    assert times[1] - times[0] == pytest.approx(3 * round_trip, rel=0.2)
    assert times[2] - times[0] < 1.5 * round_trip  # the window has grown


def draws_of(world_settings, retries, extra, service_ns=1 * MS):
    """What a workload drew: intended starts and which pod a first attempt chose, by sequence."""
    world = SmallWorld(settings=world_settings, service_ns=service_ns)
    load = workload(world, retries=retries)
    open_loop(load, world, 300, 2 * S)
    if extra:
        other = workload(world, name="other", index=1)
        open_loop(other, world, 700, 2 * S)
    world.run(30 * S)
    requests = rows(load)
    order = np.argsort(requests.sequence)
    return requests.start_ns[order], requests.endpoint[order]


def test_another_workload_or_retries_change_nobodys_draws():
    base = draws_of(FabricSettings(), Retries(), extra=False)
    for retries, extra in ((Retries(), True), (Retries(attempts=3), False)):
        other = draws_of(FabricSettings(), retries, extra=extra)
        assert (other[0] == base[0]).all()
        assert (other[1] == base[1]).all()
