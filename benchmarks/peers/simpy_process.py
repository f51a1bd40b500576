"""SimPy as its tutorial teaches it: a process a request, a `Resource` a backend."""

from __future__ import annotations

import random
from collections.abc import Iterator

import simpy

from benchmarks.service_path import ARRIVALS_PER_MS, BACKENDS, LINK_MS, PROXY_MS, SERVICE_MEAN_MS, WORKERS


def run(requests: int, seed: int) -> float:
    """Mean latency in ms of so many requests."""
    draws = random.Random(seed)
    environment = simpy.Environment()
    pods = [simpy.Resource(environment, WORKERS) for _ in range(BACKENDS)]
    outstanding = [0] * BACKENDS
    latencies: list[float] = []

    def request() -> Iterator[simpy.Event]:
        start = environment.now
        yield environment.timeout(LINK_MS)
        yield environment.timeout(PROXY_MS)
        pick = min(range(BACKENDS), key=outstanding.__getitem__)
        outstanding[pick] += 1
        yield environment.timeout(LINK_MS)
        with pods[pick].request() as turn:
            yield turn
            yield environment.timeout(draws.expovariate(1 / SERVICE_MEAN_MS))
        outstanding[pick] -= 1
        yield environment.timeout(LINK_MS)
        yield environment.timeout(LINK_MS)
        latencies.append(environment.now - start)

    def arrivals() -> Iterator[simpy.Event]:
        for _ in range(requests):
            yield environment.timeout(draws.expovariate(ARRIVALS_PER_MS))
            environment.process(request())

    environment.process(arrivals())
    environment.run()
    return sum(latencies) / len(latencies)
