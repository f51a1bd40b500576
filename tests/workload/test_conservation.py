"""Whatever goes wrong: each request ends in one outcome, its parts sum, packets balance, and a seed tells one story."""

import gc
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.fabric import FabricSettings
from svcsim.kubeproxy.userspace_proxy import Session
from svcsim.linux.packet import TCP, UDP, Verdict
from svcsim.network.links import Link
from svcsim.results.records import COLUMNS, RecordWriter
from svcsim.units import MS, US, S
from svcsim.workload import distributions
from svcsim.workload.balancing import Balancing
from svcsim.workload.extra_attempts import Budget, Hedging
from svcsim.workload.multiplexed import Multiplexing
from svcsim.workload.outliers import FailurePercentage, OutlierDetection
from svcsim.workload.reconnecting import Reconnecting
from svcsim.workload.server import Server, ServerProfile
from svcsim.workload.settings import Retries
from tests.datapath.directors import Captured, Director
from tests.datapath.small_world import Route, SmallWorld
from tests.workload.bench_of_clients import closed_loop, open_loop, source_on, workload

NODES = 3
TRAFFIC_NS = 2 * S
LONGEST_TIMEOUT_NS = 3 * S


EJECTS = Balancing("random", outliers=OutlierDetection(
    interval_ns=200 * MS, base_ejection_ns=300 * MS, max_ejection=0.5, failure_percentage=FailurePercentage(0.2, 1, 3)
))


class Faults:
    """What can happen to a small world, by name; each acts on node or pod `index`."""

    def __init__(self, world, load, director):
        self.world = world
        self.load = load
        self.director = director

    def kill(self, index):
        self.world.servers[index].kill()

    def restart(self, index):
        old, sandbox = self.world.servers[index], self.world.pods[index]
        old.kill()
        network = self.world.network
        fresh = self.world.servers[index] = Server(old.profile, sandbox, index, network.exchanges, network.handshakes)
        for port in list(sandbox.listeners):
            sandbox.listeners[port] = fresh

    def hang(self, index):
        self.world.servers[index].hang()

    def resume(self, index):
        self.world.servers[index].resume()

    def slow(self, index):
        self.world.servers[index].slowdown = 20.0

    def close_port(self, index):
        self.world.servers[index].close_port()

    def reopen_port(self, index):
        self.world.servers[index].reopen_port()

    def terminate(self, index):
        self.world.servers[index].terminate()

    def remove_sandbox(self, index):
        self.world.servers[index].kill()
        self.world.fabric.remove_namespace(self.world.pods[index])

    def power_off(self, index):
        host = self.world.hosts[index]
        host.up = False
        host.conntrack.flush()
        self.world.servers[index].power_off()
        self.world.fabric.changed()
        if index == 0:
            for source in self.load.sources:
                if source.namespace.host is host:
                    self.load.source_gone(source)

    def power_on(self, index):
        self.world.hosts[index].up = True
        self.world.fabric.changed()

    def partition(self, index):
        self._routes(index, None)

    def heal(self, index):
        self._routes(index, Route())

    def lose(self, index):
        self._routes(index, Route(loss=0.3, jitter_ns=1 * MS))

    def narrow(self, index):
        self._routes(index, Route(links=(Link("narrow", 2_000_000, 20_000),)))

    def _routes(self, index, route):
        names = [host.name for host in self.world.fabric.hosts]
        for name in names:
            if name != f"node-{index}":
                self.world.topology.routes[name, f"node-{index}"] = route
                self.world.topology.routes[f"node-{index}", name] = route
        self.world.fabric.changed()

    def drop_by_rule(self, index):
        self.world.rules.verdict = Verdict.DROP

    def reject_by_rule(self, index):
        self.world.rules.verdict = Verdict.REJECT

    def follow_rules(self, index):
        self.world.rules.verdict = None

    def remove_endpoint(self, index):
        self.world.rules.backends = [pod.address for i, pod in enumerate(self.world.pods) if i != index]

    def change_director(self, index):
        """An IPVS server is deleted, a userspace proxy exits."""
        director = self.director
        if isinstance(director, Captured):
            director.exit()
        elif isinstance(director, Director):
            address = self.world.pods[index].address
            for protocol, service in director.services.items():
                if any(server.address == address for server in service.servers):
                    director.delete(index, protocol)

    def forget_flows(self, index):
        for entry in self.world.hosts[index].conntrack.live(self.world.clock.now):
            self.world.hosts[index].conntrack.delete(entry)

    def source_gone(self, index):
        self.load.source_gone(self.load.sources[index % len(self.load.sources)])


FAULTS = sorted(name for name in vars(Faults) if not name.startswith("_"))

happenings = st.lists(
    st.tuples(st.integers(1, TRAFFIC_NS // MS), st.sampled_from(FAULTS), st.integers(0, NODES - 1)), max_size=12
)
workloads = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from([TCP, UDP]),
        "timeout_ns": st.sampled_from([5 * MS, 300 * MS, LONGEST_TIMEOUT_NS]),
        "connect_timeout_ns": st.sampled_from([None, 2 * MS, 1500 * MS]),
        "keepalive": st.booleans(),
        "pool_limit": st.sampled_from([None, 1, 4]),
        "requests_per_connection": st.sampled_from([None, 1, 5]),
        "server_closes": st.booleans(),
        "waiting_limit": st.sampled_from([None, 0, 3]),
        "retries": st.sampled_from([Retries(), Retries(3, 10 * MS, jitter=0.5), Retries(5, budget=Budget(0.1, 2.0, 1 * S))]),
        "hedging": st.sampled_from([None, None, Hedging(4 * MS), Hedging(quantile=0.5)]),
        "balancing": st.sampled_from([None, None, *map(Balancing, ("round_robin", "random", "least_request")), EJECTS]),
    }
)
worlds = st.fixed_dictionaries(
    {
        "cni": st.sampled_from(["bridge", "routed"]),
        "segment": st.sampled_from(["l2", "l3"]),
        "backlog_ns": st.sampled_from([50 * MS, 20 * US]),
    }
)


class Story:
    """A small world with two clients on a node and one outside, told from its settings, workload and faults."""

    def __init__(
        self, world_settings, load_settings, faults, *, closed=False, conntrack_limit=10_000, seed=1, mode=None
    ):
        self.world = world = SmallWorld(
            NODES, settings=FabricSettings(**world_settings), workers=2, conntrack_limit=conntrack_limit
        )
        for server in world.servers:
            server.profile = ServerProfile(distributions.lognormal(2 * MS, 8 * MS), workers=2, queue_limit=20)
        director = mode(world) if mode is not None else None
        outside = world.outside_host()
        self.sources = [
            source_on(world, name="a"), source_on(world, world.hosts[1].namespace, name="b"), source_on(world, outside.namespace),
        ]
        if load_settings.get("balancing") is not None:
            load_settings = {**load_settings, "port": 8080}
            for source in self.sources:
                source.targets = tuple(pod.address for pod in world.pods)
        self.load = workload(world, RecordWriter(), self.sources, seed, **load_settings)
        if closed:
            closed_loop(self.load, world, 5, 2 * MS, TRAFFIC_NS, seed)
        else:
            open_loop(self.load, world, 100, TRAFFIC_NS, seed)
        acts = Faults(world, self.load, director)
        for at_ms, name, index in faults:
            world.at(at_ms * MS, lambda name=name, index=index: getattr(acts, name)(index))
        attempts = self.load.settings.retries.attempts
        world.run(TRAFFIC_NS + 2000 * S + attempts * LONGEST_TIMEOUT_NS)
        self.requests = self.load._records.columns()

    def check(self):
        assert self.load.started == self.load.ended == len(self.requests)
        self.requests.check_conservation()
        counts = self.world.fabric.counts
        assert counts.sent == counts.delivered + sum(counts.dropped.values())
        for source in self.sources:
            assert not source.waiting
            assert not source.chosen
            assert not source.active
            assert source.opened == len(source.idle) + len(source.channels)
            if self.load.settings.pool_limit is not None:
                assert source.opened <= self.load.settings.pool_limit
        for server in self.world.servers:
            assert not server.queue or not server.is_alive
            assert server.busy == len(server.in_service) + len(server._frozen)

    def columns(self):
        return {name: self.requests.column(name).tolist() for name in COLUMNS}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, workloads, happenings, st.booleans(), st.sampled_from([10_000, 40]), st.sampled_from([None, Director, Captured]))
def test_every_request_ends_in_one_outcome_its_parts_sum_and_packets_balance(
    world_settings, load_settings, faults, closed, conntrack_limit, mode
):
    Story(world_settings, load_settings, faults, closed=closed, conntrack_limit=conntrack_limit, mode=mode).check()


streams = st.builds(
    Multiplexing,
    max_streams=st.sampled_from([1, 2, 100]),
    when_full=st.sampled_from(["wait", "connect"]),
    max_age_ns=st.sampled_from([None, 50 * MS, 600 * MS]),
    grace_ns=st.sampled_from([None, 0, 5 * MS]),
    keepalive_ns=st.sampled_from([None, (100 * MS, 50 * MS)]),
    reconnecting=st.sampled_from([None, Reconnecting(50 * MS)]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, workloads, streams, happenings, st.booleans(), st.sampled_from([None, Director, Captured]))
def test_so_do_requests_that_share_connections(world_settings, load_settings, multiplexing, faults, closed, mode):
    settings = {**load_settings, "protocol": TCP, "keepalive": True, "pool_limit": None, "requests_per_connection": None}
    Story(world_settings, {**settings, "multiplexing": multiplexing}, faults, closed=closed, mode=mode).check()


EVENTFUL = [
    (200, "kill", 0), (300, "lose", 1), (400, "restart", 0), (600, "hang", 2), (900, "resume", 2), (1000, "partition", 1),
    (1200, "heal", 1), (1300, "power_off", 2), (1600, "power_on", 2),
]


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("closed", [False, True], ids=["open loop", "closed loop"])
def test_the_same_seed_tells_the_same_story(protocol, closed):
    load_settings = {"protocol": protocol, "timeout_ns": 300 * MS, "keepalive": True, "retries": Retries(3, 10 * MS, jitter=0.5)}
    one, two = (Story({}, load_settings, EVENTFUL, closed=closed) for _ in range(2))
    one.check()
    assert one.columns() == two.columns()
    assert one.world.fabric.counts == two.world.fabric.counts
    assert next(one.world.clock.environment._eid) == next(two.world.clock.environment._eid)


def test_another_seed_tells_another_one():
    load_settings = {"protocol": TCP, "timeout_ns": 300 * MS}
    assert Story({}, load_settings, EVENTFUL, seed=1).columns() != Story({}, load_settings, EVENTFUL, seed=2).columns()


def test_faults_after_the_traffic_change_nothing():
    load_settings = {"protocol": TCP, "timeout_ns": 300 * MS}
    calm = Story({}, load_settings, [])
    late = Story({}, load_settings, [(at_ms + 10_000, name, index) for at_ms, name, index in EVENTFUL])
    assert calm.columns() == late.columns()
    assert replace(calm.load.settings) == late.load.settings


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("mode", [None, Director, Captured])
def test_requests_and_connections_that_are_over_are_in_nobodys_hands(mode, protocol):
    gc.collect()
    gc.disable()  # as during a run
    try:
        story = Story({}, {"protocol": protocol, "timeout_ns": 300 * MS, "retries": Retries(3, 10 * MS)}, EVENTFUL, mode=mode)
        left = [one for one in gc.get_objects() if isinstance(one, Connection | Request | Session)]
    finally:
        gc.enable()
    held = sum(len(server.connections) for server in story.world.servers)
    assert len(left) <= 2 * held  # a client without power leaves its half to the server
