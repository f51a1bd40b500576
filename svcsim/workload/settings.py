"""What a workload is told to do: its destination, connections, time-outs, retries, and how it finds an address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from svcsim.results.records import Outcome
from svcsim.workload.balancing import Balancing
from svcsim.workload.extra_attempts import Budget, Hedging

DEFAULT_RETRY_ON = frozenset({Outcome.REFUSED, Outcome.RESET, Outcome.CONNECT_TIMEOUT, Outcome.NO_ROUTE})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and when a failed request is tried again: wait base x factor^n up to `max_ns`, shortened by up to `jitter`."""

    attempts: int = 1
    base_ns: int = 0
    factor: float = 2.0
    max_ns: int = 10_000_000_000
    jitter: float = 0.0
    on: frozenset[Outcome] = DEFAULT_RETRY_ON
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """What a workload does, as the scenario says it."""

    name: str
    index: int
    protocol: int
    port: int
    timeout_ns: int
    connect_timeout_ns: int | None = None
    keepalive: bool = False
    pool_limit: int | None = None
    requests_per_connection: int | None = None
    server_closes: bool = False
    retries: Retries = field(default_factory=Retries)
    hedging: Hedging | None = None
    waiting_limit: int | None = None
    resolve: Literal["connection", "interval", "once", "never"] = "never"
    resolve_interval_ns: int = 30_000_000_000
    balancing: Balancing | None = None
    http: tuple[str, str] = ("", "/")
    """Host and path of its requests, for who routes by them."""
    unresolved: Outcome = Outcome.DNS_FAILURE
    """How a request ends whose client gets no address."""
