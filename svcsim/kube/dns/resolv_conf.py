"""resolv.conf: what the kubelet reads of the host's and writes for a pod, and what a stub resolver takes from it.

Sources: kubernetes pkg/kubelet/network/dns/dns.go (parsing and printing), resolv.conf(5), glibc resolv/res_init.c and
resolv/bits/types/res_state.h (limits and defaults), musl src/network/resolvconf.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NDOTS_DEFAULT = 1
TIMEOUT_DEFAULT_S = 5
ATTEMPTS_DEFAULT = 2

_NDOTS_MAX = 15
_TIMEOUT_MAX_S = {"glibc": 30, "musl": 60}
_ATTEMPTS_MAX = {"glibc": 5, "musl": 10}


class ResolvConfError(ValueError):
    """A resolv.conf that cannot be read: a `nameserver` line without an address."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The three lists of a resolv.conf, as text."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"nameserver {address}" for address in self.nameservers]
        if self.searches:
            lines.insert(0, f"search {' '.join(self.searches)}")
        if self.options:
            lines.append(f"options {' '.join(self.options)}")
        return "".join(f"{line}\n" for line in lines)


def merge_options(existing: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
    """Options by name: an added one replaces the value of an existing one, in its place."""
    merged = {option.partition(":")[0]: option for option in existing}
    merged.update((option.partition(":")[0], option) for option in added)
    return tuple(merged.values())


def parse_resolv_conf(text: str) -> ResolvConf:
    """The lists of a resolv.conf: all name servers, the last `search` line, all options.

    A search domain loses its final dot, unless it is the root. ResolvConfError for a name server without address.
    """
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.split("\n"):
        fields = line.strip().split()
        if not fields or fields[0].startswith("#"):
            continue
        if fields[0] == "nameserver":
            if len(fields) < 2:
                raise ResolvConfError("a nameserver line has no address")
            nameservers.append(fields[1])
        elif fields[0] == "search":
            searches = tuple(domain if domain == "." else domain.removesuffix(".") for domain in fields[1:])
        elif fields[0] == "options":
            options = merge_options(options, tuple(fields[1:]))
    return ResolvConf(tuple(nameservers), searches, options)


def _number(options: Sequence[str], name: str, default: int) -> int:
    value = default
    for option in options:
        key, colon, text = option.partition(":")
        if key == name and colon and text.isdecimal():
            value = int(text)
    return value


@dataclass(frozen=True, slots=True)
class ResolverOptions:
    """The options that change what a resolver sends and when; a timeout in seconds, as in the file."""

    ndots: int = NDOTS_DEFAULT
    timeout_s: int = TIMEOUT_DEFAULT_S
    attempts: int = ATTEMPTS_DEFAULT
    rotate: bool = False
    single_request: bool = False
    use_tcp: bool = False
    no_aaaa: bool = False
    no_tld_query: bool = False

    @classmethod
    def parse(cls, options: Sequence[str], libc: str = "glibc") -> ResolverOptions:
        """The options that the C library knows, within its limits; musl knows ndots, timeout and attempts alone."""
        ndots = min(_number(options, "ndots", NDOTS_DEFAULT), _NDOTS_MAX)
        timeout = min(_number(options, "timeout", TIMEOUT_DEFAULT_S), _TIMEOUT_MAX_S[libc])
        attempts = min(_number(options, "attempts", ATTEMPTS_DEFAULT), _ATTEMPTS_MAX[libc])
        flags = set(options) if libc == "glibc" else set()
        return cls(
            ndots,
            max(timeout, 1),
            max(attempts, 1),
            "rotate" in flags,
            bool(flags & {"single-request", "single-request-reopen"}),
            "use-vc" in flags,
            "no-aaaa" in flags,
            "no-tld-query" in flags,
        )
