"""salabim: a component a request, a `Resource` of two a backend; with `yield`, since greenlet is not among its requirements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import salabim

from benchmarks.service_path import ARRIVALS_PER_MS, BACKENDS, LINK_MS, PROXY_MS, SERVICE_MEAN_MS, WORKERS


def run(requests: int, seed: int) -> float:
    """Mean latency in ms of so many requests."""
    salabim.yieldless(False)
    environment = salabim.Environment(random_seed=seed)
    pods = [salabim.Resource(capacity=WORKERS) for _ in range(BACKENDS)]
    outstanding = [0] * BACKENDS
    latencies: list[float] = []
    gaps, services = salabim.Exponential(1 / ARRIVALS_PER_MS), salabim.Exponential(SERVICE_MEAN_MS)

    class Request(salabim.Component):  # type: ignore[misc]
        def process(self) -> Iterator[Any]:
            start = self.env.now()
            yield self.hold(LINK_MS)
            yield self.hold(PROXY_MS)
            pick = min(range(BACKENDS), key=outstanding.__getitem__)
            outstanding[pick] += 1
            yield self.hold(LINK_MS)
            yield self.request(pods[pick])
            yield self.hold(services.sample())
            self.release()
            outstanding[pick] -= 1
            yield self.hold(LINK_MS)
            yield self.hold(LINK_MS)
            latencies.append(self.env.now() - start)

    class Arrivals(salabim.Component):  # type: ignore[misc]
        def process(self) -> Iterator[Any]:
            for _ in range(requests):
                yield self.hold(gaps.sample())
                Request()

    Arrivals()
    environment.run()
    return sum(latencies) / len(latencies)
