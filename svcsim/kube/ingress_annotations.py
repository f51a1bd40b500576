"""What annotations of ingress-nginx say about an Ingress's requests: time-outs, further tries, hashing, ClusterIPs, canaries.

Sources: kubernetes/ingress-nginx docs/user-guide/nginx-configuration/annotations.md; internal/ingress/annotations/{proxy,
serviceupstream,upstreamhashby,canary}; rootfs/etc/nginx/lua/{balancer.lua,util.lua}.

>>> treatment_of({PREFIX + "proxy-connect-timeout": "1", PREFIX + "proxy-next-upstream": "off"})
Treatment(connect_timeout_ns=1000000000, read_timeout_ns=None, next_on=frozenset(), tries=None, next_timeout_ns=None)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from svcsim.spelling import nearest
from svcsim.units import S

PREFIX = "nginx.ingress.kubernetes.io/"

_NUMBERS = (
    "proxy-connect-timeout", "proxy-read-timeout", "proxy-next-upstream-tries", "proxy-next-upstream-timeout", "canary-weight",
    "canary-weight-total",
)
_SWITCHES = ("service-upstream", "canary")
_FAILURES = {"error": "error", "timeout": "timeout", "http_503": "http_503"}
_NEVER_HAPPENS = frozenset({
    "invalid_header", "http_500", "http_502", "http_504", "http_403", "http_404", "http_429", "non_idempotent",
})
"""Conditions of proxy-next-upstream that no server of svcsim gives cause for; its requests can all be repeated."""
_VARIABLES = {
    "remote_addr": "address", "binary_remote_addr": "address", "request_uri": "uri", "uri": "path", "document_uri": "path",
    "host": "host", "http_host": "host", "args": "query", "query_string": "query",
}
_BALANCING = ("round_robin", "ewma")
_PART = re.compile(r"\$\{(\w+)\}|\$(\w+)|([^$]+)")
_ACTED_ON = (*_NUMBERS, *_SWITCHES, "proxy-next-upstream", "upstream-hash-by", "load-balance")
_WITHOUT_BEARING = re.compile(
    r"auth-(?!url|tls).*|cors-.*|enable-(cors|access-log|rewrite-log|opentelemetry|opentracing|influxdb|modsecurity|owasp-core-rules)"
    r"|influxdb-.*|modsecurity-.*|opentelemetry-.*|opentracing-.*|proxy-(body-size|buffer.*|cookie-.*|http-version|max-temp-file-size"
    r"|redirect-.*|request-buffering|send-timeout|ssl-.*)|client-body-buffer-size|connection-proxy-header|custom-headers"
    r"|http2-push-preload|satisfy|session-cookie-.*|ssl-(ciphers|prefer-server-ciphers)|upstream-vhost|x-forwarded-prefix"
)
"""Annotations that change what is said, not where a request goes, how long it takes or whether it is answered."""

_KIN = ("canary-by-", "upstream-hash-by-", "affinity-")
"""Annotations of ingress-nginx whose names are near to others that are acted on."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How requests are treated, as far as an Ingress says so itself; None: as its controller does otherwise.

    `next_on` are the failures after which the next endpoint is tried; `tries` and `next_timeout_ns` have no limit at 0.
    """

    connect_timeout_ns: int | None = None
    read_timeout_ns: int | None = None
    next_on: frozenset[str] | None = None
    tries: int | None = None
    next_timeout_ns: int | None = None


AS_CONTROLLER = Treatment()
Hashed = tuple[tuple[str, str], ...]
"""What a hash is of, part by part: ("text", itself), or what of a request: address, host, path, query, uri."""


def own_annotations(annotations: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Those of ingress-nginx, in order."""
    return tuple(sorted((key, value) for key, value in annotations.items() if key.startswith(PREFIX)))


def treatment_of(annotations: Mapping[str, str]) -> Treatment:
    """Time-outs and further tries; what is no number is as if it were not there."""
    connect_s, read_s = _number(annotations, "proxy-connect-timeout"), _number(annotations, "proxy-read-timeout")
    limit_s = _number(annotations, "proxy-next-upstream-timeout")
    return Treatment(
        connect_s * S if connect_s else None, read_s * S if read_s else None, _next_on(annotations),
        _number(annotations, "proxy-next-upstream-tries"), None if limit_s is None else limit_s * S,
    )


def uses_service(annotations: Mapping[str, str]) -> bool:
    """Whether requests go to the Service's ClusterIP, so that kube-proxy chooses the endpoint (`service-upstream`)."""
    return _is_on(annotations, "service-upstream")


def hashed_by(annotations: Mapping[str, str]) -> Hashed:
    """What of a request decides which endpoint has it (`upstream-hash-by`); empty if they take turns.

    >>> hashed_by({PREFIX + "upstream-hash-by": "${request_uri}-x"})
    (('uri', ''), ('text', '-x'))
    """
    found = []
    for long, short, text in _PART.findall(annotations.get(f"{PREFIX}upstream-hash-by", "")):
        name = long or short
        if name and name not in _VARIABLES:
            return ()
        found.append((_VARIABLES[name], "") if name else ("text", text))
    return tuple(found)


def balancing_of(annotations: Mapping[str, str]) -> str:
    """How an endpoint is chosen (`load-balance`): ewma, or round_robin, as for an unknown name; empty if not said."""
    text = annotations.get(f"{PREFIX}load-balance", "")
    return text if text in _BALANCING or not text else _BALANCING[0]


def is_canary(annotations: Mapping[str, str]) -> bool:
    """Whether an Ingress is the alternative of another one for the same host and path."""
    return _is_on(annotations, "canary")


def canary_weight(annotations: Mapping[str, str]) -> tuple[int, int]:
    """Of how many requests, out of how many, go to a canary; a total below 100 counts as 100 (balancer.lua)."""
    return _number(annotations, "canary-weight") or 0, max(100, _number(annotations, "canary-weight-total") or 100)


def without_effect(annotations: Mapping[str, str]) -> Iterator[str]:
    """What bears on traffic and is not acted on, each with the reason, for a person."""
    for key, value in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name in _NUMBERS:
            if not value.strip().isdecimal():
                yield f"{name} {value[:40]!r} is no number"
        elif name in _SWITCHES:
            if value not in ("true", "false"):
                yield f"{name} {value[:40]!r} is neither 'true' nor 'false'"
        elif name == "proxy-next-upstream":
            unknown = [each for each in value.split() if each not in (*_FAILURES, *_NEVER_HAPPENS, "off")]
            if unknown:
                yield f"{name}: nginx has no condition {unknown[0][:40]!r}"
        elif name == "upstream-hash-by":
            if value and not hashed_by(annotations):
                yield f"{name} {value[:40]!r}: requests have no such variable here"
        elif name == "load-balance":
            if value not in _BALANCING:
                yield f"{name} {value[:40]!r}: nginx falls back to round_robin"
        elif name in ("affinity", "affinity-mode", "affinity-canary-behavior"):
            if name == "affinity":
                yield f"{name} {value[:40]!r}: clients keep no cookies here, so that each request is a new session's"
        elif not _WITHOUT_BEARING.fullmatch(name):
            yield f"{name}{_meant(name)}"


def _meant(name: str) -> str:
    return "" if name.startswith(_KIN) else nearest(name, _ACTED_ON)


def _number(annotations: Mapping[str, str], name: str) -> int | None:
    text = annotations.get(PREFIX + name, "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _is_on(annotations: Mapping[str, str], name: str) -> bool:
    return annotations.get(PREFIX + name) == "true"


def _next_on(annotations: Mapping[str, str]) -> frozenset[str] | None:
    text = annotations.get(f"{PREFIX}proxy-next-upstream")
    if text is None:
        return None
    words = text.split()
    return frozenset() if "off" in words else frozenset(_FAILURES[each] for each in words if each in _FAILURES)
