"""How a client's program resolves the name that it sends to: when, and with which stub resolver."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from svcsim.scenario.quantities import Part, PositiveDuration
from svcsim.spelling import nearest
from svcsim.units import S, duration_ns, duration_text
from svcsim.validation import plain_kind


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
