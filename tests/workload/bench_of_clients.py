"""A workload on the small world: sources on node 0, a recorder, and the rows that came out."""

import numpy as np

from svcsim.linux.packet import TCP
from svcsim.results.records import RecordWriter
from svcsim.units import S
from svcsim.workload import arrivals, distributions
from svcsim.workload.closedloop import ClosedLoop
from svcsim.workload.multiplexed import MultiplexedWorkload
from svcsim.workload.openloop import OpenLoop
from svcsim.workload.settings import WorkloadSettings
from svcsim.workload.source import Source
from svcsim.workload.workload import Workload
from tests.datapath.small_world import VIP


def source_on(world, namespace=None, name="client"):
    source = Source(name, namespace or world.client_pod, 0)
    source.target = VIP
    source.resolved_until_ns = 1 << 62
    return source


def workload(world, records=None, sources=None, seed=1, multiplexing=None, **settings):
    values = {"name": "load", "index": 0, "protocol": TCP, "port": 80, "timeout_ns": 1 * S} | settings
    parts = (WorkloadSettings(**values), sources or [source_on(world)], world.network, records or RecordWriter(), seed)
    return Workload(*parts) if multiplexing is None else MultiplexedWorkload(*parts, multiplexing=multiplexing)


def open_loop(load, world, rate_per_s, until_ns, seed=1):
    loop = OpenLoop(load, arrivals.poisson(rate_per_s), lambda u: 200, lambda u: 500, world.clock, seed, 0, until_ns)
    loop.start()
    return loop


def closed_loop(load, world, users, think_ns, until_ns, seed=1):
    loop = ClosedLoop(
        load, users, distributions.constant(think_ns), lambda u: 200, lambda u: 500, world.clock, seed, until_ns
    )
    loop.start(0)
    return loop


def rows(load):
    requests = load._records.columns()
    requests.check_conservation()
    return requests


def outcomes(load):
    return np.bincount(rows(load).outcome, minlength=11).tolist()
