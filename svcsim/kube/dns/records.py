"""DNS resource records and answers as values (RFC 1035, RFC 2782).

Names are absolute and end with a dot; owner names keep the letter case of the question, as servers do.
Addresses are `svcsim.linux.address` ints, TTLs are seconds, as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from svcsim.linux.address import Address, is_ipv6

RecordType = Literal["A", "AAAA", "ANY", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]
RECORD_TYPES: tuple[RecordType, ...] = get_args(RecordType)
Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]

HEADER_BYTES = 12
UDP_LIMIT_BYTES = 512
"""Largest UDP answer for a client that sends no EDNS0 option (RFC 1035 section 4.2.1)."""


@dataclass(frozen=True, slots=True)
class Srv:
    """Data of an SRV record."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Soa:
    """Data of an SOA record; `minimum` is the TTL of negative answers."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record of class IN; `data` is an Address for A and AAAA, else a name or text, an Srv or an Soa."""

    name: str
    type: RecordType
    ttl: int
    data: Address | str | Srv | Soa


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to one question.

    `forwarded` says that the server had to ask its upstream, which costs a round trip from the server.
    """

    rcode: Rcode = "NOERROR"
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    truncated: bool = False
    forwarded: bool = False

    @property
    def is_nodata(self) -> bool:
        """The name exists, without a record of the type asked for."""
        return self.rcode == "NOERROR" and not self.answer

    def addresses(self) -> tuple[Address, ...]:
        """The addresses in the answer section, in its order."""
        return tuple(Address(record.data) for record in self.answer if isinstance(record.data, int))


def address_record(name: str, ttl: int, address: Address) -> Record:
    """An A or AAAA record, by the family of the address."""
    return Record(name, "AAAA" if is_ipv6(address) else "A", ttl, address)


def name_bytes(name: str) -> int:
    """Length of an uncompressed name on the wire: a length byte a label and the root's."""
    return 1 if name == "." else len(name.rstrip(".")) + 2


def question_bytes(name: str) -> int:
    """Length of a query with one question, without EDNS0."""
    return HEADER_BYTES + name_bytes(name) + 4


def _record_bytes(record: Record, question: str) -> int:
    owner = 2 if record.name.lower() == question.lower() else name_bytes(record.name)
    data = record.data
    if isinstance(data, int):
        length = 16 if is_ipv6(data) else 4
    elif isinstance(data, Srv):
        length = 6 + name_bytes(data.target)
    elif isinstance(data, Soa):
        length = name_bytes(data.mname) + name_bytes(data.rname) + 20
    elif record.type == "TXT":
        length = len(data) + 1
    else:
        length = name_bytes(data)
    return owner + 10 + length


def answer_bytes(question: str, answer: Answer) -> int:
    """Length of an answer on the wire, where only the owner name of the question is compressed."""
    records = answer.answer + answer.authority + answer.additional
    return question_bytes(question) + sum(_record_bytes(record, question) for record in records)


def fit(question: str, answer: Answer, limit_bytes: int = UDP_LIMIT_BYTES) -> Answer:
    """The answer as it fits a datagram: without its additional section, or cut at the end, with TC set.

    Source: RFC 2181 section 9, coredns request.Scrub: a dropped additional section alone does not set TC.
    """
    if answer_bytes(question, answer) <= limit_bytes:
        return answer
    slim = replace(answer, additional=())
    if answer_bytes(question, slim) <= limit_bytes:
        return slim
    room = limit_bytes - question_bytes(question)
    fitting: list[Record] = []
    for record in answer.answer:
        room -= _record_bytes(record, question)
        if room < 0:
            break
        fitting.append(record)
    return replace(slim, answer=tuple(fitting), authority=(), truncated=True)


def balanced(answer: Answer, bits: int) -> Answer:
    """The answer with its address records shuffled by 64 random bits, behind its aliases.

    Source: coredns plugin/loadbalance, policy round_robin, which is in the default Corefile.
    """
    aliases = [record for record in answer.answer if record.type == "CNAME"]
    addresses = [record for record in answer.answer if record.type in ("A", "AAAA")]
    if len(addresses) < 2:
        return answer
    others = [record for record in answer.answer if record.type not in ("A", "AAAA", "CNAME")]
    for position in range(len(addresses) - 1):
        bits = (bits * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        chosen = position + (bits >> 33) % (len(addresses) - position)
        addresses[position], addresses[chosen] = addresses[chosen], addresses[position]
    return replace(answer, answer=(*aliases, *addresses, *others))
