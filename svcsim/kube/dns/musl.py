"""musl's stub resolver.

It asks all servers at once and takes the first answer to each question, repeats the open ones at each part of its one
time-out, and gives up when that is over. Only NXDOMAIN leads on to the next name; a name with `ndots` dots is not searched
at all. It does not hear refusals, and retries a SERVFAIL at once, twice a question and round.

Sources: musl src/network/lookup_name.c (name_from_dns_search, name_from_dns), src/network/res_msend.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.kube.dns.lookup import NS_PER_S, Candidate, Lookup, Outcome, searched_names
from svcsim.kube.dns.records import Answer, RecordType
from svcsim.kube.dns.resolv_conf import ResolverOptions


def musl_names(name: str, searches: Sequence[str], options: ResolverOptions) -> list[str]:
    """The absolute names that musl tries, in order.

    >>> musl_names("web.ns", ["default.svc.cluster.local"], ResolverOptions(ndots=1))
    ['web.ns.']
    """
    bare = name.removesuffix(".")
    if name.endswith(".") or bare.count(".") >= options.ndots:
        return [f"{bare}."]
    return [*searched_names(bare, searches), f"{bare}."]


class MuslLookup(Lookup):
    """A look-up as musl makes it."""

    def __init__(
        self,
        names: list[str],
        types: tuple[RecordType, ...],
        servers: int,
        options: ResolverOptions,
        now_ns: int,
    ) -> None:
        super().__init__(names, types, servers)
        self._timeout_ns = options.timeout_s * NS_PER_S
        self._interval_ns = self._timeout_ns // options.attempts
        self._start_candidate(now_ns)

    def _start_candidate(self, now_ns: int) -> None:
        self._answers.clear()
        self._end_ns = now_ns + self._timeout_ns
        self._start_round(now_ns)

    def _start_round(self, now_ns: int) -> None:
        self._servfail_retries = 2 * len(self._types)
        self.deadline_ns = min(now_ns + self._interval_ns, self._end_ns)
        for qtype in self._types:
            if qtype not in self._answers:
                for server in range(self._servers):
                    self._queue(qtype, server)

    def on_answer(self, ident: int, answer: Answer, now_ns: int, server: int = 0) -> None:
        """See `Lookup`."""
        qtype = self._open_question(ident)
        if qtype is None:
            return
        if answer.truncated:
            self._queue(qtype, server, "tcp")
            return
        if answer.rcode == "SERVFAIL" and self._servfail_retries:
            self._servfail_retries -= 1
            self._queue(qtype, server)
        if answer.rcode not in ("NOERROR", "NXDOMAIN"):
            return
        self._answers[qtype] = answer
        if len(self._answers) == len(self._types):
            self._conclude(now_ns)

    def on_refused(self, ident: int, now_ns: int) -> None:
        """See `Lookup`; the socket is not connected, so that musl does not hear of it."""

    def on_timeout(self, now_ns: int) -> None:
        """See `Lookup`."""
        if self.result is not None:
            return
        if now_ns < self._end_ns:
            self._start_round(now_ns)
            return
        self._tried.append(Candidate(self.name, "TIMEOUT"))
        self._finish("try again")

    def _conclude(self, now_ns: int) -> None:
        answers = self._answers.values()
        outcome: Outcome = "NODATA"
        if any(answer.rcode == "NXDOMAIN" for answer in answers):
            outcome = "NXDOMAIN"
        elif any(answer.answer for answer in answers):
            outcome = "ANSWER"
        self._tried.append(Candidate(self.name, outcome))
        if outcome == "ANSWER":
            self._finish("ok", self.name)
        elif outcome == "NODATA":
            self._finish("no data")
        elif self._position + 1 == len(self._names):
            self._finish("not found")
        else:
            self._position += 1
            self._start_candidate(now_ns)
