"""Clients that balance on their own: which address they choose, what they count for it, and what becomes of the counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.datapath.connection import Request
from svcsim.engine.streams import Stream
from svcsim.linux.packet import UDP
from svcsim.results.records import Flag, Outcome, RecordWriter
from svcsim.units import MS, S
from svcsim.workload.balancing import Balancer, Balancing
from svcsim.workload.multiplexed import Multiplexing
from svcsim.workload.settings import Retries
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload

P2C = Balancing("least_request")
FULL_SCAN = Balancing("least_request", full_scan=True)


class Draws(Stream):
    """A stream that remembers what it gave."""

    def __init__(self):
        super().__init__(1, "workload/load/balancing")
        self.given = []

    def uniform(self, key, ordinal=0):
        self.given.append(super().uniform(key, ordinal))
        return self.given[-1]


def asked(source, sequence, attempt=0):
    request = Request(None, sequence, 0, 100, 100, 0.5, 0.5)
    request.attempt = attempt
    request.tag = source
    return request


def client(addresses):
    source = source_on(SmallWorld())
    source.targets = tuple(range(1, addresses + 1))
    return source


steps = st.lists(st.one_of(st.just("request"), st.integers(0, 50)), max_size=120)


@given(steps, st.integers(1, 8), st.integers(2, 10), st.booleans())
def test_the_chosen_address_has_the_fewest_requests_of_those_that_were_compared(steps, addresses, choice_count, full_scan):
    draws = Draws()
    balancer = Balancer(Balancing("least_request", choice_count, full_scan), draws)
    source = client(addresses)
    under_way = []
    for number, step in enumerate(steps):
        if step != "request":
            if under_way:
                balancer.ended(under_way.pop(step % len(under_way)))
            continue
        before = dict(source.active)
        draws.given.clear()
        request = asked(source, number)
        balancer.choose(source, request, 0)
        drawn = [source.targets[int(uniform * addresses)] for uniform in draws.given]
        compared = source.targets if full_scan else drawn
        fewest = min(before.get(address, 0) for address in compared)
        if full_scan:
            assert before.get(source.target, 0) == fewest
        else:
            assert len(drawn) == choice_count
            assert source.target == next(address for address in drawn if before.get(address, 0) == fewest)
        under_way.append(request)
        assert sum(source.active.values()) == len(source.chosen) == len(under_way)
    for request in under_way:
        balancer.ended(request)
    assert source.active == {}


def test_a_full_scan_takes_each_of_equal_addresses_as_often():
    balancer, source = Balancer(FULL_SCAN, Stream(1, "a")), client(4)
    counts = np.zeros(5, int)
    for number in range(4000):
        request = asked(source, number)
        balancer.choose(source, request, 0)
        counts[source.target] += 1
        balancer.ended(request)
    assert counts[1:].min() > 900


def test_a_draw_is_the_requests_own_whoever_else_chooses():
    def chosen(others):
        balancer, source = Balancer(P2C, Stream(1, "a")), client(5)
        found = []
        for number in range(50):
            if others:
                balancer.choose(client(5), asked(source_on(SmallWorld()), 1000 + number), 0)
            request = asked(source, number)
            balancer.choose(source, request, 0)
            found.append(source.target)
            balancer.ended(request)
        return found

    assert chosen(others=False) == chosen(others=True)


def test_without_load_two_choices_are_the_first_draw_which_is_that_of_random():
    def first(policy):
        balancer, source = Balancer(Balancing(policy), Stream(1, "a")), client(7)
        found = []
        for number in range(100):
            request = asked(source, number)
            balancer.choose(source, request, 0)
            found.append(source.target)
            balancer.ended(request)
        return found

    assert first("least_request") == first("random")


@pytest.mark.parametrize("balancing", [P2C, FULL_SCAN, Balancing("round_robin"), Balancing("random")])
def test_an_address_that_could_not_be_connected_to_is_left_out_unless_there_is_no_other(balancing):
    balancer, source = Balancer(balancing, Stream(1, "a")), client(3)
    source.failed = {2}
    for number in range(100):
        balancer.choose(source, asked(source, number), 0)
        assert source.target != 2
    source.failed = {1, 2, 3}
    balancer.choose(source, asked(source, 1000), 0)
    assert source.target in source.targets


# ---- with traffic ----------------------------------------------------------------------------------------------------

SHARING = [pytest.param({"keepalive": True}, id="pool"), pytest.param({"multiplexing": Multiplexing()}, id="streams")]


def told(balancing, sharing, pods=4, slow=None, rate=400, until_ns=10 * S, seed=1, **settings):
    """The requests of a client that sends to four pods of 20 ms, one of which may be slower."""
    world = SmallWorld(nodes=pods, service_ns=20 * MS, workers=100)
    if slow is not None:
        world.servers[slow].slowdown = 10.0
    source = source_on(world)
    source.targets = tuple(pod.address for pod in world.pods)
    load = workload(world, RecordWriter(), [source], seed, **{"balancing": balancing, "port": 8080, **sharing, **settings})
    open_loop(load, world, rate, until_ns, seed)
    return world, load


def shares(balancing, sharing, **settings):
    world, load = told(balancing, sharing, **settings)
    world.run(60 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert load.sources[0].active == {}
    return (np.bincount(requests.endpoint, minlength=len(world.pods)) / len(requests)).tolist()


@pytest.mark.parametrize("sharing", SHARING)
def test_a_slow_pod_is_sent_less_by_who_counts_and_as_much_by_who_takes_turns(sharing):
    assert shares(Balancing("round_robin"), sharing, slow=1)[1] == pytest.approx(0.25, abs=0.01)
    least = shares(P2C, sharing, slow=1)[1]
    assert 1 / 16 < least < 0.12  # drawn twice in a row once in sixteen
    assert shares(FULL_SCAN, sharing, slow=1)[1] < least


@pytest.mark.parametrize("sharing", SHARING)
def test_equal_pods_get_equal_shares_more_evenly_than_by_chance(sharing):
    by_count, by_chance = (np.std(shares(Balancing(policy), sharing)) for policy in ("least_request", "random"))
    assert by_count < 0.006
    assert by_count < by_chance


@pytest.mark.parametrize("sharing", SHARING)
def test_the_same_seed_chooses_the_same_and_another_workload_changes_nothing(sharing):
    def endpoints(*, disturbed):
        world, load = told(P2C, sharing, pods=6, until_ns=2 * S)
        load.sources[0].targets = load.sources[0].targets[:4]
        if disturbed:
            far = source_on(world, world.hosts[5].namespace)
            far.targets = (world.pods[4].address, world.pods[5].address)
            other = workload(world, RecordWriter(), [far], 1, name="other", index=1, balancing=P2C, port=8080, **sharing)
            open_loop(other, world, 300, 2 * S)
        world.run(20 * S)
        requests = rows(load)
        return requests.endpoint[np.argsort(requests.sequence)].tolist()

    assert endpoints(disturbed=False) == endpoints(disturbed=False) == endpoints(disturbed=True)


def test_a_client_counts_its_own_requests_alone():
    world = SmallWorld(nodes=2, service_ns=20 * MS, workers=100)
    near, far = source_on(world, name="near"), source_on(world, world.hosts[1].namespace, name="far")
    near.targets = far.targets = tuple(pod.address for pod in world.pods)
    load = workload(world, RecordWriter(), [near, far], balancing=P2C, port=8080, keepalive=True)
    open_loop(load, world, 400, 1 * S)
    world.run(500 * MS)
    assert near.active
    assert far.active
    assert sum(near.active.values()) == len(near.chosen)
    assert all(request.tag is near for request in near.chosen)
    assert load.started - load.ended >= len(near.chosen) + len(far.chosen) - 1


def test_a_silent_pod_gets_a_sixteenth_once_requests_pile_up_there():
    world, load = told(P2C, {"keepalive": True}, timeout_ns=1 * S)
    world.servers[2].hang()
    world.run(60 * S)
    requests = rows(load)
    late = requests.start_ns > 2 * S
    assert np.mean(requests.outcome[late] == Outcome.REQUEST_TIMEOUT) == pytest.approx(1 / 16, rel=0.3)


@pytest.mark.parametrize("sharing", SHARING)
def test_a_dead_pod_is_left_out_after_the_first_connection_that_fails(sharing):
    world, load = told(P2C, sharing, timeout_ns=1 * S, retries=Retries(3))
    world.pods[2].listeners.clear()
    world.run(60 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert 1 <= np.count_nonzero(requests.attempts > 1) <= 3


def test_a_full_pool_closes_an_idle_connection_to_reach_another_address():
    world, load = told(Balancing("round_robin"), {"keepalive": True}, rate=5, pool_limit=2)
    world.run(60 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert requests.wait_ns.max() == 0
    assert np.bincount(requests.endpoint).min() >= len(requests) // 4
    assert load.sources[0].opened == 2
    assert np.count_nonzero(requests.flags & Flag.NEW_CONNECTION) > 0.9 * len(requests)


def test_who_waits_for_a_connection_takes_the_first_that_is_free_and_counts_there():
    world, load = told(P2C, {"keepalive": True}, rate=2000, until_ns=100 * MS, pool_limit=3, timeout_ns=30 * S)
    world.run(50 * MS)
    source = load.sources[0]
    assert source.waiting
    assert not set(source.waiting) & set(source.chosen)
    assert sum(source.active.values()) == 3
    world.run(60 * S)
    assert source.active == {}
    assert set(rows(load).outcome) == {Outcome.OK}


def test_who_waits_for_a_stream_stays_with_the_address_that_was_chosen():
    streams = {"multiplexing": Multiplexing(max_streams=1)}
    world, load = told(Balancing("round_robin"), streams, pods=2, slow=1, rate=2000, until_ns=20 * MS, timeout_ns=60 * S)
    world.run(60 * S)
    requests = rows(load)
    order = np.argsort(requests.sequence)
    assert (np.diff(requests.endpoint[order]) != 0).all()


def test_datagrams_are_balanced_as_well():
    world, load = told(P2C, {"keepalive": True, "protocol": UDP}, slow=3)
    world.run(60 * S)
    requests = rows(load)
    assert set(requests.outcome) == {Outcome.OK}
    assert np.mean(requests.endpoint == 3) < 0.12
