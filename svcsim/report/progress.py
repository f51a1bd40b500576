"""Progress while runs go on: one line on standard error that is rewritten, or a line a finished run in a log.

    ━━━━━━━━━━━━━━────────── 2 of 5 · iptables · 1,204,311 requests · 98,000 requests/s · 0:00:12

The clock here is the wall's and never reaches a result.
"""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO

from svcsim.report.terminal import printable
from svcsim.units import S

_BAR = 26
_LEAST_BAR = 5
_EVERY_S = 0.1
_FEW = 5
"""Of so many runs no estimate of the time left is given: they differ too much."""
_CLEAR = "\r\x1b[K"


class Progress:
    """Counts what has been simulated by all runs, those in other processes too, and shows it."""

    def __init__(
        self, runs: int, duration_ns: int, *, quiet: bool = False, stream: TextIO | None = None, patience_s: float | None = None
    ) -> None:
        """With `patience_s` nothing is shown before so much time has passed, and nothing of it stays."""
        self._runs = runs
        self._duration_ns = max(1, duration_ns)
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self._began = time.monotonic()
        self._shown = 0.0 if patience_s is None else self._began + patience_s
        self._stays = patience_s is None
        self._going: dict[str, tuple[int, int]] = {}
        self._finished = 0
        self._finished_requests = 0

    @property
    def wanted(self) -> bool:
        """Whether it is worth telling it how far a run is."""
        return self._live

    def update(self, run: str, requests: int, simulated_ns: int) -> None:
        """Take how many requests of a run have ended and how far its clock is."""
        self._going[run] = (requests, simulated_ns)
        now = time.monotonic()
        if self._live and now - self._shown >= _EVERY_S:
            self._shown = now
            self._show()

    def finish(self, run: str, requests: int) -> None:
        """Take that a run has ended."""
        self._going.pop(run, None)
        self._finished += 1
        self._finished_requests += requests
        if self._live:
            self._show()
        elif not self._quiet and self._runs > 1:
            self._write(f"{self._finished} of {self._runs}  {run}  {requests:,} requests\n")

    def requests(self) -> int:
        """How many requests have ended in all runs together."""
        return self._finished_requests + sum(count for count, _ in self._going.values())

    def share(self) -> float:
        """How much of it all is done, from 0 to 1."""
        return min(1.0, self._done() / max(1, self._runs))

    def _done(self) -> float:
        return self._finished + sum(min(1.0, at / self._duration_ns) for _, at in self._going.values())

    def line(self) -> str:
        """The line as it stands now, the bar before it."""
        return f"{self._bar(_BAR)} {self.facts()}"

    def facts(self) -> str:
        """The line without its bar."""
        requests, passed, done = self.requests(), time.monotonic() - self._began, self._done()
        facts = [f"{self._finished} of {self._runs}"]
        if len(self._going) == 1:
            (run, (_, at)), = self._going.items()
            facts.append(f"{run} at {at / S:.0f} s")
        facts += [f"{requests:,} requests", f"{requests / max(passed, 1e-3):,.0f} requests/s", _wall(passed)]
        if self._finished and done < self._runs and self._runs > _FEW:
            facts.append(f"about {_wall(passed / done * (self._runs - done))} left")
        return " · ".join(facts)

    def _show(self) -> None:
        self._write(_CLEAR + self._fitted())

    def _fitted(self) -> str:
        """The line in what the terminal has room for: with a shorter bar, or none, and then without the facts at its end."""
        room = max(10, shutil.get_terminal_size((100, 24)).columns - 1)
        facts = self.facts()
        bar = min(_BAR, room - len(facts) - 1)
        if bar >= _LEAST_BAR:
            return f"{self._bar(bar)} {facts}"
        while len(facts) > room and " · " in facts:
            facts = facts.rpartition(" · ")[0]
        return facts[:room]

    def _bar(self, cells: int) -> str:
        filled = round(cells * self.share())
        return "━" * filled + "─" * (cells - filled)

    def _write(self, text: str) -> None:
        self._stream.write(printable(text, self._stream))
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            last = self._fitted() + "\n" if kind is None and self._stays else ""
            self._write(_CLEAR + last)


def _wall(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
