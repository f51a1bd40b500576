"""How a scenario is run, and which costs it is run with."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from svcsim.calibration.profile import DEFAULT_PROFILE, Profile, load_profile, parse_profile
from svcsim.scenario.quantities import Duration, Part, PositiveDuration
from svcsim.units import S, duration_text

MAX_SEED = 2**63 - 1
MAX_REPLICATIONS = 1_000
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
    """Name of a profile that svcsim ships, or a .toml file of one's own, beside the scenario."""
    overrides: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Entries to change, by path as `path.forward`, each a number in its entry's own unit."""
    text: str | None = None
    """The text of such a file, so that a resolved scenario needs it no more."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"profile": value} if isinstance(value, str) else value

    def load(self) -> Profile:
        """The profile with its overrides. UsageError for an unknown name, entry or value, InputError for a file's mistakes."""
        profile = load_profile(self.profile) if self.text is None else parse_profile(self.text, self.profile)
        return profile.with_overrides(self.overrides)


class Metadata(Part):
    """Name and purpose."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]*$", max_length=120)] = ""
    """Default: the name of the file."""
    description: str = ""
