"""ns.py: its generator, wires and sink; the balancer and the two-worker queue are elements of one's own, as ns.py has neither.

The generator stamps a packet before it waits for the packet's turn, so a small element stamps it again when it leaves.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import simpy
from ns.packet.dist_generator import DistPacketGenerator
from ns.packet.sink import PacketSink
from ns.port.wire import Wire

from benchmarks.service_path import ARRIVALS_PER_MS, BACKENDS, LINK_MS, PROXY_MS, SERVICE_MEAN_MS, WORKERS


class Stamp:
    """Sets a packet's time to when it enters the network."""

    def __init__(self, environment: simpy.Environment, out: Any) -> None:
        self._environment = environment
        self._out = out

    def put(self, packet: Any) -> None:
        packet.time = self._environment.now
        self._out.put(packet)


class LeastConnections:
    """Passes a packet to the wire of the pod with the fewest outstanding ones."""

    def __init__(self, wires: list[Any]) -> None:
        self._wires = wires
        self.outstanding = [0] * len(wires)

    def put(self, packet: Any) -> None:
        pick = min(range(BACKENDS), key=self.outstanding.__getitem__)
        self.outstanding[pick] += 1
        self._wires[pick].put(packet)


class Pod:
    """Two workers on one FIFO queue."""

    def __init__(self, environment: simpy.Environment, index: int, draws: random.Random, out: Any) -> None:
        self._environment = environment
        self._index = index
        self._draws = draws
        self._queue = simpy.Store(environment)
        self._out = out
        self.balancer: LeastConnections
        for _ in range(WORKERS):
            environment.process(self._work())

    def put(self, packet: Any) -> None:
        self._queue.put(packet)

    def _work(self) -> Iterator[simpy.Event]:
        while True:
            packet = yield self._queue.get()
            yield self._environment.timeout(self._draws.expovariate(1 / SERVICE_MEAN_MS))
            self.balancer.outstanding[self._index] -= 1
            self._out.put(packet)


def run(requests: int, seed: int) -> float:
    """Mean latency in ms of so many requests."""
    draws = random.Random(seed)
    environment = simpy.Environment()

    def wire(delay_ms: float, index: int, out: Any) -> Any:
        made = Wire(environment, lambda: delay_ms, wire_id=index)
        made.out = out
        return made

    sink = PacketSink(environment)
    back = wire(LINK_MS, 0, wire(LINK_MS, 1, sink))
    pods = [Pod(environment, i, draws, back) for i in range(BACKENDS)]
    balancer = LeastConnections([wire(LINK_MS, 10 + i, pod) for i, pod in enumerate(pods)])
    for pod in pods:
        pod.balancer = balancer
    generator = DistPacketGenerator(
        environment, "clients", lambda: draws.expovariate(ARRIVALS_PER_MS), lambda: 1.0, size=float(requests)
    )
    generator.out = Stamp(environment, wire(LINK_MS, 2, wire(PROXY_MS, 3, balancer)))
    environment.run()
    waits = [wait for flow in sink.waits.values() for wait in flow]
    if len(waits) != requests:
        raise RuntimeError(f"{len(waits)} of {requests} packets arrived")
    return sum(waits) / len(waits)
