"""What a client does beyond a first attempt: retries with back-off, their budget, and hedges."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from svcsim.scenario.quantities import Duration, Factor, Part, PositiveDuration, RateOrZero, Share
from svcsim.spelling import nearest
from svcsim.units import S
from svcsim.validation import plain_kind

FailureName = Literal[
    "refused", "reset", "connect_timeout", "request_timeout", "no_route", "dns_failure", "server_busy", "no_local_port",
    "bad_gateway", "service_unavailable", "gateway_timeout",
]
FAILURES: tuple[FailureName, ...] = (
    "refused", "reset", "connect_timeout", "request_timeout", "no_route", "dns_failure", "server_busy", "no_local_port",
    "bad_gateway", "service_unavailable", "gateway_timeout",
)
"""What can make a client try again; the names of `svcsim.results.records.Outcome`."""


class Backoff(Part):
    """How long a client waits before it tries again: base x factor^n, at most `max`, shortened by up to a share `jitter`."""

    base_ns: Duration = 0
    factor: Factor = 2.0
    max_ns: Duration = 10 * S
    jitter: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"base": value} if isinstance(value, str | int) and not isinstance(value, bool) else value


_SHORT_FOR = {"timeout": "request_timeout", "dns": "dns_failure", "busy": "server_busy"}


def _failure(value: object) -> object:
    if not isinstance(value, str):
        return value
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", value).lower().replace("-", "_").replace(" ", "_")
    name = _SHORT_FOR.get(name, name)
    if name not in FAILURES:
        raise ValueError(f"{plain_kind(value)} is no failure to retry on{nearest(name, FAILURES, listed=10)}")
    return name


Failure = Annotated[
    FailureName, BeforeValidator(_failure), WithJsonSchema({"enum": [*FAILURES, *_SHORT_FOR]}, mode="validation"),
]
"""A failure by its name, or a short one."""


class RetryBudget(Part):
    """How many attempts beyond the first a client process may make, as Finagle and Linkerd limit them."""

    share: Share = 0.2
    """Of its requests of the last `ttl`."""
    min_per_s: RateOrZero = 10.0
    """So many beside that."""
    ttl_ns: PositiveDuration = 10 * S
    """How long a request counts."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, str | float) else value


class Hedging(Part):
    """When a client sends a request a second time without waiting for the first to fail; a bare duration is `after`."""

    after_ns: PositiveDuration | None = None
    """When the attempt has taken so long."""
    quantile: Share | None = None
    """When it has taken longer than this share of the client's last thousand answers."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"after": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.after_ns is None) == (self.quantile is None):
            raise ValueError("give either 'after' or 'quantile'")
        return self


class Retries(Part):
    """What a client does when an attempt fails."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 1
    """Attempts in all, the first among them; 1 means no retry."""
    backoff: Backoff = Backoff()
    on: tuple[Failure, ...] = ("refused", "reset", "connect_timeout", "no_route")
    """Failures after which another attempt is made."""
    budget: RetryBudget | None = None
    """Of retries and hedges; default: no limit but `attempts`."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"attempts": value} if isinstance(value, int) and not isinstance(value, bool) else value
