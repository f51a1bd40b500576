"""Traffic: who sends, where to, how often, over which connections, and what a client does when it fails.

All but `to` has a default, and `to` as well if there is just one Service: 100 requests a second (Poisson) from one client pod
a node (three at most), kept-alive connections, 5 s time-out, no retries.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from svcsim.scenario.address import Destination, DestinationUrl, ViaUrl
from svcsim.scenario.distribution import SizeDistribution, TimeDistribution
from svcsim.scenario.quantities import (
    Count,
    Duration,
    Factor,
    Family,
    Labels,
    Name,
    Part,
    PositiveCount,
    PositiveDuration,
    Rate,
    RateOrZero,
    Share,
)
from svcsim.scenario.trace import Trace
from svcsim.spelling import nearest
from svcsim.units import S, duration_ns, duration_text
from svcsim.validation import plain_kind
from svcsim.workload import arrivals
from svcsim.workload.distributions import Quantile

MAX_USERS = 1_000_000
DEFAULT_RATE_PER_S = 100.0
FailureName = Literal[
    "refused", "reset", "connect_timeout", "request_timeout", "no_route", "dns_failure", "server_busy", "no_local_port",
    "bad_gateway", "service_unavailable", "gateway_timeout",
]
FAILURES: tuple[FailureName, ...] = (
    "refused", "reset", "connect_timeout", "request_timeout", "no_route", "dns_failure", "server_busy", "no_local_port",
    "bad_gateway", "service_unavailable", "gateway_timeout",
)
"""What can make a client try again; the names of `svcsim.results.records.Outcome`."""


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


class KeepalivePings(Part):
    """When a client of a multiplexed connection asks whether its peer is still there, as gRPC's keepalive."""

    time_ns: PositiveDuration
    """Silence after which it sends a PING, if it waits for something."""
    timeout_ns: PositiveDuration = 20 * S
    """How long it waits for the answer before it gives the connection up."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"time": value} if isinstance(value, str) else value


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


def _failure(value: object) -> object:
    if not isinstance(value, str):
        return value
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", value).lower().replace("-", "_").replace(" ", "_")
    name = {"timeout": "request_timeout", "dns": "dns_failure", "busy": "server_busy"}.get(name, name)
    if name not in FAILURES:
        raise ValueError(f"{plain_kind(value)} is no failure to retry on{nearest(name, FAILURES, listed=10)}")
    return name


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
    on: tuple[Annotated[FailureName, BeforeValidator(_failure)], ...] = ("refused", "reset", "connect_timeout", "no_route")
    """Failures after which another attempt is made."""
    budget: RetryBudget | None = None
    """Of retries and hedges; default: no limit but `attempts`."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"attempts": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Resolve(Part):
    """When a client asks DNS: `connection` (each new one), `interval(30s)`, `once`, or `never` (it knows the address)."""

    policy: Literal["connection", "interval", "once", "never"]
    interval_ns: PositiveDuration = 30 * S

    def __str__(self) -> str:
        return f"interval({duration_text(self.interval_ns)})" if self.policy == "interval" else self.policy


def parse_resolve(value: Any) -> Resolve:
    """The policy that a text names."""
    if isinstance(value, Resolve):
        return value
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"one of connection, interval(30s), once, never is expected, not {plain_kind(value)}")
    policy, argument = match.groups()
    if policy not in ("connection", "interval", "once", "never") or (argument is not None and policy != "interval"):
        hint = nearest(policy, ("connection", "interval", "once", "never"), listed=0)
        raise ValueError(f"one of connection, interval(30s), once, never is expected, not {plain_kind(value)}{hint}")
    interval_ns = 30 * S if argument is None else duration_ns(argument)
    if interval_ns <= 0:
        raise ValueError("the interval is more than zero")
    return Resolve(policy=policy, interval_ns=interval_ns)


ResolveText = Annotated[
    Resolve, BeforeValidator(parse_resolve), PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^(connection|once|never|interval(\([^)]*\))?)$",
                    "examples": ["connection", "interval(30s)", "once", "never"]}),
]


class ClientResolver(Part):
    """A client's stub resolver: its C library, options beside those of resolv.conf, and how long its process lives."""

    libc: Literal["glibc", "musl"] = "glibc"
    options: tuple[Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]*(:\d{1,3})?$", max_length=60)], ...] = ()
    """Such as `single-request-reopen` or `timeout:2`; the environment variable RES_OPTIONS."""
    process: Literal["kept", "new"] = "kept"
    """`new`: each look-up is by a process or thread that knows nothing of earlier ones."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"libc": value} if value in ("glibc", "musl") else value

    @model_validator(mode="after")
    def _known_options(self) -> Self:
        for option in self.options:
            if option.partition(":")[0] not in RESOLVER_OPTIONS:
                raise ValueError(f"resolvers know no option {option!r} here{nearest(option, RESOLVER_OPTIONS, listed=10)}")
        return self


RESOLVER_OPTIONS = (
    "ndots", "timeout", "attempts", "rotate", "single-request", "single-request-reopen", "use-vc", "no-aaaa", "no-tld-query",
)
"""Options of resolv.conf(5) that change what is sent."""


class From(Part):
    """Who sends: exactly one of these; a bare string is a target, as `deployment/client`, `node/worker-1`, `outside/laptop`."""

    deployment: str | None = None
    daemonset: str | None = None
    statefulset: str | None = None
    pod: str | None = None
    node: str | None = None
    """A node's name; `*` for all."""
    outside: str | None = None
    """A host under `cluster.outside`; `*` for all."""
    labels: Labels | None = None
    """Pods with these labels."""
    clients: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many client pods that svcsim adds, spread over the nodes."""
    namespace: Name = "default"

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, slash, name = value.partition("/")
            if not slash:
                raise ValueError(f"who sends is written as 'deployment/client', not {plain_kind(value)}")
            if kind not in _FROM_KINDS:
                raise ValueError(f"{plain_kind(kind)} can't send{nearest(kind, _FROM_KINDS)}")
            namespace, slash, inner = name.partition("/")
            return {kind: inner, "namespace": namespace} if slash else {kind: name}
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = [kind for kind in (*_FROM_KINDS, "labels", "clients") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_FROM_KINDS)}, labels, clients" + _got(given))
        return self


_FROM_KINDS = ("deployment", "daemonset", "statefulset", "pod", "node", "outside")


def _got(given: list[str]) -> str:
    return f" (got {', '.join(given)})" if given else ""


class Workload(Part):
    """One stream of requests."""

    name: Name = ""
    """Default: `load`, or `load-2` and so on."""
    from_: From | None = Field(default=None, alias="from")
    """Default: client pods that svcsim adds, one a node and three at most."""
    to: DestinationUrl | None = None
    """Default: the first port of the only Service."""
    via: ViaUrl | None = None
    """Where the connection is made instead, as curl's --connect-to: another URL, or `ingress` for the address that the Ingress of
    this host shows; the request still says host and path of `to`. Default: `ingress` for a host that only an Ingress has."""
    arrivals: Arrivals = Arrivals(poisson_per_s=DEFAULT_RATE_PER_S)
    connections: Connections = Connections()
    request: SizeDistribution = SizeDistribution(constant_bytes=200)
    """Size of a request."""
    response: SizeDistribution = SizeDistribution(constant_bytes=1024)
    """Size of an answer."""
    timeout_ns: PositiveDuration = 5 * S
    """From the send until the answer is complete, of each attempt."""
    connect_timeout_ns: PositiveDuration | None = None
    """Of the connection alone; default: `timeout`."""
    retries: Retries = Retries()
    hedging: Hedging | None = None
    """Default: a second attempt is made only when the first has failed."""
    resolve: ResolveText = Resolve(policy="interval")
    resolver: ClientResolver = ClientResolver()
    """The stub resolver that the clients' programs use."""
    family: Family | None = None
    """The only family that clients use; default: what the name has, in the order that the C library gives (RFC 6724)."""
    balancing: Literal["pick_first", "round_robin", "random"] | None = None
    """How a client itself chooses among all addresses of the name, as for a headless Service; default: it takes one and stays."""
    start_ns: Duration = 0
    """When the workload begins."""
    stop_ns: PositiveDuration | None = None
    """When it ends; default: with the run."""

    @property
    def target(self) -> Destination | None:
        """Where connections are made: `via` if it is given, else `to`."""
        via, to = self.via, self.to
        if via is None or to is None:
            return to
        return replace(via, host=to.host, port=to.port) if via.is_ingress else via

    @model_validator(mode="after")
    def _through_http(self) -> Self:
        if self.via is not None and self.to is not None and self.to.scheme not in {"http", "https"}:
            raise ValueError(f"'via' is for requests with a host and a path, and {self.to.scheme}:// has none")
        if self.via is not None and self.via.protocol != "TCP":
            raise ValueError("HTTP goes over TCP: 'via' is no UDP destination")
        return self

    @model_validator(mode="after")
    def _over_streams(self) -> Self:
        if self.connections.multiplexed is not None:
            if self.to is not None and self.to.protocol != "TCP":
                raise ValueError("a multiplexed connection is TCP's: there is none to a UDP destination")
            if self.via is not None and self.via.is_ingress:
                raise ValueError("an ingress controller takes one request at a time on a connection: no multiplexed ones to it")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop_ns is not None and self.stop_ns <= self.start_ns:
            raise ValueError("'stop' is later than 'start'")
        if self.balancing is not None and self.resolve.policy not in {"interval", "once"}:
            raise ValueError("a client that balances keeps the addresses of a name: resolve is interval(30s) or once")
        return self
