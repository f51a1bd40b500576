"""The stub resolver of a client: its resolv.conf, its C library, and what it has learned in earlier look-ups.

>>> from svcsim.kube.dns.resolv_conf import ResolvConf
>>> resolver = Resolver(ResolvConf(("10.96.0.10",), ("default.svc.cluster.local", "svc.cluster.local"), ("ndots:5",)))
>>> lookup = resolver.start("web", now_ns=0)
>>> [(query.name, query.type) for query in lookup.next_queries()]
[('web.default.svc.cluster.local.', 'A'), ('web.default.svc.cluster.local.', 'AAAA')]
>>> lookup.deadline_ns
5000000000
"""

from __future__ import annotations

from copy import copy
from typing import Literal

from svcsim.kube.dns.glibc import GlibcLookup, glibc_order
from svcsim.kube.dns.lookup import Candidate, Family, Lookup, Query, Resolution, wanted_types
from svcsim.kube.dns.musl import MuslLookup, musl_names
from svcsim.kube.dns.records import RecordType
from svcsim.kube.dns.resolv_conf import ResolvConf, ResolverOptions
from svcsim.linux.address import Address, parse_address

__all__ = ["Candidate", "Libc", "Lookup", "Query", "Resolution", "Resolver"]

Libc = Literal["glibc", "musl"]

_SERVERS_MAX = 3


class Resolver:
    """The resolver of one process. `servers` are the addresses that the `server` of a Query indexes (at most 3)."""

    def __init__(self, conf: ResolvConf, libc: Libc = "glibc") -> None:
        self.libc = libc
        self.options = ResolverOptions.parse(conf.options, libc)
        self.searches = conf.searches
        self.servers: tuple[Address, ...] = tuple(
            parse_address(text) for text in (conf.nameservers or ("127.0.0.1",))[:_SERVERS_MAX]
        )
        self._single_request = False
        self._rotation = 0

    def anew(self) -> Resolver:
        """The resolver of another process with the same files, which has learned nothing yet."""
        other = copy(self)
        other._single_request, other._rotation = False, 0
        return other

    def names(self, name: str) -> list[str]:
        """The absolute names that a look-up tries, in order."""
        if self.libc == "musl":
            return musl_names(name, self.searches, self.options)
        return glibc_order(name, self.searches, self.options).names

    def start(self, name: str, now_ns: int, family: Family = "any", rtype: RecordType | None = None) -> Lookup:
        """Begin a look-up of addresses (getaddrinfo), or of one type (res_search); tell `learn` when it has ended."""
        types = wanted_types(family, self.options) if rtype is None else (rtype,)
        count = len(self.servers)
        if self.libc == "musl":
            return MuslLookup(musl_names(name, self.searches, self.options), types, count, self.options, now_ns)
        rotation = 0
        if self.options.rotate:
            rotation = self._rotation
            self._rotation = (rotation + 1) % count
        order = glibc_order(name, self.searches, self.options)
        return GlibcLookup(order, types, count, self.options, rotation, self._single_request, now_ns)

    def learn(self, lookup: Lookup) -> None:
        """Take over what an ended look-up has found out about the servers."""
        if isinstance(lookup, GlibcLookup):
            self._single_request |= lookup.learned_single_request
