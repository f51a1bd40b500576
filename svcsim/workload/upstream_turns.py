"""Which endpoint of a backend has the next request: whose turn it is, who was faster, or whom a hash of the request belongs to.

Source: kubernetes/ingress-nginx rootfs/etc/nginx/lua/balancer/{round_robin,ewma,chash}.lua; a worker starts at random (resty).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svcsim.datapath.host import Namespace
from svcsim.engine.clock import Clock
from svcsim.engine.streams import Stream, splitmix64, stream_seed
from svcsim.kube.ingress_rules import Backend
from svcsim.workload.hash_ring import HashRing
from svcsim.workload.peak_ewma import MovingAverages

Upstream = tuple[int, int]
"""Address and port of an endpoint."""


@dataclass(slots=True)
class _Turn:
    """The endpoints of a backend, and whose turn it is."""

    endpoints: tuple[Upstream, ...]
    index: int
    changes: int
    averages: MovingAverages[Upstream] | None
    ring: HashRing | None = None

    def of(self, hashed: int) -> Upstream:
        """The endpoint of a hash, the same one as long as it is there."""
        if self.ring is None:
            self.ring = HashRing(tuple(splitmix64(address ^ port << 32) for address, port in self.endpoints))
        return self.endpoints[self.ring.find(hashed)]

    def faster(self, bits: int, now_ns: int) -> Upstream:
        """The faster of two endpoints that these bits choose."""
        endpoints, averages = self.endpoints, self.averages
        one = bits % len(endpoints)
        if averages is None or len(endpoints) == 1:
            return endpoints[one]
        other = (one + 1 + (bits >> 32) % (len(endpoints) - 1)) % len(endpoints)
        return averages.faster(endpoints[one], endpoints[other], now_ns)


class Turns:
    """The endpoints of all backends of one proxy."""

    __slots__ = ("_balancing", "_clock", "_namespace", "_pairs", "_starts", "_turns")

    def __init__(self, namespace: Namespace, seed: int, clock: Clock, balancing: str) -> None:
        """`balancing` is that of backends that do not say: `round_robin` or `ewma`."""
        self._namespace = namespace
        self._clock = clock
        self._balancing = balancing
        self._pairs = Stream(seed, f"ingress/ewma/{namespace.name}")
        self._starts = Stream(seed, f"ingress/round-robin/{namespace.name}")
        self._turns: dict[Backend, _Turn] = {}

    def set(self, backends: Mapping[Backend, tuple[Upstream, ...]]) -> None:
        """The endpoints are these now; where they changed the turn begins anew, anywhere among them."""
        turns: dict[Backend, _Turn] = {}
        for backend, upstreams in backends.items():
            endpoints = tuple(each for each in upstreams if self._namespace.towards(each[0]))
            old = self._turns.get(backend)
            if old is not None and old.endpoints == endpoints:
                turns[backend] = old
                continue
            averages = None
            if (backend.balancing or self._balancing) == "ewma":
                known = old.averages if old is not None else None
                averages = MovingAverages(endpoints) if known is None else known.changed_to(endpoints, self._clock.now)
            changes = 0 if old is None else old.changes + 1
            key = stream_seed(0, f"{backend.namespace}/{backend.service}:{backend.port}")
            turns[backend] = _Turn(endpoints, self._starts.bits(key, changes) % max(1, len(endpoints)), changes, averages)
        self._turns = turns

    def has_endpoints(self, backend: Backend) -> bool:
        """Whether there is an endpoint to try."""
        turn = self._turns.get(backend)
        return turn is not None and bool(turn.endpoints)

    def next(self, backend: Backend, hashed: int | None, key: int) -> Upstream | None:
        """The endpoint for a try (`key`) of a request, by its hash if it has one; None if there is none."""
        turn = self._turns.get(backend)
        if turn is None or not turn.endpoints:
            return None
        if hashed is not None:
            return turn.of(hashed)
        if turn.averages is not None:
            return turn.faster(self._pairs.bits(key), self._clock.now)
        chosen = turn.endpoints[turn.index]
        turn.index = (turn.index + 1) % len(turn.endpoints)
        return chosen

    def took(self, backend: Backend, endpoint: Upstream, took_ns: int) -> None:
        """A request's first try took an endpoint so long, however it ended."""
        turn = self._turns.get(backend)
        if turn is not None and turn.averages is not None:
            turn.averages.observe(endpoint, took_ns, self._clock.now)
