"""From a world that has run to its `Result`: records as columns, counters, names and provenance."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from svcsim.calibration.profile import Profile
from svcsim.datapath.fabric import Fabric
from svcsim.engine.journal import Journal
from svcsim.errors import SimulationError
from svcsim.kube.propagation import Propagation
from svcsim.results.records import Requests
from svcsim.results.result import Counters, Provenance, Result
from svcsim.results.selection import Names
from svcsim.scenario.model import Scenario
from svcsim.units import duration_text
from svcsim.version import __version__

if TYPE_CHECKING:
    from svcsim.world.clients import Clients


def counters_of(
    fabric: Fabric, proxy_cpu_ns: dict[str, int], requests: Requests, events: int, now_ns: int, propagation: Propagation
) -> Counters:
    """What the world counted beside its requests.

    Packets are conserved: SimulationError if what was sent is not what was delivered or dropped.
    """
    counts = fabric.counts
    dropped = dict(sorted(counts.dropped.items()))
    if counts.in_flight:
        raise SimulationError(
            f"packets were lost without a cause: {counts.sent} sent, {counts.delivered} delivered, "
            f"{sum(dropped.values())} dropped"
        )
    nodes = [host for host in fabric.hosts if host.is_node]
    return Counters(
        packets_sent=counts.sent,
        packets_delivered=counts.delivered,
        packets_dropped=dropped,
        proxy_cpu_ns={host.name: proxy_cpu_ns.get(host.name, 0) + host.proxy_ns for host in nodes},
        kernel_cpu_ns={host.name: host.proxy_ns for host in nodes},
        rules_examined=int(requests.rules.sum()),
        connections=int((requests.flags & 1).sum()),
        events=events,
        conntrack_peak={host.name: host.conntrack.peak for host in nodes},
        api_writes={resource: sent.writes for resource, sent in propagation.sent.items()},
        api_bytes={resource: sent.bytes for resource, sent in propagation.sent.items()},
        api_largest_bytes={resource: sent.largest_bytes for resource, sent in propagation.sent.items()},
        simulated_ns=now_ns,
    )


def names_of(
    scenario: Scenario, fabric: Fabric, endpoints: Iterable[str], homes: Iterable[int], behind: dict[str, tuple[int, ...]]
) -> Names:
    """What the indices in the records mean."""
    return Names(
        workloads=tuple(workload.name for workload in scenario.workloads),
        endpoints=tuple(endpoints),
        nodes=tuple(host.name for host in fabric.hosts),
        endpoints_of=tuple(behind.get(workload.name, ()) for workload in scenario.workloads),
        homes=tuple(homes),
    )


def provenance_of(scenario: Scenario, resolved: str, seed: int, label: str, profile: Profile, mode_key: str) -> Provenance:
    """What it takes to get the same bytes again."""
    bases = profile.bases(mode_key)
    measured = sum(count for basis, count in bases.items() if str(basis) == "measured")
    return Provenance(
        scenario=scenario.name,
        scenario_hash=hashlib.blake2b(resolved.encode(), digest_size=16).hexdigest(),
        seed=seed,
        profile=profile.name,
        unmeasured_costs=sum(bases.values()) - measured,
        svcsim=__version__,
        python=platform.python_version(),
        numpy=np.__version__,
        replay=f"svcsim run {scenario.origin.file or 'SCENARIO'} --only {shlex.quote(label)} --seed {seed} --replications 1",
    )


def result_of(
    scenario: Scenario, label: str, replication: int, requests: Requests, journal: Journal, names: Names, counters: Counters,
    provenance: Provenance,
) -> Result:
    """The result of a run, its records checked: parts sum to latencies, and each request ended once."""
    requests.check_conservation()
    return Result(
        label=label,
        requests=requests,
        journal=journal,
        names=names,
        duration_ns=scenario.run.duration_ns,
        warmup_ns=scenario.run.measured_from_ns,
        replication=replication,
        counters=counters,
        provenance=provenance,
    )


def unended(clients: Clients, now_ns: int) -> SimulationError:
    """The law that each request ends was broken."""
    return SimulationError(
        f"{clients.outstanding} requests had not ended at {duration_text(now_ns)}, long after the last one was sent"
    )
