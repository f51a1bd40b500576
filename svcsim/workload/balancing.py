"""Clients that balance on their own: which of a name's addresses a request goes to, and what a client counts to choose it.

A client counts the requests that it has under way at each address, from the choice until their end however they end, those that
wait for a connection among them; it knows nothing of other clients. `least_request` draws a few addresses with replacement and
takes the one with the fewest, the first drawn of equal ones: so even an address that never answers is drawn twice in a row now
and then. With a full scan all are compared, and any of equal ones is taken. Left out of the choice are addresses that the client
could not connect to, and those that outlier detection has ejected (`svcsim.workload.outliers`).

Sources: gRPC A48 (least_request_experimental); Envoy source/extensions/load_balancing_policies/least_request/least_request_lb.cc;
Mitzenmacher: The Power of Two Choices in Randomized Load Balancing (2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from svcsim.datapath.connection import Request
from svcsim.engine.streams import Stream
from svcsim.workload.outliers import OutlierDetection, Outliers
from svcsim.workload.source import Source

Policy = Literal["pick_first", "round_robin", "random", "least_request"]


@dataclass(frozen=True, slots=True)
class Balancing:
    """A policy; of `choice_count` addresses least_request takes the least loaded, of all with `full_scan`."""

    policy: Policy
    choice_count: int = 2
    full_scan: bool = False
    outliers: OutlierDetection | None = None


class Balancer:
    """Chooses for all clients of a workload; what it counts is each client's own (`Source`)."""

    __slots__ = ("_choice_count", "_detection", "_draws", "_full_scan", "_outliers", "_policy")

    def __init__(self, balancing: Balancing, draws: Stream) -> None:
        self._policy = balancing.policy
        self._choice_count = balancing.choice_count
        self._full_scan = balancing.full_scan
        self._draws = draws
        self._detection = balancing.outliers
        self._outliers: dict[Source, Outliers] = {}

    def choose(self, source: Source, request: Request, now_ns: int) -> None:
        """Let a client choose the address of a request: its `target` from now on.

        An address that it could not connect to is left out as long as there are others.
        """
        failed = source.failed
        targets: Sequence[int] = source.targets
        if self._detection is not None:
            targets = self._outliers_of(source, now_ns).left(targets, now_ns)
        if failed:
            targets = [address for address in targets if address not in failed] or targets
        self.ended(request)
        if targets:
            policy = self._policy
            if policy == "round_robin":
                source.target = targets[source.turn % len(targets)]
                source.turn += 1
            elif policy == "least_request":
                source.target = self._least(source, request, targets)
            else:
                uniform = self._draws.uniform(request.sequence, request.attempt) if policy == "random" else 0.0
                source.target = targets[int(uniform * len(targets))]
        _count(source, request, source.target)

    def _least(self, source: Source, request: Request, targets: Sequence[int]) -> int:
        active, uniform = source.active, self._draws.uniform
        if self._full_scan:
            fewest = min(active.get(address, 0) for address in targets)
            equal = [address for address in targets if active.get(address, 0) == fewest]
            return equal[int(uniform(request.sequence, request.attempt) * len(equal))]
        # The first draw is that of `random`: both policies meet the same luck.
        return min(
            (
                targets[int(uniform(request.sequence, request.attempt | i << 32) * len(targets))]
                for i in range(self._choice_count)
            ),
            key=lambda address: active.get(address, 0),
        )

    def moved(self, request: Request, address: int) -> None:
        """The request goes to this address after all: a connection to it is free."""
        self.ended(request)
        _count(request.tag, request, address)

    def finished(self, request: Request, now_ns: int, *, succeeded: bool) -> None:
        """The request has ended, well or not."""
        if self._detection is not None:
            source: Source = request.tag
            address = source.chosen.get(request)
            if address is not None:
                self._outliers_of(source, now_ns).ended(address, source.targets, now_ns, succeeded=succeeded)
        self.ended(request)

    def _outliers_of(self, source: Source, now_ns: int) -> Outliers:
        outliers = self._outliers.get(source)
        if outliers is None:
            assert self._detection is not None
            outliers = self._outliers[source] = Outliers(self._detection, now_ns)
        return outliers

    def ended(self, request: Request) -> None:
        """The client waits no longer for this request, or no longer at the address that was chosen."""
        source: Source = request.tag
        address = source.chosen.pop(request, None)
        if address is not None:
            left = source.active[address] - 1
            if left:
                source.active[address] = left
            else:
                del source.active[address]


def _count(source: Source, request: Request, address: int) -> None:
    source.chosen[request] = address
    source.active[address] = source.active.get(address, 0) + 1
