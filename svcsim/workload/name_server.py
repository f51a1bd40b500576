"""A DNS server's pod: an ordinary `Server` whose work is to answer the question that a request carries.

Its zone is what the pod itself has seen of the cluster; all pods of a world share the zone, which changes when the watch of the
DNS server delivers. Each pod has a cache of its own, for names outside the cluster and, where so configured, for the cluster's.
"""

from __future__ import annotations

from svcsim.datapath.connection import Request
from svcsim.engine.clock import Clock
from svcsim.kube.dns.answers import DnsServer
from svcsim.kube.dns.autopath import autopath, pod_search_path
from svcsim.kube.dns.cache import AnswerCache, CacheSettings
from svcsim.kube.dns.records import Answer, answer_bytes, balanced, fit
from svcsim.linux.packet import UDP
from svcsim.workload.resolving import DnsMessage


class NameService:
    """What a DNS pod does with a request, at the end of its service: `handle` returns the time until it may answer.

    With `cache` forwarded answers are kept, with `caches_cluster` those of the cluster's own zones as well. With
    `autopath_domain` the server walks the search path of a pod that asks.
    """

    __slots__ = ("_autopath_domain", "_cache", "_caches", "_caches_cluster", "_clock", "_server", "answered", "upstream_ns")

    def __init__(
        self, server: DnsServer, upstream_ns: int, clock: Clock | None = None, cache: CacheSettings | None = None, *,
        caches_cluster: bool = False, autopath_domain: str | None = None,
    ) -> None:
        self._server = server
        self.upstream_ns = upstream_ns
        self._clock = clock
        self._cache = cache
        self._caches_cluster = caches_cluster
        self._autopath_domain = autopath_domain
        self._caches: dict[object, AnswerCache] = {}
        self.answered = 0

    def handle(self, request: Request) -> int:
        """Answer the question; a forwarded one takes a round trip to the upstream more, unless the pod's cache has the answer."""
        message = request.payload
        if not isinstance(message, DnsMessage):
            return 0
        self.answered += 1
        name = message.query.name
        answer = self._answer(request, name, message.query.type)
        delay_ns = self.upstream_ns if answer.forwarded else 0
        answer = balanced(answer, int(request.service_uniform * (1 << 30)))
        if request.connection.protocol == UDP:
            answer = fit(name, answer)
        message.answer = answer
        request.answer_bytes = answer_bytes(name, answer)
        return delay_ns

    def _answer(self, request: Request, name: str, rtype: str) -> Answer:
        if self._cache is None or self._clock is None:
            return self._found(request, name, rtype)
        process = request.connection.server
        cache = self._caches.get(process)
        if cache is None:
            cache = self._caches[process] = AnswerCache(self._cache)
        now = self._clock.now
        kept = cache.get(name, rtype, now)
        if kept is not None:
            return kept
        answer = self._found(request, name, rtype)
        if answer.forwarded or self._caches_cluster:
            cache.put(name, rtype, answer, now)
        return answer

    def _found(self, request: Request, name: str, rtype: str) -> Answer:
        client = request.connection.namespace
        if self._autopath_domain is None or client.is_host:
            return self._server.answer(name, rtype)
        search = pod_search_path(client.name.partition("/")[0], self._autopath_domain)
        return autopath(self._server.answer, name, rtype, search)
