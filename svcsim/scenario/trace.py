"""Arrivals from a file: a time a line, or a column of a CSV file, as an access log or a load generator leaves it.

Times are numbers of a unit (seconds by default) or dates of ISO 8601. Dates, and numbers of seconds since 1970, count from the
first one; other numbers from the workload's start. Lines need not be in order: a log is written when requests end.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice, pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from svcsim.errors import InputError, Problem
from svcsim.scenario.quantities import Factor, Part
from svcsim.spelling import nearest
from svcsim.units import MS, US, S
from svcsim.validation import plain_kind
from svcsim.workload import arrivals

MAX_TIMES = 1_000_000
MAX_TOLD = 10
"""So many lines that are no times are told of."""
UNIT_NS = {"s": S, "ms": MS, "us": US, "ns": 1}
EPOCH_NS = 100_000_000 * S
"""From here on (1973) a number is a time since 1970."""
_LIMIT_NS = 1 << 62


class Trace(Part):
    """Requests at recorded times: a file, or the times themselves."""

    file: str | None = None
    """Beside the scenario: a time a line, or CSV; `#` begins a comment."""
    column: str | None = None
    """Name of the column in a CSV file with a header; default: the first one."""
    unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of the file's numbers."""
    times: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    """In seconds from the workload's start, in order."""
    speed: Factor = 1.0
    """2: twice as fast, so that the rate is twice the recorded one."""
    loop: bool = False
    """Begin again when the times are over, a mean gap after the last one."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"file": value}
        return {"times": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if (self.file is None) == (not self.times):
            raise ValueError("give either 'file' or 'times'")
        if self.file is not None:
            raise ValueError("the file of a trace is read where a workload names it; here give 'times'")
        if len(self.times) > MAX_TIMES:
            raise ValueError(f"more than {MAX_TIMES:,} times")
        if any(later < earlier for earlier, later in pairwise(self.times)):
            raise ValueError("the times are in order, the earliest first")
        if self.loop and self.times[0] == self.times[-1]:
            raise ValueError("a trace that loops has times that differ")
        return self

    @property
    def times_ns(self) -> tuple[int, ...]:
        """When requests are sent, from the workload's start, as fast as they are played."""
        return tuple(round(time * S / self.speed) for time in self.times)

    @property
    def period_ns(self) -> int | None:
        """After which they begin again; None: never."""
        times_ns = self.times_ns
        return times_ns[-1] + (times_ns[-1] - times_ns[0]) // (len(times_ns) - 1) if self.loop else None

    def process(self) -> arrivals.Arrivals:
        """The arrival process."""
        return arrivals.trace(self.times_ns, self.period_ns)

    def expected(self, duration_ns: int) -> int:
        """How many requests are sent in that time."""
        times_ns, period_ns = self.times_ns, self.period_ns
        rounds, rest_ns = divmod(duration_ns, period_ns) if period_ns else (0, duration_ns)
        return rounds * len(times_ns) + sum(time_ns < rest_ns for time_ns in times_ns)


def read_times(text: str, file: str, column: str | None, unit: str) -> list[float]:
    """The times in the text of a file, in seconds and in order; InputError with the lines that are none."""
    found: list[int] = []
    problems: list[Problem] = []
    place, begun, dated = 0, False, False
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.split("#", 1)[0].strip()
        if not entry:
            continue
        cells = [cell.strip() for cell in next(csv.reader([entry]))]
        if not begun:
            begun = True
            if column is not None:
                if column not in cells:
                    message = f"the header has no column {column!r}{nearest(column, cells)}"
                    raise InputError([Problem(file, number, 1, "", message)])
                place = cells.index(column)
                continue
            if _time_ns(cells[0], unit) is None and not _looks_like_a_number(cells[0]):
                continue  # a header
        cell = cells[place] if place < len(cells) else ""
        time_ns = _time_ns(cell, unit)
        if time_ns is None or not 0 <= time_ns < _LIMIT_NS:
            message = f"a number of {unit} or a date is expected, as '12.5' or '2026-01-31T12:00:00Z', not {plain_kind(cell)}"
            problems.append(Problem(file, number, 1, "", message))
        else:
            dated = dated or time_ns >= EPOCH_NS
            found.append(time_ns)
        if len(found) > MAX_TIMES:
            raise InputError([Problem(file, number, 1, "", f"more than {MAX_TIMES:,} times")])
    if problems:
        raise InputError(list(islice(problems, MAX_TOLD)))
    if not found:
        raise InputError([Problem(file, 1, 1, "", "it holds no time")])
    found.sort()
    first_ns = found[0] if dated else 0
    return [(time_ns - first_ns) / S for time_ns in found]


def _time_ns(cell: str, unit: str) -> int | None:
    """A number of a unit, or a date, in nanoseconds; None if it is neither."""
    try:
        number = Decimal(cell)
    except InvalidOperation:
        try:
            date = datetime.fromisoformat(cell)
        except ValueError:
            return None
        since = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * S + since.microseconds * US
    if not number.is_finite() or abs(number) > _LIMIT_NS:
        return None
    return round(number * UNIT_NS[unit])


def _looks_like_a_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "+-."
