"""Made-up results that look like those of a failover run, for tests and for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from svcsim.engine.journal import Happening, Journal
from svcsim.results.records import COLUMNS, PARTS, ROW_DTYPE, Flag, Outcome, Requests
from svcsim.results.result import Counters, Provenance, Result
from svcsim.results.selection import Names
from svcsim.units import MS, S

MODES = ("userspace", "iptables", "ipvs/rr", "ipvs/lc", "nftables")


@dataclass(frozen=True)
class Shape:
    """How one mode behaves: base latency and what a fault costs."""

    median_ms: float = 2.4
    sigma: float = 0.55
    overhead_ms: float = 0.1
    bad_share: float = 1 / 6
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    redial: bool = False


SHAPES = {
    "userspace": Shape(overhead_ms=0.9, redial=True),
    "iptables": Shape(overhead_ms=0.12, weights=(1.0, 1.1, 0.9, 1.05, 0.95, 1.0)),
    "ipvs/rr": Shape(overhead_ms=0.07),
    "ipvs/lc": Shape(overhead_ms=0.07, sigma=0.48),
    "nftables": Shape(overhead_ms=0.06, weights=(0.9, 1.05, 1.0, 1.0, 1.02, 1.03)),
}


@dataclass(frozen=True)
class Fault:
    """A fault with what the control plane did about it, in seconds after `at_s`."""

    text: str
    at_s: float
    pods: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    lasts_s: float | None = None
    detected_s: float | None = 1.0
    endpoints_s: float | None = 1.1
    synced_s: tuple[float, ...] = (1.2, 1.5, 2.1)
    outcomes: tuple[tuple[Outcome, float], ...] = ((Outcome.REFUSED, 0.8), (Outcome.CONNECT_TIMEOUT, 0.2))


KILL = Fault("deployment/web[1] killed", 30, pods=("default/web-1",), outcomes=((Outcome.REFUSED, 0.85),
             (Outcome.RESET, 0.05), (Outcome.CONNECT_TIMEOUT, 0.1)))
DOWN = Fault("node/worker-2 down", 60, nodes=("worker-2",), pods=("default/web-2", "default/web-5"),
             lasts_s=90, detected_s=40.6, endpoints_s=40.8, synced_s=(40.9, 41.3),
             outcomes=((Outcome.CONNECT_TIMEOUT, 0.96), (Outcome.REQUEST_TIMEOUT, 0.04)))
FAILOVER = (KILL, DOWN)


def journal(faults: Sequence[Fault], shift_s: float = 0.0) -> Journal:
    """What the control plane wrote down."""
    notes: list[tuple[float, Happening, str, dict[str, object]]] = []
    for index, fault in enumerate(faults):
        notes.append((fault.at_s, Happening.FAULT_BEGIN, fault.text,
                      {"index": index, "pods": fault.pods, "nodes": fault.nodes}))
        if fault.lasts_s is not None:
            notes.append((fault.at_s + fault.lasts_s, Happening.FAULT_END, fault.text, {"index": index}))
        if fault.detected_s is not None:
            kind = Happening.NODE_NOT_READY if fault.nodes else Happening.POD_NOT_READY
            notes.append((fault.at_s + fault.detected_s + shift_s, kind, (fault.nodes or fault.pods)[0], {}))
        if fault.endpoints_s is not None:
            at_s = fault.at_s + fault.endpoints_s + shift_s
            notes.append((at_s, Happening.ENDPOINTS_UPDATED, "default/web",
                          {"object": "EndpointSlice", "ready": 5, "total": 6}))
            for number, synced in enumerate(fault.synced_s):
                at_s = fault.at_s + synced + shift_s
                notes.append((at_s, Happening.PROXY_SYNCED, f"worker-{number}",
                              {"services": ("default/web",), "began_ns": round((at_s - 0.05) * S),
                               "rules": 40, "kind": "partial"}))
    written = Journal()
    for at_s, kind, subject, detail in sorted(notes, key=lambda note: note[0]):
        written.add(round(at_s * S), kind, subject, **detail)  # type: ignore[arg-type]
    return written


def result(
    label: str = "iptables",
    *,
    faults: Sequence[Fault] = FAILOVER,
    duration_s: int = 210,
    rate_per_s: int = 400,
    seed: int = 1,
    replication: int = 0,
    shape: Shape | None = None,
    endpoints: Sequence[str] | None = None,
) -> Result:
    """A run of one mode in which the given faults cost what they would."""
    behaviour = shape or SHAPES.get(label, Shape())
    rng = np.random.default_rng((seed, replication))
    weights = np.array(behaviour.weights)
    count = duration_s * rate_per_s
    start = np.sort(rng.integers(0, duration_s * S, count))
    endpoint = rng.choice(len(weights), count, p=weights / weights.sum())
    service = rng.lognormal(np.log(behaviour.median_ms), behaviour.sigma, count) * MS
    parts = {part: np.zeros(count, np.int64) for part in PARTS}
    parts["service_ns"] = service.astype(np.int64)
    parts["queue_ns"] = np.where(rng.random(count) < 0.08, rng.exponential(3 * MS, count), 0).astype(np.int64)
    overhead = behaviour.overhead_ms * MS * rng.gamma(8, 1 / 8, count)
    for part, share in (("connect_ns", 0.5), ("request_ns", 0.2), ("response_ns", 0.3)):
        parts[part] = (overhead * share).astype(np.int64)
    outcome = np.zeros(count, np.int64)
    flags = np.full(count, int(Flag.NEW_CONNECTION))
    for fault in faults:
        last_s = max(fault.synced_s) if fault.endpoints_s is not None else (fault.lasts_s or 5.0)
        hit = (start >= fault.at_s * S) & (start < (fault.at_s + last_s) * S)
        hit &= rng.random(count) < behaviour.bad_share * max(1, len(fault.pods))
        if behaviour.redial:
            flags[hit] |= Flag.REDIALED
            parts["connect_ns"][hit] += 252 * MS
            hit &= rng.random(count) < 0.02
        kinds, shares = zip(*fault.outcomes, strict=True)
        drawn = rng.choice([int(kind) for kind in kinds], count, p=np.array(shares) / sum(shares))
        outcome[hit] = drawn[hit]
    failed = outcome != Outcome.OK
    for part in PARTS:
        parts[part][failed] = 0
    timed_out = np.isin(outcome, (Outcome.CONNECT_TIMEOUT, Outcome.REQUEST_TIMEOUT))
    waited = np.where(timed_out, 1000 * MS, MS // 4)
    parts["connect_ns"][failed] = waited[failed]
    columns = dict.fromkeys(COLUMNS, np.zeros(count, np.int64)) | parts
    columns |= {
        "start_ns": start, "latency_ns": sum(parts.values(), np.zeros(count, np.int64)), "outcome": outcome,
        "endpoint": np.where(outcome == Outcome.OK, endpoint, -1), "sequence": np.arange(count),
        "flags": flags, "attempts": np.ones(count), "client_node": np.zeros(count), "server_node": endpoint % 3,
    }
    names = tuple(endpoints or (f"default/web-{number}" for number in range(len(weights))))
    nodes = ("worker-0", "worker-1", "worker-2")
    return Result(
        label=label,
        requests=Requests({name: columns[name].astype(ROW_DTYPE[name]) for name in COLUMNS}),
        journal=journal(faults, shift_s=0.05 * replication),
        names=Names(("web-load",), names, nodes, (tuple(range(len(names))),)),
        duration_ns=duration_s * S,
        warmup_ns=5 * S,
        replication=replication,
        counters=Counters(
            packets_sent=count * 9, packets_delivered=count * 9 - 3, packets_dropped={"no host": 3},
            proxy_cpu_ns=dict.fromkeys(nodes, 9 * S if label == "userspace" else 180 * MS),
            kernel_cpu_ns=dict.fromkeys(nodes, 2 * S), events=count * 9,
            conntrack_peak=dict.fromkeys(nodes, 900), simulated_ns=(duration_s + 1) * S,
        ),
        provenance=Provenance(
            scenario="failover", scenario_hash="00ff", seed=seed + replication, profile="linux-6.18-measured",
            unmeasured_costs=4, svcsim="0.1.0", python="3.11.7", numpy="2.4.6",
            replay=f"svcsim run failover.yaml --mode {label} --seed {seed + replication}",
        ),
    )


def failover(modes: Sequence[str] = MODES, replications: int = 1, **options: object) -> list[Result]:
    """The failover run in several modes."""
    return [
        result(mode, replication=replication, **options)  # type: ignore[arg-type]
        for mode in modes
        for replication in range(replications)
    ]


def relabelled(one: Result, label: str) -> Result:
    """The same run under another name."""
    return replace(one, label=label)
