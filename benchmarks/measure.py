"""One measurement in a process of its own: `python -m benchmarks.measure CASE` prints a line of JSON.

CPU seconds are `time.process_time` of building, running and collecting; what was imported before is not counted. Each
measurement carries the rate of bare SimPy timeouts in the same process (`benchmarks.calibrate`).
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from benchmarks.calibrate import bare_timeouts_per_s

SCENARIOS = Path(__file__).parent / "scenarios"
Measurement = dict[str, float]

ONCE_BUILT = {"10 Services, 1 change/s": "services-10", "20,000 Services, 1 change/s": "services-20000"}
"""Cases of which the rate without building counts."""

PEERS = {
    "simpy, process a request": ("simpy_process", 60_000),
    "ciw": ("ciw_network", 15_000),
    "salabim": ("salabim_components", 10_000),
    "ns.py": ("nspy_wires", 30_000),
}
SIMULATED = {
    "keep-alive": "keepalive",
    "new connection": "new-connections",
    "new connection, ipvs/lc": "ipvs",
    "new connection, nftables": "nftables",
    "keep-alive, userspace": "userspace",
    "svcsim, all of it": "queueing-path",
}


def peer(module: str, requests: int) -> Measurement:
    """A peer's model of the queueing path."""
    model = importlib.import_module(f"benchmarks.peers.{module}")
    rate = bare_timeouts_per_s()
    start = time.process_time()
    mean_ms = model.run(requests, 1)
    return _rates(requests, time.process_time() - start, rate) | {"mean_ms": mean_ms}


def simulated(scenario: str) -> Measurement:
    """A scenario through the whole of svcsim."""
    import svcsim

    rate = bare_timeouts_per_s()
    loaded = svcsim.load(SCENARIOS / f"{scenario}.yaml")
    start = time.process_time()
    result = svcsim.run_one(loaded)
    used = time.process_time() - start
    requests = len(result.requests.latency_ns)
    return _rates(requests, used, rate) | {
        "events_per_request": result.counters.events / requests,
        "success": result.success,
        "mean_ms": result.latency.mean / 1e6,
        "p99_ms": result.latency.p99 / 1e6,
        "conntrack_peak": float(sum(result.counters.conntrack_peak.values())),
    }


def once_built(scenario: str) -> Measurement:
    """The rate of a running world: a long run less a short one, each with the same building."""
    import svcsim

    rate = bare_timeouts_per_s()

    def run(duration: str) -> tuple[int, float]:
        loaded = svcsim.load(SCENARIOS / f"{scenario}.yaml", {"run.duration": duration})
        gc.collect()
        start = time.process_time()
        result = svcsim.run_one(loaded)
        return len(result.requests.latency_ns), time.process_time() - start

    few, short = run("4s")
    many, long = run("33s")
    return _rates(many - few, long - short, rate) | {"build_seconds": short - few * (long - short) / (many - few)}


def memory_of_records() -> Measurement:
    """Resident growth per million requests on kept-alive connections: a longer run less a shorter one, each after the other."""
    import svcsim

    def grown(duration: str) -> tuple[int, int]:
        loaded = svcsim.load(SCENARIOS / "keepalive.yaml", {"run.duration": duration})
        result = svcsim.run_one(loaded)
        return len(result.requests.latency_ns), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    few, small = grown("2s")
    many, large = grown("60s")
    return {"megabytes_per_million": (large - small) / (many - few)}


def memory_of_conntrack(entries: int = 200_000) -> Measurement:
    """Python memory of one live conntrack entry, its keys and its place in the expiry queue."""
    from svcsim.linux.conntrack import Conntrack, Entry, State, Timeouts, flow_key

    table = Conntrack(entries * 2, Timeouts())
    # Addresses belong to pods and ports to connections: entries only refer to them.
    sources = [0x0AF40000 + i for i in range(entries // 28_000 + 1)]
    backends = [0x0AF40101 + i for i in range(6)]
    ports = [32_768 + i % 28_000 for i in range(entries)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i, port in enumerate(ports):
        source = sources[i // 28_000]
        key = flow_key(6, source, port, 0x0A600001, 80)
        entry = Entry(key, State.SYN_SENT, backends[i % 6], 8080, source, port, i * 1000)
        table.insert(entry, i * 1000)
        table.move(entry, State.ESTABLISHED, i * 1000)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"bytes_per_entry": used / entries}


def build() -> Measurement:
    """CPU seconds to read and build 10,000 Services on 100 nodes and to run them for ten milliseconds."""
    import svcsim

    start = time.process_time()
    loaded = svcsim.load(SCENARIOS / "build.yaml")
    read = time.process_time() - start
    svcsim.run_one(loaded)
    return {
        "seconds": time.process_time() - start, "read_seconds": read,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _rates(requests: int, seconds: float, bare: float) -> Measurement:
    return {"requests": float(requests), "seconds": seconds, "per_s": requests / seconds, "of_bare": requests / seconds / bare,
            "bare_per_s": bare}


def case(name: str) -> Callable[[], Measurement]:
    """The measurement with this name."""
    if name in PEERS:
        return lambda: peer(*PEERS[name])
    if name in SIMULATED:
        return lambda: simulated(SIMULATED[name])
    if name in ONCE_BUILT:
        return lambda: once_built(ONCE_BUILT[name])
    return {"records": memory_of_records, "conntrack": memory_of_conntrack, "build": build}[name]


if __name__ == "__main__":
    print(json.dumps(case(sys.argv[1])()))
