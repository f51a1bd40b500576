"""One record a request: written as a fixed-size row by the hot path, read as NumPy columns afterwards.

A row is packed in place into an anonymous memory map of 4,096 rows. When the run has ended,
`RecordWriter.columns` hands the blocks over one by one: each becomes a piece of every column and goes back to
the operating system before the next is read, so rows and columns never stand beside each other whole. A
million requests take about 115 MB.

The parts of `PARTS` partition a request's latency: they sum to it exactly, in integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, IntFlag
from mmap import mmap
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from svcsim.errors import SimulationError

if TYPE_CHECKING:
    import pandas as pd

BLOCK_ROWS = 4096


class Outcome(IntEnum):
    """How a request ended; each request ends in exactly one of these."""

    OK = 0
    REFUSED = 1  # ECONNREFUSED: a RST to the SYN, or ICMP port unreachable
    RESET = 2  # ECONNRESET, or the connection closed before the answer
    CONNECT_TIMEOUT = 3
    REQUEST_TIMEOUT = 4
    NO_ROUTE = 5  # EHOSTUNREACH or ENETUNREACH
    DNS_FAILURE = 6  # NXDOMAIN, SERVFAIL or no answer from the resolver
    SERVER_BUSY = 7  # the server answered that its queue is full
    NO_LOCAL_PORT = 8  # EADDRNOTAVAIL: every client port is taken
    SHED = 9  # the client's own limit of waiting requests was reached
    CLIENT_GONE = 10  # its pod or node was dead at the intended send; part of no success or error rate
    NO_VARIABLE = 11  # the client's container was started without the variable that names its target
    NOT_FOUND = 12  # 404 of an ingress controller: no rule is for this host and path
    BAD_GATEWAY = 13  # 502: the last upstream that it tried refused, reset or was not to be reached
    SERVICE_UNAVAILABLE = 14  # 503: the rule's Service has no ready endpoint
    GATEWAY_TIMEOUT = 15  # 504: the last upstream that it tried did not connect or answer in time

    @property
    def words(self) -> str:
        """The reason in a few words, for tables and figures."""
        return _WORDS[self]

    @property
    def key(self) -> str:
        """The stable snake_case name used in files, such as `connect_timeout`."""
        return self.name.lower()


_WORDS = {
    Outcome.OK: "succeeded",
    Outcome.REFUSED: "refused",
    Outcome.RESET: "reset",
    Outcome.CONNECT_TIMEOUT: "connect time-out",
    Outcome.REQUEST_TIMEOUT: "request time-out",
    Outcome.NO_ROUTE: "no route",
    Outcome.DNS_FAILURE: "DNS failure",
    Outcome.SERVER_BUSY: "server busy",
    Outcome.NO_LOCAL_PORT: "no local port",
    Outcome.SHED: "shed by client",
    Outcome.CLIENT_GONE: "client gone",
    Outcome.NO_VARIABLE: "no variable",
    Outcome.NOT_FOUND: "404 not found",
    Outcome.BAD_GATEWAY: "502 bad gateway",
    Outcome.SERVICE_UNAVAILABLE: "503 unavailable",
    Outcome.GATEWAY_TIMEOUT: "504 time-out",
}


class Flag(IntFlag):
    """Further facts of a request, as bits of the column `flags`."""

    NEW_CONNECTION = 1  # it opened the connection that it used
    RESOLVED = 2  # it waited for the resolver
    CROSS_NODE = 4  # client and server on different nodes
    REDIALED = 8  # a proxy tried more than one endpoint for it: the userspace proxy, an ingress controller
    RETRANSMITTED = 16  # at least one of its segments was sent again
    HAIRPIN = 32  # the client's own pod answered
    MASQUERADED = 64  # the server saw a node's address
    HEDGED = 128  # a second attempt was made beside one that took long
    RETRY_DENIED = 256  # another attempt was due, but the client's budget had none left
    UNREACHED = 512  # its endpoint is the one that the last attempt was sent to, and nobody there took it


PARTS = (
    "wait_ns",  # for a free connection, on the client's side
    "dns_ns",  # for the resolver
    "retry_ns",  # failed attempts and the back-off after them
    "connect_ns",  # handshake of the last attempt
    "request_ns",  # from the send until it reached the server's queue
    "queue_ns",  # in the server's queue
    "service_ns",  # in a worker
    "response_ns",  # from the end of service until the last byte is with the client
)

PART_WORDS = {
    "wait_ns": "waiting for a connection",
    "dns_ns": "name resolution",
    "retry_ns": "failed attempts",
    "connect_ns": "connecting",
    "request_ns": "request on its way",
    "queue_ns": "server queue",
    "service_ns": "service",
    "response_ns": "answer on its way",
}

_LAYOUT: tuple[tuple[str, str, str], ...] = (
    ("start_ns", "q", "<i8"),
    ("latency_ns", "q", "<i8"),
    *((part, "q", "<i8") for part in PARTS),
    ("sequence", "I", "<u4"),
    ("rules", "I", "<u4"),
    ("endpoint", "i", "<i4"),
    ("client_node", "i", "<i4"),
    ("server_node", "i", "<i4"),
    ("workload", "H", "<u2"),
    ("attempts", "H", "<u2"),
    ("flags", "H", "<u2"),
    ("outcome", "B", "u1"),
)
COLUMNS = tuple(name for name, _, _ in _LAYOUT)
ROW_DTYPE = np.dtype([(name, dtype) for name, _, dtype in _LAYOUT])
_ROW = Struct("<" + "".join(code for _, code, _ in _LAYOUT))
ROW_BYTES = _ROW.size
BLOCK_BYTES = ROW_BYTES * BLOCK_ROWS
_pack_into = _ROW.pack_into


class RecordWriter:
    """Takes one row a request while the run goes on, and hands all of them over as columns at its end."""

    __slots__ = ("_block", "_blocks", "_columns", "_offset")

    def __init__(self) -> None:
        self._blocks: list[mmap] = []
        self._offset = BLOCK_BYTES
        self._block: mmap
        self._columns: Requests | None = None

    def row(
        self,
        workload: int,
        sequence: int,
        start_ns: int,
        latency_ns: int,
        wait_ns: int,
        dns_ns: int,
        retry_ns: int,
        connect_ns: int,
        request_ns: int,
        queue_ns: int,
        service_ns: int,
        response_ns: int,
        outcome: int,
        attempts: int,
        endpoint: int,
        client_node: int,
        server_node: int,
        rules: int,
        flags: int,
    ) -> None:
        """Record one request that has ended.

        `start_ns` is the intended send; `endpoint` indexes the run's table of endpoint names and the nodes
        its table of nodes, -1 where there was none; `rules` counts the rules examined for its connection.
        The endpoint is the one that the last attempt was sent to, whether it was reached or not (`Flag.UNREACHED`).
        """
        offset = self._offset
        if offset == BLOCK_BYTES:
            self._next_block()
            offset = 0
        _pack_into(
            self._block, offset, start_ns, latency_ns, wait_ns, dns_ns, retry_ns, connect_ns, request_ns,
            queue_ns, service_ns, response_ns, sequence, rules, endpoint, client_node, server_node, workload,
            attempts, flags, outcome,
        )
        self._offset = offset + ROW_BYTES

    def _next_block(self) -> None:
        if self._columns is not None:
            raise SimulationError("a request ended after the run's records were handed over")
        self._block = mmap(-1, BLOCK_BYTES)
        self._blocks.append(self._block)
        self._offset = 0

    def __len__(self) -> int:
        if self._columns is not None:
            return len(self._columns)
        return max(0, len(self._blocks) - 1) * BLOCK_ROWS + (self._offset // ROW_BYTES if self._blocks else 0)

    def columns(self) -> Requests:
        """All rows as columns, in the order in which the requests ended; the writer then takes no further
        row.
        """
        if self._columns is None:
            total = len(self)
            columns = {name: np.empty(total, ROW_DTYPE[name]) for name in COLUMNS}
            blocks = self._blocks
            blocks.reverse()
            start = 0
            while blocks:
                block = blocks.pop()
                rows = np.frombuffer(block, ROW_DTYPE, min(BLOCK_ROWS, total - start))
                for name, column in columns.items():
                    column[start : start + len(rows)] = rows[name]
                start += len(rows)
                del rows
                if blocks:
                    block.close()
            self._columns = Requests(columns)
            self._offset = BLOCK_BYTES
        return self._columns


class Column:
    """A column of `Requests`, taken from its source when it is first asked for."""

    __slots__ = ("_name",)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, requests: Requests, owner: type) -> NDArray[np.int64]:
        return requests.column(self._name)


class Requests:
    """Records of requests, a NumPy array a column; a selection copies only the columns that are read from it.
    """

    __slots__ = ("_columns", "_rows", "_size", "_source")

    start_ns = Column()
    latency_ns = Column()
    wait_ns = Column()
    dns_ns = Column()
    retry_ns = Column()
    connect_ns = Column()
    request_ns = Column()
    queue_ns = Column()
    service_ns = Column()
    response_ns = Column()
    sequence = Column()
    rules = Column()
    endpoint = Column()
    client_node = Column()
    server_node = Column()
    workload = Column()
    attempts = Column()
    flags = Column()
    outcome = Column()

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        missing = [name for name in COLUMNS if name not in columns]
        if missing:
            raise ValueError(f"records lack the columns {', '.join(missing)}")
        self._columns: dict[str, NDArray[Any]] = {name: columns[name] for name in COLUMNS}
        self._size = len(self._columns["start_ns"])
        if any(len(column) != self._size for column in self._columns.values()):
            raise ValueError("the columns of the records differ in length")
        self._source: Requests | None = None
        self._rows: NDArray[np.signedinteger[Any]] | None = None

    @classmethod
    def empty(cls) -> Requests:
        """No requests at all."""
        return cls({name: np.empty(0, ROW_DTYPE[name]) for name in COLUMNS})

    @classmethod
    def concatenate(cls, pieces: list[Requests]) -> Requests:
        """The rows of several runs, one after the other; indices keep the meaning that each run gave them."""
        if not pieces:
            return cls.empty()
        return cls({name: np.concatenate([piece.column(name) for piece in pieces]) for name in COLUMNS})

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<records of {self._size:,} requests, {len(COLUMNS)} columns>"

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def column(self, name: str, *, keep: bool = True) -> NDArray[Any]:
        """One column by its name; a selection keeps its copy unless told not to. KeyError if there is none of that name."""
        column = self._columns.get(name)
        if column is None:
            if self._source is None:
                raise KeyError(name)
            column = self._source.column(name, keep=keep)[self._rows]
            if keep:
                self._columns[name] = column
        return column

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Requests:
        """The rows where a mask is true, or of the given indices."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        index = np.int32 if self._size < 2**31 else np.intp
        selection = Requests.__new__(Requests)
        selection._columns = {}
        selection._size = len(rows)
        selection._source = self
        selection._rows = rows.astype(index)
        return selection

    def during(self, start_ns: int | None, end_ns: int | None) -> Requests:
        """The requests whose intended send lies in `[start_ns, end_ns)`; None leaves a side open."""
        if start_ns is None and end_ns is None:
            return self
        starts = self.start_ns
        chosen = np.ones(len(self), np.bool_)
        if start_ns is not None:
            chosen &= starts >= start_ns
        if end_ns is not None:
            chosen &= starts < end_ns
        return self.select(chosen)

    @property
    def end_ns(self) -> NDArray[np.int64]:
        """When each request ended."""
        ends: NDArray[np.int64] = self.start_ns + self.latency_ns
        return ends

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """Which requests got their answer."""
        chosen: NDArray[np.bool_] = self.outcome == Outcome.OK
        return chosen

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which requests did not; a client that was dead itself sent none, so `client gone` is neither."""
        outcome = self.outcome
        chosen: NDArray[np.bool_] = (outcome != Outcome.OK) & (outcome != Outcome.CLIENT_GONE)
        return chosen

    def check_conservation(self) -> None:
        """Raise SimulationError unless each request's parts are non-negative and sum exactly to its latency.
        """
        total = np.zeros(len(self), np.int64)
        for part in PARTS:
            column = self.column(part)
            total += column
            self._require(column >= 0, f"{part} is negative")
        self._require(total == self.latency_ns, "the parts do not sum to the latency")
        self._require(self.outcome <= max(Outcome), "the outcome is none of the known ones")

    def _require(self, holds: NDArray[np.bool_], law: str) -> None:
        broken = np.flatnonzero(~holds)
        if len(broken):
            first = int(broken[0])
            row = ", ".join(f"{name}={int(self.column(name)[first])}" for name in COLUMNS)
            raise SimulationError(f"{law} in {len(broken)} of {len(self)} requests; the first: {row}")

    def to_pandas(self) -> pd.DataFrame:
        """A pandas DataFrame with a column each; outcomes as a categorical of their keys. Needs pandas."""
        import pandas as pd

        frame = pd.DataFrame({name: self.column(name) for name in COLUMNS}, copy=False)
        frame["outcome"] = pd.Categorical.from_codes(self.outcome, [outcome.key for outcome in Outcome])
        return frame
