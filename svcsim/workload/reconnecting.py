"""How long a client of shared connections waits before it connects again to an address that it could not reach.

The wait counts from the beginning of the attempt that failed, grows with each further one, and ends with a success. Meanwhile the
client fails requests at once, as the attempt failed.

Source: gRPC doc/connection-backoff.md; grpc-go backoff (Config) and internal/backoff.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.engine.streams import Stream
from svcsim.results.records import Outcome
from svcsim.units import S
from svcsim.workload.source import Source

_LAST_GROWTH = 64  # beyond it a wait grows no more, whatever its limit


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The wait: base x multiplier^n up to `max_ns`, give or take a share `jitter` from the second on."""

    base_ns: int = 1 * S
    multiplier: float = 1.6
    jitter: float = 0.2
    max_ns: int = 120 * S


@dataclass(slots=True)
class _Attempts:
    """Attempts to reach an address: when the last one began, how many have failed since a success, how the last one did."""

    began_ns: int
    failures: int = 0
    until_ns: int = 0
    outcome: Outcome = Outcome.REFUSED


class Backoffs:
    """The waits of all clients of a workload."""

    __slots__ = ("_attempts", "_draws", "_settings")

    def __init__(self, settings: Reconnecting, draws: Stream) -> None:
        self._settings = settings
        self._draws = draws
        self._attempts: dict[tuple[Source, int], _Attempts] = {}

    def refusal(self, source: Source, address: int, now_ns: int) -> Outcome | None:
        """How a request fails that would need a connection now; None if one may be made, which then begins."""
        attempts = self._attempts.get((source, address))
        if attempts is None:
            self._attempts[source, address] = _Attempts(now_ns)
        elif now_ns < attempts.until_ns:
            return attempts.outcome
        else:
            attempts.began_ns = now_ns
        return None

    def failed(self, source: Source, address: int, outcome: Outcome, now_ns: int) -> int:
        """A connection could not be made; returns how long it is until another may be."""
        attempts = self._attempts.setdefault((source, address), _Attempts(now_ns))
        settings = self._settings
        wait = min(settings.base_ns * settings.multiplier ** min(attempts.failures, _LAST_GROWTH), settings.max_ns)
        if attempts.failures:
            wait *= 1.0 + settings.jitter * (2.0 * self._draws.uniform(source.index << 128 ^ address, attempts.failures) - 1.0)
        attempts.failures += 1
        attempts.until_ns = attempts.began_ns + round(wait)
        attempts.outcome = outcome
        return max(0, attempts.until_ns - now_ns)

    def succeeded(self, source: Source, address: int) -> None:
        """A connection stands."""
        self._attempts.pop((source, address), None)
