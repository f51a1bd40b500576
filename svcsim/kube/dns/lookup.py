"""One name resolution as a state machine without a clock or a network: what glibc's and musl's have in common.

A driver sends what `next_queries` hands out, keeps one timer at `deadline_ns`, and reports each answer, refusal (ICMP
port unreachable) and expiry of the timer. At the end `result` is set and there is nothing more to send.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from svcsim.kube.dns.records import Answer, RecordType
from svcsim.kube.dns.resolv_conf import ResolverOptions
from svcsim.linux.address import Address

Family = Literal["any", "IPv4", "IPv6"]
Transport = Literal["udp", "tcp"]
Outcome = Literal["ANSWER", "NODATA", "NXDOMAIN", "SERVFAIL", "TIMEOUT", "REFUSED", "FAIL"]
Status = Literal["ok", "not found", "no data", "try again", "fail"]

NS_PER_S = 1_000_000_000
_NAME_MAX = 254

STATUS: dict[Outcome, Status] = {
    "ANSWER": "no data",
    "NODATA": "no data",
    "NXDOMAIN": "not found",
    "SERVFAIL": "try again",
    "TIMEOUT": "try again",
    "REFUSED": "try again",
    "FAIL": "fail",
}
"""What the caller is told of a name's outcome; an answer without an address is no data."""


@dataclass(frozen=True, slots=True)
class Query:
    """A message to send: a question to a server (index into the name servers) over a transport.

    A repeated question keeps its `ident`, so that a late answer to an earlier copy counts.
    """

    ident: int
    name: str
    type: RecordType
    server: int
    transport: Transport = "udp"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name that was asked for, and what came of it."""

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Resolution:
    """The end of a look-up: its addresses, IPv4 first, the name that has them, and the way there."""

    status: Status
    name: str | None
    addresses: tuple[Address, ...]
    candidates: tuple[Candidate, ...]
    queries_sent: int


def searched_names(name: str, searches: Sequence[str]) -> list[str]:
    """The name in each search domain, absolute; too long ones are left out."""
    names = [f"{name}." if domain == "." else f"{name}.{domain.strip('.')}." for domain in searches]
    return [each for each in names if len(each) <= _NAME_MAX]


def wanted_types(family: Family, options: ResolverOptions) -> tuple[RecordType, ...]:
    """The questions for a family, in the order in which they are sent."""
    if family == "any":
        return ("A",) if options.no_aaaa else ("A", "AAAA")
    return ("A",) if family == "IPv4" else ("AAAA",)


class Lookup(ABC):
    """One getaddrinfo call."""

    def __init__(self, names: list[str], types: tuple[RecordType, ...], servers: int) -> None:
        self.result: Resolution | None = None
        self.deadline_ns = 0
        self._names = names
        self._types = types
        self._servers = servers
        self._position = 0
        self._tried: list[Candidate] = []
        self._answers: dict[RecordType, Answer] = {}
        self._outbox: list[Query] = []
        self._sent = 0

    @property
    def name(self) -> str:
        """The candidate that is asked for now."""
        return self._names[self._position]

    def next_queries(self) -> tuple[Query, ...]:
        """The messages to send now; each is handed out once."""
        queries = tuple(self._outbox)
        self._outbox.clear()
        self._sent += len(queries)
        return queries

    @abstractmethod
    def on_answer(self, ident: int, answer: Answer, now_ns: int, server: int = 0) -> None:
        """A server (index) answered; an answer to a question that is not open any more is ignored."""

    @abstractmethod
    def on_refused(self, ident: int, now_ns: int) -> None:
        """The host of the server refused the query (ICMP port unreachable)."""

    @abstractmethod
    def on_timeout(self, now_ns: int) -> None:
        """The time `deadline_ns` has come."""

    def _queue(self, qtype: RecordType, server: int, transport: Transport = "udp") -> None:
        ident = self._position * len(self._types) + self._types.index(qtype)
        self._outbox.append(Query(ident, self.name, qtype, server, transport))

    def _open_question(self, ident: int) -> RecordType | None:
        """The type of an open question, None when the ident is not of the current candidate or is answered."""
        position, index = divmod(ident, len(self._types))
        if self.result is not None or position != self._position:
            return None
        qtype = self._types[index]
        return None if qtype in self._answers else qtype

    def _finish(self, status: Status, name: str | None = None) -> None:
        addresses: tuple[Address, ...] = ()
        if name is not None:
            for qtype in self._types:
                if qtype in self._answers:
                    addresses += self._answers[qtype].addresses()
            status = "ok" if addresses else "no data"
        self._outbox.clear()
        self.result = Resolution(status, name, addresses, tuple(self._tried), self._sent)
