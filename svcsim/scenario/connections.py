"""Which connection a request goes over: kept, new, from a pool, or shared with others."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from svcsim.scenario.quantities import Count, Factor, Part, Period, PositiveCount, PositiveDuration, Share
from svcsim.units import S


class KeepalivePings(Part):
    """When a client of a multiplexed connection asks whether its peer is still there, as gRPC's keepalive."""

    time_ns: Period
    """Silence after which it sends a PING, if it waits for something."""
    timeout_ns: PositiveDuration = 20 * S
    """How long it waits for the answer before it gives the connection up."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"time": value} if isinstance(value, str) else value


class ConnectionBackoff(Part):
    """How long a client of a multiplexed connection waits before it connects again, as gRPC's connection back-off."""

    base_delay_ns: PositiveDuration = 1 * S
    """From the beginning of the first attempt that failed."""
    multiplier: Factor = 1.6
    jitter: Share = 0.2
    """Give or take, from the second on."""
    max_delay_ns: PositiveDuration = 120 * S

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {} if value is True else value


class Multiplexed(Part):
    """One connection a client and address with many requests on it at a time: HTTP/2, gRPC."""

    max_streams: PositiveCount = 100
    """Requests on one connection at a time; the server's MAX_CONCURRENT_STREAMS."""
    when_full: Literal["wait", "connect"] = "wait"
    """What a client does beyond that: wait for a stream, or open another connection."""
    max_age_ns: PositiveDuration | None = None
    """After which the server ends a connection, give or take a tenth; default: never."""
    grace_ns: PositiveDuration | None = None
    """How long requests that are under way then may take before they are reset; default: as long as they like."""
    keepalive: KeepalivePings | None = None
    """Default: no pings, so that a client learns of a silent peer only by its requests' time-outs."""
    backoff: ConnectionBackoff | None = None
    """Default: a client connects again as soon as a request needs it."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {} if value is True else value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.grace_ns is not None and self.max_age_ns is None:
            raise ValueError("'grace' begins when 'maxAge' is over: give both")
        return self


class Connections(Part):
    """Which connection a request goes over."""

    keepalive: bool = True
    """Keep a connection for further requests (UDP: keep the socket and so the client's port)."""
    pool_size: PositiveCount | None = None
    """Connections that a client opens at most; requests beyond wait for one. Default: no limit."""
    waiting_limit: Count | None = None
    """Requests that may wait for a connection; one more is shed. Default: no limit."""
    max_requests_per_connection: PositiveCount | None = None
    closes: Literal["client", "server"] = "client"
    """Who closes first, and so keeps TIME_WAIT."""
    multiplexed: Multiplexed | None = None
    """Many requests at a time on one connection; default: one at a time."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if value == "multiplexed":
            return {"multiplexed": {}}
        return {"keepalive": value == "keepalive"} if value in ("keepalive", "new") else value

    @model_validator(mode="after")
    def _shared_or_not(self) -> Self:
        if self.multiplexed is not None:
            for field, name in (("pool_size", "poolSize"), ("max_requests_per_connection", "maxRequestsPerConnection")):
                if getattr(self, field) is not None:
                    raise ValueError(f"'{name}' is for connections that carry one request at a time, not for multiplexed ones")
            if not self.keepalive:
                raise ValueError("a multiplexed connection is kept: leave 'keepalive' out")
        return self
