"""Rates and latencies over time, in slots of equal width by intended send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svcsim.results.records import Requests
from svcsim.units import MS

MAX_SLOTS = 250
MIN_SLOT_NS = 10 * MS


@dataclass(frozen=True, slots=True)
class Timeline:
    """One value a slot in each array; slot i covers `[i * slot_ns, (i + 1) * slot_ns)`.

    Latencies are over the successes of the slot, in ns, NaN where there is none; a client that was gone
    counts nowhere.
    """

    slot_ns: int
    succeeded: NDArray[np.int64]
    failed: NDArray[np.int64]
    p50_ns: NDArray[np.float64]
    p99_ns: NDArray[np.float64]

    @property
    def starts_ns(self) -> NDArray[np.int64]:
        """When each slot begins."""
        return np.arange(len(self.succeeded), dtype=np.int64) * self.slot_ns

    @property
    def success(self) -> NDArray[np.float64]:
        """Share of the requests sent in a slot that succeeded; NaN where none was sent."""
        sent = self.succeeded + self.failed
        return np.where(sent > 0, self.succeeded / np.maximum(sent, 1), np.nan)


def slot_width_ns(duration_ns: int, max_slots: int = MAX_SLOTS) -> int:
    """The smallest of 10, 20, 50, 100, 200, 500 ms … that cuts the duration into at most so many slots."""
    width = MIN_SLOT_NS
    factors = (2.0, 2.5, 2.0)
    step = 0
    while width * max_slots < duration_ns:
        width = round(width * factors[step % 3])
        step += 1
    return width


def timeline(requests: Requests, duration_ns: int, slot_ns: int | None = None) -> Timeline:
    """The timeline of a run's requests from its start to `duration_ns`, slots of a fitting width unless one
    is given.
    """
    width = slot_ns or slot_width_ns(duration_ns)
    slots = max(1, -(-duration_ns // width))
    slot = np.minimum(requests.start_ns // width, slots - 1)
    good = requests.succeeded
    failed = np.bincount(slot[requests.failed], minlength=slots).astype(np.int64)
    succeeded = np.bincount(slot[good], minlength=slots).astype(np.int64)
    latencies, good_slot = requests.latency_ns[good], slot[good]
    order = np.lexsort((latencies, good_slot))
    ranked = latencies[order].astype(np.float64)
    first = np.concatenate(([0], np.cumsum(succeeded)[:-1]))

    def quantile(share: float) -> NDArray[np.float64]:
        rank = np.maximum(np.ceil(np.round(share * succeeded, 6)).astype(np.int64), 1)
        values = np.full(slots, np.nan)
        present = succeeded > 0
        values[present] = ranked[(first + rank - 1)[present]]
        return values

    return Timeline(width, succeeded, failed, quantile(0.5), quantile(0.99))
