"""A DNS server's pod: an ordinary `Server` whose work is to answer the question that a request carries.

Its zone is what the pod itself has seen of the cluster; all pods of a world share the zone, which changes when the watch of the
DNS server delivers.
"""

from __future__ import annotations

from svcsim.datapath.connection import Request
from svcsim.kube.dns.answers import DnsServer
from svcsim.kube.dns.records import answer_bytes, balanced, fit
from svcsim.linux.packet import UDP
from svcsim.workload.resolving import DnsMessage


class NameService:
    """What a DNS pod does with a request, at the end of its service: `handle` returns the time until it may answer."""

    __slots__ = ("_server", "answered", "upstream_ns")

    def __init__(self, server: DnsServer, upstream_ns: int) -> None:
        self._server = server
        self.upstream_ns = upstream_ns
        self.answered = 0

    def handle(self, request: Request) -> int:
        """Answer the question; a forwarded one takes a round trip to the upstream more."""
        message = request.payload
        if not isinstance(message, DnsMessage):
            return 0
        self.answered += 1
        name = message.query.name
        answer = self._server.answer(name, message.query.type)
        answer = balanced(answer, int(request.service_uniform * (1 << 30)))
        if request.connection.protocol == UDP:
            answer = fit(name, answer)
        message.answer = answer
        request.answer_bytes = answer_bytes(name, answer)
        return self.upstream_ns if answer.forwarded else 0
