"""Attempts beyond the first: what a budget allows, and races between an attempt and its hedge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, S
from svcsim.workload.extra_attempts import SLICES, Budget, Hedging, Latencies, RetryBudget
from svcsim.workload.multiplexed import Multiplexing
from svcsim.workload.server import ServerProfile
from svcsim.workload.settings import Retries
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import closed_loop, open_loop, rows, workload

# ---- the budget ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 400 * MS), st.booleans()), max_size=200),
    st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([0.0, 0.5, 3.0]),
)
def test_within_its_time_a_budget_spends_a_share_of_the_requests_and_its_minimum(steps, share, minimum):
    ttl_ns = 2 * S
    budget = RetryBudget(Budget(share, minimum, ttl_ns))
    now = 0
    sent, retried = [], []
    for gap_ns, is_request in steps:
        now += gap_ns
        since = (now // (ttl_ns // SLICES) - SLICES + 1) * (ttl_ns // SLICES)
        if is_request:
            budget.deposit(now)
            sent.append(now)
        else:
            owed = share * sum(at >= since for at in sent) + minimum * ttl_ns / S - sum(at >= since for at in retried)
            assert budget.withdraw(now) == (owed >= 1 - 1e-9)
            if owed >= 1 - 1e-9:
                retried.append(now)


def told(world, rate=200, until_ns=10 * S, run_ns=30 * S, **settings):
    load = workload(world, keepalive=True, **settings)
    open_loop(load, world, rate, until_ns)
    world.run(run_ns)
    return rows(load)


@pytest.mark.parametrize(
    ("budget", "least", "most"), [(None, 2.99, 3.0), (Budget(0.2, 0.0), 1.1, 1.21), (Budget(0.0, 10.0), 1.04, 1.16)]
)
def test_a_budget_bounds_what_a_failing_server_meets(budget, least, most):
    world = SmallWorld()
    for pod in world.pods:
        pod.listeners.clear()
    requests = told(world, retries=Retries(3, budget=budget))
    assert set(requests.outcome) == {Outcome.REFUSED}
    assert least < requests.attempts.mean() <= most
    denied = (requests.flags & Flag.RETRY_DENIED) > 0
    assert set(requests.attempts[~denied]) == {3} or budget is not None
    assert (denied == (requests.attempts < 3)).all()


# ---- hedges --------------------------------------------------------------------------------------------------------------


def slow_and_fast(slowdown=100.0, **settings):
    """A world of two pods, one of them slow, to which each request has a connection of its own."""
    world = SmallWorld(workers=1000)
    world.servers[0].slowdown = slowdown
    load = workload(world, **settings)
    open_loop(load, world, 200, 2 * S)
    world.run(20 * S)
    return world, rows(load)


def test_a_hedge_is_sent_when_an_attempt_has_taken_so_long():
    _, requests = slow_and_fast(hedging=Hedging(10 * MS))
    hedged = (requests.flags & Flag.HEDGED) > 0
    assert 0.3 < hedged.mean() < 0.7
    assert (requests.attempts == np.where(hedged, 2, 1)).all()
    assert (requests.latency_ns[~hedged] < 10 * MS).all()
    won = hedged & (requests.endpoint == 1)
    assert (requests.retry_ns[won] == 10 * MS).all()
    assert requests.latency_ns[won].max() < 13 * MS
    assert (requests.retry_ns[hedged & (requests.endpoint == 0)] <= 10 * MS).all()


def test_the_first_answer_wins_and_the_other_attempt_is_cancelled_but_served():
    world, requests = slow_and_fast(hedging=Hedging(10 * MS))
    assert set(requests.outcome) == {Outcome.OK}
    assert sum(server.served for server in world.servers) == requests.attempts.sum()
    assert not any(server.connections for server in world.servers)


def test_a_hedge_at_a_quantile_waits_for_a_hundred_answers_and_then_costs_its_share():
    world = SmallWorld(workers=1000)
    load = workload(world, keepalive=True, hedging=Hedging(quantile=0.9))
    for server in world.servers:
        server.profile = ServerProfile(lambda u: round(u * 10 * MS), 1000)
    closed_loop(load, world, 4, 1 * MS, 20 * S)
    world.run(40 * S)
    requests = rows(load)
    order = np.argsort(requests.start_ns + requests.latency_ns)
    hedged = ((requests.flags & Flag.HEDGED) > 0)[order]
    assert not hedged[:90].any()
    assert hedged.mean() == pytest.approx(0.1, abs=0.03)


@given(st.lists(st.integers(0, 50), max_size=1500), st.floats(0, 1))
def test_quantiles_are_of_the_last_thousand(latencies, share):
    window = Latencies()
    for latency in latencies:
        window.add(latency)
    last = sorted(latencies[-1000:])
    assert window.quantile(share) == (last[min(len(last) - 1, int(share * len(last)))] if len(last) >= 100 else None)


def test_a_failure_beside_another_attempt_is_not_the_requests():
    world = SmallWorld(workers=1000)
    world.servers[0].hang()
    world.at(1 * S, world.servers[0].kill)
    load = workload(world, hedging=Hedging(300 * MS), timeout_ns=5 * S)
    open_loop(load, world, 100, 990 * MS)
    world.run(20 * S)
    requests = rows(load)
    early = requests.start_ns < 600 * MS
    both = early & (requests.attempts == 2) & (requests.endpoint == 1)
    assert both.any()
    assert set(requests.outcome[early & (requests.endpoint == 1)]) == {Outcome.OK}
    assert Outcome.RESET in set(requests.outcome)  # of those whose hedge went to the same pod


def test_hedges_take_from_the_budget():
    _, requests = slow_and_fast(hedging=Hedging(10 * MS), retries=Retries(budget=Budget(0.1, 0.0)))
    assert 1.05 < requests.attempts.mean() <= 1.1


def test_over_a_multiplexed_connection_a_hedge_goes_to_the_same_pod_and_helps_nothing():
    world = SmallWorld(nodes=1, workers=1000, service_ns=50 * MS)
    requests = told(world, multiplexing=Multiplexing(), hedging=Hedging(10 * MS), until_ns=1 * S)
    assert (requests.attempts == 2).all()
    assert requests.latency_ns.min() > 50 * MS
    assert world.servers[0].served == 2 * len(requests)


@pytest.mark.parametrize("settings", [
    {"hedging": Hedging(3 * MS)}, {"hedging": Hedging(quantile=0.5)}, {"retries": Retries(3, 5 * MS, budget=Budget())},
])
def test_hedges_and_budgets_move_no_draw_of_first_attempts(settings):
    def first_attempts(**more):
        world = SmallWorld(workers=1000)
        for server in world.servers:
            server.profile = ServerProfile(lambda u: round(u * 10 * MS), 1000)
        load = workload(world, **more)
        open_loop(load, world, 200, 2 * S)
        world.run(20 * S)
        requests = rows(load)
        return {
            int(sequence): (int(start), int(service), int(endpoint), int(attempts))
            for sequence, start, service, endpoint, attempts in zip(
                requests.sequence, requests.start_ns, requests.service_ns, requests.endpoint, requests.attempts, strict=True
            )
        }

    plain, other = first_attempts(), first_attempts(**settings)
    assert {key: value[0] for key, value in plain.items()} == {key: value[0] for key, value in other.items()}
    alone = [key for key, value in other.items() if value[3] == 1]
    assert len(alone) > 100
    assert all(plain[key] == other[key] for key in alone)
