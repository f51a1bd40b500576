"""Caches of answers: CoreDNS's `cache` plugin, and the dnsmasq in front of kube-dns.

An answer is kept for its least TTL, a denial for what its SOA says, both within the cache's limits; what is handed out has
what is left of that time as TTL. A full cache forgets what was put in first. Sources: coredns plugin/cache
(README, cache.go, item.go), plugin/pkg/dnsutil/ttl.go; kubernetes cluster/addons/dns/kube-dns (dnsmasq's arguments).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from svcsim.kube.dns.records import Answer, Soa
from svcsim.units import S


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Longest and shortest life of answers and denials (0: not kept), life of a server's failure, and entries of each kind."""

    success_ns: int = 30 * S
    denial_ns: int = 30 * S
    minimum_ns: int = 5 * S
    failure_ns: int = 5 * S
    capacity: int = 9984


COREDNS = CacheSettings()
"""`cache 30`, as kubeadm's Corefile has it."""
NODE_LOCAL = CacheSettings(denial_ns=5 * S)
"""`success 9984 30`, `denial 9984 5`: NodeLocal DNSCache in the cluster's zone."""
DNSMASQ = CacheSettings(success_ns=86400 * S, denial_ns=0, minimum_ns=0, failure_ns=0, capacity=1000)
"""`--cache-size=1000 --no-negcache`."""


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    expires_ns: int


def life_ns(answer: Answer, settings: CacheSettings) -> int:
    """How long an answer is kept.

    >>> life_ns(Answer("NXDOMAIN"), NODE_LOCAL) // S, life_ns(Answer("NXDOMAIN"), DNSMASQ)
    (5, 0)
    """
    if answer.truncated or answer.rcode not in ("NOERROR", "NXDOMAIN"):
        return settings.failure_ns if answer.rcode == "SERVFAIL" else 0
    if answer.rcode == "NXDOMAIN" or answer.is_nodata:
        limit_ns = settings.denial_ns
        minimums = [record.data.minimum for record in answer.authority if isinstance(record.data, Soa)]
    else:
        limit_ns = settings.success_ns
        minimums = [record.ttl for record in (*answer.answer, *answer.authority, *answer.additional)]
    asked_ns = min(minimums) * S if minimums else settings.minimum_ns
    return min(limit_ns, max(asked_ns, settings.minimum_ns))


class AnswerCache:
    """The answers of one server, by lower-case name and type."""

    __slots__ = ("_denials", "_settings", "_successes", "hits", "misses")

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._successes: dict[tuple[str, str], _Entry] = {}
        self._denials: dict[tuple[str, str], _Entry] = {}
        self.hits = 0
        self.misses = 0

    def get(self, name: str, rtype: str, now_ns: int) -> Answer | None:
        """The answer that is kept, with what is left of its time as TTL; None if there is none."""
        key = (name.lower(), rtype)
        for entries in (self._denials, self._successes):
            entry = entries.get(key)
            if entry is None:
                continue
            if entry.expires_ns > now_ns:
                self.hits += 1
                return _aged(entry.answer, -(-(entry.expires_ns - now_ns) // S))
            del entries[key]
        self.misses += 1
        return None

    def put(self, name: str, rtype: str, answer: Answer, now_ns: int) -> None:
        """Keep an answer for as long as it may be kept."""
        kept_ns = life_ns(answer, self._settings)
        if kept_ns <= 0:
            return
        key = (name.lower(), rtype)
        is_success = answer.rcode == "NOERROR" and bool(answer.answer)
        entries, others = (self._successes, self._denials) if is_success else (self._denials, self._successes)
        others.pop(key, None)
        entries.pop(key, None)
        if len(entries) >= self._settings.capacity:
            del entries[next(iter(entries))]
        entries[key] = _Entry(answer, now_ns + kept_ns)


def _aged(answer: Answer, ttl: int) -> Answer:
    return replace(
        answer,
        answer=tuple(replace(record, ttl=ttl) for record in answer.answer),
        authority=tuple(replace(record, ttl=ttl) for record in answer.authority),
        additional=tuple(replace(record, ttl=ttl) for record in answer.additional),
        forwarded=False,
    )
