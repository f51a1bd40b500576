"""DNS messages on the wire, by dnspython: a question's bytes in, an answer's bytes out, as CoreDNS's server does it.

Without EDNS0 an answer over UDP has at most 512 bytes, with it as many as the client says. One that is longer loses its
additional section, then records from its end, with TC set: the client asks again over TCP. Sources: RFC 1035 section 4, RFC 6891,
coredns request.SizeAndDo and Scrub, core/dnsserver/server.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from svcsim.kube.dns.presentation import data_text
from svcsim.kube.dns.records import UDP_LIMIT_BYTES, Answer, Record

AnswerOf = Callable[[str, str], Answer]
"""The answer to a question: its absolute name and its type."""

TCP_LIMIT_BYTES = 65535
OWN_PAYLOAD_BYTES = 1232
"""What the server says that it takes itself (DNS flag day 2020)."""


def answer_message(wire: bytes, answer_of: AnswerOf, *, tcp: bool) -> bytes | None:
    """The reply to a message; None for what is no question and gets no reply, FORMERR for one that cannot be read."""
    try:
        question = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return _malformed(wire)
    if question.flags & dns.flags.QR:
        return None
    reply = dns.message.make_response(question, recursion_available=True, our_payload=OWN_PAYLOAD_BYTES)
    limit = TCP_LIMIT_BYTES if tcp else max(UDP_LIMIT_BYTES, question.payload if question.edns >= 0 else 0)
    if question.opcode() != dns.opcode.QUERY:
        reply.set_rcode(dns.rcode.NOTIMP)
    elif len(question.question) != 1:
        reply.set_rcode(dns.rcode.FORMERR)
    elif question.question[0].rdclass != dns.rdataclass.IN:
        reply.set_rcode(dns.rcode.REFUSED)
    else:
        asked = question.question[0]
        _fill(reply, answer_of(asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)))
    return _fitted(reply, limit)


def _malformed(wire: bytes) -> bytes | None:
    """A header that says FORMERR, if there was one to answer."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    return wire[:2] + bytes((0x80 | wire[2] & 0x79, 0x80 | int(dns.rcode.FORMERR))) + bytes(8)


def _fill(reply: dns.message.Message, answer: Answer) -> None:
    reply.set_rcode(dns.rcode.from_text(answer.rcode))
    if not answer.forwarded and answer.rcode != "REFUSED":
        reply.flags |= dns.flags.AA
    if answer.truncated:
        reply.flags |= dns.flags.TC
    reply.answer = _rrsets(answer.answer)
    reply.authority = _rrsets(answer.authority)
    reply.additional = _rrsets(answer.additional)


def _rrsets(records: Iterable[Record]) -> list[dns.rrset.RRset]:
    """Records of one name and type stand together, in the order of their first."""
    sets: dict[tuple[dns.name.Name, str], dns.rrset.RRset] = {}
    for record in records:
        name = dns.name.from_text(record.name)
        rdata = dns.rdata.from_text("IN", record.type, data_text(record))
        found = sets.get((name, record.type))
        if found is None:
            found = sets[name, record.type] = dns.rrset.RRset(name, dns.rdataclass.IN, rdata.rdtype)
        found.add(rdata, record.ttl)
    return list(sets.values())


def _fitted(reply: dns.message.Message, limit: int) -> bytes:
    while True:
        try:
            return reply.to_wire(max_size=limit)
        except dns.exception.TooBig:
            pass
        if reply.additional:
            reply.additional = []
            continue
        reply.flags |= dns.flags.TC
        reply.authority = []
        if not reply.answer:
            return reply.to_wire(max_size=limit)
        last = reply.answer[-1]
        shorter = list(last)[: len(last) // 2]
        if shorter:
            reply.answer[-1] = dns.rrset.from_rdata_list(last.name, last.ttl, shorter)
        else:
            reply.answer.pop()
