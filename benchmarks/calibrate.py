"""How fast this process moves bare SimPy timeouts: the unit in which all rates are also given, so that machines compare."""

from __future__ import annotations

import time

import simpy


def bare_timeouts_per_s(events: int = 400_000, rounds: int = 3) -> float:
    """Events per CPU second of one process that yields timeouts; the best of some rounds."""
    best = 0.0
    for _ in range(rounds):
        environment = simpy.Environment()

        def ticking(environment: simpy.Environment = environment):
            for _ in range(events):
                yield environment.timeout(1)

        environment.process(ticking())
        start = time.process_time()
        environment.run()
        best = max(best, events / (time.process_time() - start))
    return best
