"""Times and sizes that vary from request to request, as a person writes them and as quantile functions.

`2ms` is constant; `{exponential: 2ms}`, `{lognormal: {median: 2ms, p99: 8ms}}`, `{gamma: {mean: 2ms, cv: 0.5}}`,
`{uniform: {min: 1ms, max: 3ms}}` and `{empirical: {file: times.txt}}` vary.
"""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import model_validator

from svcsim.scenario.quantities import Duration, Part, PositiveDuration, Size
from svcsim.units import duration_ns
from svcsim.validation import plain_kind
from svcsim.workload import distributions

MAX_SAMPLES = 1_000_000


class Lognormal(Part):
    """Lognormal by median and 99th percentile."""

    median_ns: PositiveDuration
    p99_ns: PositiveDuration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99_ns < self.median_ns:
            raise ValueError("p99 is not below the median")
        return self


class Gamma(Part):
    """Gamma by mean and either its coefficient of variation or its shape (shape = 1/cv²)."""

    mean_ns: PositiveDuration
    cv: float | None = None
    """Standard deviation over mean."""
    shape: float | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.cv is None) == (self.shape is None):
            raise ValueError("give either 'cv' or 'shape'")
        if not 0.001 <= self.gamma_shape <= 1_000_000:
            raise ValueError("the coefficient of variation lies between 0.001 and 30, the shape between 0.001 and 1000000")
        return self

    @property
    def gamma_shape(self) -> float:
        """The shape parameter."""
        if self.shape is not None:
            return self.shape
        return 1 / self.cv**2 if self.cv else 0.0


class Uniform(Part):
    """Evenly between two durations."""

    min_ns: Duration
    max_ns: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_ns < self.min_ns:
            raise ValueError("max is not below min")
        return self


class Empirical(Part):
    """The values of a sample, each as likely as the others: a file with a duration a line, or a list of durations."""

    file: str | None = None
    """A text file beside the scenario: one duration with its unit a line, `#` starts a comment."""
    values_ns: tuple[Duration, ...] = ()

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.file is None) == (not self.values_ns):
            raise ValueError("give either 'file' or 'values'")
        return self


def _one_kind(model: Part, kinds: tuple[str, ...]) -> None:
    given = [kind for kind in kinds if getattr(model, kind) is not None]
    if len(given) != 1:
        names = ", ".join(kind.removesuffix("_ns").removesuffix("_bytes") for kind in kinds)
        raise ValueError(f"give exactly one of {names}" + (f" (got {len(given)})" if given else ""))


class TimeDistribution(Part):
    """A time that varies; a bare duration is constant."""

    constant_ns: Duration | None = None
    exponential_ns: PositiveDuration | None = None
    """Exponential with this mean."""
    lognormal: Lognormal | None = None
    gamma: Gamma | None = None
    uniform: Uniform | None = None
    empirical: Empirical | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str | int) and not isinstance(value, bool):
            return {"constant": value}
        if isinstance(value, dict) and isinstance(value.get("empirical"), str):
            return {**value, "empirical": {"file": value["empirical"]}}
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        _one_kind(self, ("constant_ns", "exponential_ns", "lognormal", "gamma", "uniform", "empirical"))
        return self

    def quantile(self) -> distributions.Quantile:
        """The inverse distribution function: a uniform in, nanoseconds out."""
        if self.exponential_ns is not None:
            return distributions.exponential(self.exponential_ns)
        if self.lognormal is not None:
            if self.lognormal.p99_ns == self.lognormal.median_ns:
                return distributions.constant(self.lognormal.median_ns)
            return distributions.lognormal(self.lognormal.median_ns, self.lognormal.p99_ns)
        if self.gamma is not None:
            return distributions.gamma(self.gamma.mean_ns, self.gamma.gamma_shape)
        if self.uniform is not None:
            return distributions.uniform(self.uniform.min_ns, self.uniform.max_ns)
        if self.empirical is not None:
            return distributions.empirical(self.empirical.values_ns)
        return distributions.constant(self.constant_ns or 0)


class SizeLognormal(Part):
    """Lognormal by median and 99th percentile."""

    median_bytes: Size
    p99_bytes: Size

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 < self.median_bytes < self.p99_bytes:
            raise ValueError("p99 is above the median, and the median above zero")
        return self


class SizeUniform(Part):
    """Evenly between two sizes."""

    min_bytes: Size
    max_bytes: Size

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_bytes < self.min_bytes:
            raise ValueError("max is not below min")
        return self


class SizeDistribution(Part):
    """A size that varies; a bare size is constant."""

    constant_bytes: Size | None = None
    exponential_bytes: Size | None = None
    """Exponential with this mean."""
    lognormal: SizeLognormal | None = None
    uniform: SizeUniform | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"constant": value} if isinstance(value, str | int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        _one_kind(self, ("constant_bytes", "exponential_bytes", "lognormal", "uniform"))
        return self

    def quantile(self) -> distributions.Quantile:
        """The inverse distribution function: a uniform in, bytes out."""
        if self.exponential_bytes is not None:
            return distributions.exponential(self.exponential_bytes)
        if self.lognormal is not None:
            return distributions.lognormal(self.lognormal.median_bytes, self.lognormal.p99_bytes)
        if self.uniform is not None:
            return distributions.uniform(self.uniform.min_bytes, self.uniform.max_bytes)
        return distributions.constant(self.constant_bytes or 0)


def samples(text: str) -> list[str]:
    """The durations in the text of an empirical file, one a line; ValueError names the line that is none.

    >>> samples("# measured\\n1.5ms\\n\\n2ms\\n")
    ['1.5ms', '2ms']
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = re.sub(r"#.*", "", line).strip().strip(",")
        if not entry:
            continue
        try:
            duration_ns(entry)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if entry.replace(".", "").isdigit():
            raise ValueError(f"line {number}: a duration carries a unit, as in '1.5ms' (got {plain_kind(entry)})")
        found.append(entry)
        if len(found) > MAX_SAMPLES:
            raise ValueError(f"more than {MAX_SAMPLES} values")
    if not found:
        raise ValueError("it holds no duration")
    return found
