"""A pod's queue against queueing theory: the server alone, fed with Poisson arrivals, with nothing around it.

Twelve settings, each of `REPLICATIONS` replications with `ARRIVALS[load]` arrivals, of which the first `WARM_UP` are cut off.
Theory must lie in the 99 % interval of the replications' means (Student's t). That the server is the queue which the theory
speaks of is also exact: every single wait equals the one of the recursion of Lindley, or of Kiefer and Wolfowitz.
"""

import math
from statistics import NormalDist, mean, stdev

import pytest

from svcsim.analysis.queueing import md1, mg1, mmc
from svcsim.datapath.connection import Request
from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.hop import Hop
from svcsim.engine.streams import Stream
from svcsim.workload import arrivals, distributions
from svcsim.workload.server import Server, ServerProfile

REPLICATIONS = 10
ARRIVALS = {0.5: 6_000, 0.8: 12_000, 0.95: 30_000}
WARM_UP = 3_000
STUDENT_T_995_9_DEGREES = 3.2498
MEAN_NS = 1_000_000
WORKERS = 4

MEDIAN_NS, P99_NS = 700_000, 4_000_000
SIGMA = math.log(P99_NS / MEDIAN_NS) / NormalDist().inv_cdf(0.99)
LOGNORMAL_MEAN_NS = MEDIAN_NS * math.exp(SIGMA**2 / 2)
LOGNORMAL_SCV = math.exp(SIGMA**2) - 1

SYSTEMS = {
    "M/M/1": (distributions.exponential(MEAN_NS), MEAN_NS, 1, lambda rate: mmc(rate, MEAN_NS, 1)),
    "M/M/4": (distributions.exponential(MEAN_NS), MEAN_NS, WORKERS, lambda rate: mmc(rate, MEAN_NS, WORKERS)),
    "M/D/1": (distributions.constant(MEAN_NS), MEAN_NS, 1, lambda rate: md1(rate, MEAN_NS)),
    "M/G/1": (
        distributions.lognormal(MEDIAN_NS, P99_NS), LOGNORMAL_MEAN_NS, 1,
        lambda rate: mg1(rate, LOGNORMAL_MEAN_NS, LOGNORMAL_SCV),
    ),
}


class Answers:
    """Stands for the network behind the server: takes the answers."""

    def __init__(self, clock):
        self.fabric = self
        self.environment = clock.environment
        self.waits_ns = []

    def respond(self, request):
        self.waits_ns.append((request.sequence, request.queue_ns))


class Arrivals(Hop):
    """Poisson arrivals straight into a server's socket."""

    __slots__ = ("count", "environment", "following", "row", "rows", "sequence", "server", "step", "times")

    def __init__(self, clock, server, rate_per_s, count, seed):
        self.environment = clock.environment
        self.server = server
        self.following = arrivals.poisson(rate_per_s)
        self.rows = Stream(seed, "queueing-laws").uniforms(2)
        self.count = count
        self.sequence = 0
        self.step = (self.tick,)
        self.times = []
        self.arm(0)

    def arm(self, now):
        self.row = next(self.rows)
        self.callbacks = self.step
        self.environment.schedule(self, PACKET, self.following(now, self.row[0]) - now)

    def tick(self, _):
        now = self.environment._now
        request = Request(None, self.sequence, now, 0, 0, self.row[1], 0.0)
        self.times.append((now, self.row[1]))
        self.server.arrive(request, now)
        self.sequence += 1
        if self.sequence < self.count:
            self.arm(now)


def run(system, load, count, seed):
    """The waits of one replication in order of arrival, and (arrival, service time) of each."""
    service, service_mean_ns, workers, _ = SYSTEMS[system]
    clock = Clock()
    answers = Answers(clock)
    server = Server(ServerProfile(service, workers), None, 0, answers, None)
    source = Arrivals(clock, server, load * workers / service_mean_ns * 1e9, count, seed)
    clock.environment.run()
    assert server.served == count
    waits = [wait_ns for _, wait_ns in sorted(answers.waits_ns)]
    return waits, [(at_ns, service(uniform)) for at_ns, uniform in source.times]


@pytest.mark.parametrize("load", list(ARRIVALS))
@pytest.mark.parametrize("system", list(SYSTEMS))
def test_mean_waits_and_the_chance_of_waiting_are_those_of_theory(system, load):
    _, service_mean_ns, workers, theory = SYSTEMS[system]
    expected = theory(load * workers / service_mean_ns)
    means, chances = [], []
    for replication in range(REPLICATIONS):
        waits, _ = run(system, load, WARM_UP + ARRIVALS[load], seed=replication)
        steady = waits[WARM_UP:]
        means.append(mean(steady))
        chances.append(sum(wait > 0 for wait in steady) / len(steady))
    for measured, exact in ((means, expected.mean_wait), (chances, expected.wait_probability)):
        half_width = STUDENT_T_995_9_DEGREES * stdev(measured) / math.sqrt(REPLICATIONS)
        assert abs(mean(measured) - exact) <= half_width
        assert half_width < 0.45 * exact  # wide enough to be wrong about is not wide enough to be right by


@pytest.mark.parametrize("load", list(ARRIVALS))
@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_wait_is_that_of_the_recursion(system, load):
    waits, customers = run(system, load, 4_000, seed=1)
    free_ns = [0] * SYSTEMS[system][2]
    for (at_ns, service_ns), wait_ns in zip(customers, waits, strict=True):
        free_ns.sort()
        begin_ns = max(at_ns, free_ns[0])
        assert wait_ns == begin_ns - at_ns
        free_ns[0] = begin_ns + service_ns
