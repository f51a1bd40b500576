"""How many events the clock handles for a request: exact, without noise, timers included."""

import pytest

from svcsim.engine.timers import TimerFifo
from svcsim.units import MS, S
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload

KEPT_ALIVE_LIMIT = 6
NEW_CONNECTION_LIMIT = 10
DURATION_NS = 20 * S


class Run:
    """Steady traffic from node 0 to one backend: what was scheduled, and for how many requests and connections."""

    def __init__(self, monkeypatch, backend, **settings):
        self.armed = 0
        arm = TimerFifo._arm

        def counted(timers, deadline_ns):
            self.armed += 1
            arm(timers, deadline_ns)

        monkeypatch.setattr(TimerFifo, "_arm", counted)
        world = SmallWorld(conntrack_limit=100_000)
        world.rules.backends = [world.pods[backend].address]
        load = workload(world, sources=[source_on(world)], **settings)
        open_loop(load, world, 500, DURATION_NS)
        world.run(DURATION_NS + 5 * S)
        self.events = world.clock.events_scheduled
        requests = rows(load)
        assert not requests.outcome.any()
        self.requests = len(requests)
        self.connections = int((requests.connect_ns > 0).sum())


@pytest.mark.parametrize("keepalive", [True, False], ids=["kept alive", "new connections"])
@pytest.mark.parametrize(("backend", "exchange", "handshake"), [(1, 5, 4), (0, 3, 2)], ids=["between nodes", "on one node"])
def test_each_request_each_connection_and_each_armed_timer_takes_its_events_and_nothing_else_does(
    monkeypatch, backend, exchange, handshake, keepalive
):
    run = Run(monkeypatch, backend, keepalive=keepalive)
    assert (run.connections == run.requests) != keepalive
    assert run.events == exchange * run.requests + handshake * run.connections + run.armed


@pytest.mark.parametrize(("keepalive", "limit"), [(True, KEPT_ALIVE_LIMIT), (False, NEW_CONNECTION_LIMIT)])
def test_the_budget_of_a_request_between_nodes_holds(monkeypatch, keepalive, limit):
    run = Run(monkeypatch, 1, keepalive=keepalive)
    assert run.requests > 9_000
    assert run.events <= limit * run.requests


@pytest.mark.parametrize("timeout_ns", [100 * MS, 1 * S, 100 * S])
def test_time_outs_take_an_event_a_duration_however_many_requests_there_are(monkeypatch, timeout_ns):
    run = Run(monkeypatch, 1, keepalive=True, timeout_ns=timeout_ns)
    assert 1 <= run.armed <= (DURATION_NS + 5 * S) // timeout_ns + 1
