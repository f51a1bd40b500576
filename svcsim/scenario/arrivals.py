"""When requests are sent: an open loop by a rate, a trace or bursts, or a closed loop of users."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from svcsim.scenario.distribution import TimeDistribution
from svcsim.scenario.quantities import Duration, Part, PositiveDuration, Rate, RateOrZero
from svcsim.scenario.trace import Trace
from svcsim.units import S
from svcsim.workload import arrivals
from svcsim.workload.distributions import Quantile

MAX_USERS = 1_000_000


class OnOff(Part):
    """Bursts: Poisson at `rate` for a while, nothing for a while."""

    rate_per_s: Rate
    on_ns: PositiveDuration
    off_ns: PositiveDuration


class RampPoint(Part):
    """A rate at a time."""

    at_ns: Duration
    rate_per_s: RateOrZero


class Ramp(Part):
    """Poisson whose rate goes straight from one value to another, or from point to point."""

    from_per_s: RateOrZero | None = None
    to_per_s: RateOrZero | None = None
    over_ns: PositiveDuration | None = None
    """How long the way takes; default: the whole run."""
    points: tuple[RampPoint, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"points": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.points:
            if (self.from_per_s, self.to_per_s, self.over_ns) != (None, None, None):
                raise ValueError("give either 'points' or 'from', 'to' and 'over'")
            times = [point.at_ns for point in self.points]
            if len(times) < 2 or times != sorted(set(times)):
                raise ValueError("at least two points are needed, their times in ascending order")
            if times[0] != 0:
                raise ValueError("the first point is at 0s")
            if all(point.rate_per_s == 0 for point in self.points):
                raise ValueError("at least one rate is more than zero")
        elif self.from_per_s is None or self.to_per_s is None:
            raise ValueError("'from' and 'to' are needed, or 'points'")
        elif self.from_per_s == self.to_per_s == 0:
            raise ValueError("at least one rate is more than zero")
        return self

    def rates(self, duration_ns: int) -> list[tuple[int, float]]:
        """The points as (time in ns, requests a second)."""
        if self.points:
            return [(point.at_ns, point.rate_per_s) for point in self.points]
        return [(0, self.from_per_s or 0.0), (self.over_ns or duration_ns, self.to_per_s or 0.0)]


class ClosedLoop(Part):
    """A fixed number of users, each of whom waits for the answer, thinks, and sends again."""

    users: Annotated[int, Field(ge=1, le=MAX_USERS)]
    think: TimeDistribution = TimeDistribution(exponential_ns=1 * S)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"users": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Arrivals(Part):
    """When requests are sent: an open loop by rate (a bare rate is Poisson), or a closed loop of users."""

    poisson_per_s: Rate | None = None
    constant_per_s: Rate | None = None
    onoff: OnOff | None = None
    ramp: Ramp | None = None
    closed: ClosedLoop | None = None
    trace: Trace | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"poisson": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        kinds = (self.poisson_per_s, self.constant_per_s, self.onoff, self.ramp, self.closed, self.trace)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give exactly one of poisson, constant, onoff, ramp, closed, trace")
        return self

    def process(self, duration_ns: int) -> arrivals.Arrivals:
        """The arrival process of an open loop in a run of this duration."""
        if self.poisson_per_s is not None:
            return arrivals.poisson(self.poisson_per_s)
        if self.constant_per_s is not None:
            return arrivals.constant(self.constant_per_s)
        if self.onoff is not None:
            return arrivals.on_off(self.onoff.rate_per_s, self.onoff.on_ns, self.onoff.off_ns)
        if self.ramp is not None:
            return arrivals.ramp(self.ramp.rates(duration_ns))
        if self.trace is not None:
            return self.trace.process()
        raise ValueError("a closed loop has no arrival process of its own")

    def expected(self, duration_ns: int) -> float:
        """About how many requests an open loop sends in that time (a closed loop: at most, if answers took no time)."""
        if self.onoff is not None:
            share = self.onoff.on_ns / (self.onoff.on_ns + self.onoff.off_ns)
            return self.onoff.rate_per_s * share * duration_ns / S
        if self.ramp is not None:
            points = self.ramp.rates(duration_ns)
            points = [*points, (max(duration_ns, points[-1][0]), points[-1][1])]
            return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)) / S
        if self.trace is not None:
            return self.trace.expected(duration_ns)
        if self.closed is not None:
            think: Quantile = self.closed.think.quantile()
            return self.closed.users * duration_ns / max(1, think(0.5))
        return (self.poisson_per_s or self.constant_per_s or 0.0) * duration_ns / S
