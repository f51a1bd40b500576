"""How a scenario is run, and which costs it is run with."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from svcsim.scenario.quantities import Duration, Part, PositiveDuration
from svcsim.units import S, duration_text

MAX_SEED = 2**63 - 1
MAX_REPLICATIONS = 1_000
DEFAULT_PROFILE = "linux-6.18-measured"
DEFAULT_WARMUP_NS = 5 * S


class Run(Part):
    """Length, warm-up, seed and replications."""

    duration_ns: PositiveDuration = 60 * S
    """Requests are sent for so long."""
    warmup_ns: Duration | None = None
    """Requests sent before are not measured; default: 5 s, but at most a tenth of the duration."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 1
    replications: Annotated[int, Field(ge=1, le=MAX_REPLICATIONS)] = 1
    """Runs with different seeds, from which intervals come."""
    drain_ns: Duration | None = None
    """After the duration, how long to wait for answers; what is open then fails. Default: until each request has ended."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warmup_ns is not None and self.warmup_ns >= self.duration_ns:
            raise ValueError(
                f"warmup ({duration_text(self.warmup_ns)}) is shorter than duration ({duration_text(self.duration_ns)}), "
                "or nothing would be measured"
            )
        return self

    @property
    def measured_from_ns(self) -> int:
        """The end of warm-up."""
        return min(DEFAULT_WARMUP_NS, self.duration_ns // 10) if self.warmup_ns is None else self.warmup_ns


class Calibration(Part):
    """The profile of costs, and entries of it to change; a bare string is the profile."""

    profile: str = DEFAULT_PROFILE
    """Name of a profile that svcsim ships, or a file of one's own."""
    overrides: dict[str, str | float] = Field(default_factory=dict)
    """Entries to change, by name."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"profile": value} if isinstance(value, str) else value


class Metadata(Part):
    """Name and purpose."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]*$", max_length=120)] = ""
    """Default: the name of the file."""
    description: str = ""
