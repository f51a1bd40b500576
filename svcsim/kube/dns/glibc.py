"""glibc's stub resolver.

It asks a server at a time, A and AAAA at once over one socket. If only one of both is answered in time it asks the same
server again, one question after the other, and goes on so for the life of the process (`learned_single_request`): the cause
of the 5 s look-ups when one of two packets is lost. A server that refuses or fails is passed over at once; `attempts` rounds
over the servers are made. A name that nobody answers ends the search; the bare name is tried nevertheless.

Sources: glibc resolv/res_query.c (__res_context_search, __res_context_query) and resolv/res_send.c
(__res_context_send, send_dg).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from svcsim.kube.dns.lookup import NS_PER_S, STATUS, Candidate, Lookup, Outcome, Status, Transport, searched_names
from svcsim.kube.dns.records import Answer, RecordType
from svcsim.kube.dns.resolv_conf import ResolverOptions

_FAILED = ("SERVFAIL", "NOTIMP", "REFUSED")


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """The absolute names that are tried in order, and which of them is the bare one (None: it is not tried)."""

    names: list[str]
    bare: int | None


def glibc_order(name: str, searches: Sequence[str], options: ResolverOptions) -> SearchOrder:
    """The names that glibc tries.

    >>> glibc_order("web.ns", ["default.svc.cluster.local", "svc.cluster.local"], ResolverOptions(ndots=5)).names
    ['web.ns.default.svc.cluster.local.', 'web.ns.svc.cluster.local.', 'web.ns.']
    """
    bare = f"{name.removesuffix('.')}."
    dots = bare.count(".") - 1
    if name.endswith("."):
        return SearchOrder([bare], 0)
    searched = searched_names(bare.removesuffix("."), searches)
    if dots >= options.ndots:
        return SearchOrder([bare, *(each for each in searched if each != bare)], 0)
    if bare in searched or (dots == 0 and searched and options.no_tld_query):
        return SearchOrder(searched, None)
    return SearchOrder([*searched, bare], len(searched))


class GlibcLookup(Lookup):
    """A look-up as glibc makes it."""

    def __init__(
        self,
        order: SearchOrder,
        types: tuple[RecordType, ...],
        servers: int,
        options: ResolverOptions,
        rotation: int,
        single_request: bool,
        now_ns: int,
    ) -> None:
        super().__init__(order.names, types, servers)
        self._options = options
        self._rotation = rotation
        self.learned_single_request = single_request
        self._single = single_request or options.single_request
        self._reopened = False
        self._bare = order.bare
        self._start_candidate(now_ns)

    def _start_candidate(self, now_ns: int) -> None:
        self._step = 0
        self._transport: Transport = "tcp" if self._options.use_tcp else "udp"
        self._heard = False
        self._servfail = False
        self._start_step(now_ns)

    def _start_step(self, now_ns: int) -> None:
        """Ask the step's server everything anew."""
        self._answers.clear()
        self._void: list[RecordType] = []
        self._outbox.clear()
        server = (self._step + self._rotation) % self._servers
        seconds = self._options.timeout_s << server
        if server > 0:
            seconds //= self._servers
        self._wait_ns = max(seconds, 1) * NS_PER_S
        self.deadline_ns = now_ns + self._wait_ns
        for qtype in self._types[:1] if self._single else self._types:
            self._queue(qtype, server, self._transport)

    def on_answer(self, ident: int, answer: Answer, now_ns: int, server: int = 0) -> None:
        """See `Lookup`."""
        qtype = self._open_question(ident)
        if qtype is None or qtype in self._void:
            return
        self._heard = True
        if answer.truncated and self._transport == "udp":
            self._transport = "tcp"
            self._start_step(now_ns)
            return
        if answer.rcode in _FAILED:
            self._servfail |= answer.rcode == "SERVFAIL"
            self._void.append(qtype)
        else:
            self._answers[qtype] = answer
        waiting = [each for each in self._types if each not in self._answers and each not in self._void]
        if not waiting:
            if self._answers:
                self._conclude(now_ns)
            else:
                self._next_step(now_ns)
        elif self._single:
            self.deadline_ns = now_ns + self._wait_ns
            self._queue(waiting[0], (self._step + self._rotation) % self._servers, self._transport)

    def on_refused(self, ident: int, now_ns: int) -> None:
        """See `Lookup`."""
        if self._open_question(ident) is not None:
            self._next_step(now_ns)

    def on_timeout(self, now_ns: int) -> None:
        """See `Lookup`."""
        if self.result is not None:
            return
        half = bool(self._answers or self._void)
        if half and not self._single:
            self._single = self.learned_single_request = True
            self._start_step(now_ns)
        elif half and not self._reopened:
            self._reopened = True
            self._start_step(now_ns)
        elif self._answers:
            self._conclude(now_ns)
        else:
            self._heard = True
            self._next_step(now_ns)

    def _next_step(self, now_ns: int) -> None:
        self._step += 1
        if self._step < self._options.attempts * self._servers:
            self._start_step(now_ns)
            return
        self._answers.clear()
        outcome: Outcome = "SERVFAIL" if self._servfail else "TIMEOUT" if self._heard else "REFUSED"
        self._conclude_as(outcome, now_ns)

    def _conclude(self, now_ns: int) -> None:
        answers = self._answers.values()
        if any(answer.answer for answer in answers):
            self._tried.append(Candidate(self.name, "ANSWER"))
            self._finish("ok", self.name)
            return
        if any(answer.rcode == "NOERROR" for answer in answers):
            self._conclude_as("NODATA", now_ns)
        elif any(answer.rcode == "NXDOMAIN" for answer in answers):
            self._conclude_as("NXDOMAIN", now_ns)
        else:
            self._conclude_as("FAIL", now_ns)

    def _conclude_as(self, outcome: Outcome, now_ns: int) -> None:
        """The candidate has no answer: go on to the next name, or to the bare name, or end."""
        self._tried.append(Candidate(self.name, outcome))
        last = len(self._names) - 1
        following = self._position + 1
        if self._position != self._bare:
            if outcome == "REFUSED":
                following = last + 1
            elif outcome in ("TIMEOUT", "FAIL"):
                following = last if self._bare == last else last + 1
        if following > last:
            self._finish(self._failure())
            return
        self._position = following
        self._start_candidate(now_ns)

    def _failure(self) -> Status:
        """Why there is no answer: as for the bare name if it was tried first, else no data if any name exists."""
        outcomes = [candidate.outcome for candidate in self._tried]
        if outcomes[-1] == "REFUSED":
            return "try again"
        if self._bare == 0:
            return STATUS[outcomes[0]]
        for outcome in ("NODATA", "SERVFAIL"):
            if outcome in outcomes:
                return STATUS[outcome]
        return STATUS[outcomes[-1]]
