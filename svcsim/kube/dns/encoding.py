"""Questions and answers as bytes, as long as the model counts them: only the question's name is compressed in answers.

Source: RFC 1035 section 4, RFC 2782 (SRV), RFC 3596 (AAAA). For servers that real resolvers ask there is `svcsim.kube.dns.wire`.
"""

from __future__ import annotations

import struct

from svcsim.kube.dns.lookup import Query
from svcsim.kube.dns.records import Answer, Rcode, Record, RecordType, Soa, Srv
from svcsim.linux.address import address_value, is_ipv6

_TYPES: dict[RecordType, int] = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
_RCODES: dict[Rcode, int] = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
_CLASS_IN = 1
_TYPE_OPT, _PADDING, _EDNS_PAYLOAD_BYTES, _OPT_BYTES = 41, 12, 1232, 11
_RECURSION_DESIRED, _RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_AVAILABLE = 0x0100, 0x8000, 0x0400, 0x0200, 0x0080
_POINTER_TO_QUESTION = b"\xc0\x0c"


def encode_query(query: Query) -> bytes:
    """A question as a resolver sends it.

    >>> encode_query(Query(7, "web.", "A", 0)).hex()
    '000701000001000000000000037765620000010001'
    """
    header = struct.pack("!HHHHHH", query.ident & 0xFFFF, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + _name(query.name) + struct.pack("!HH", _TYPES[query.type], _CLASS_IN)


def encode_answer(query: Query, answer: Answer) -> bytes:
    """A server's answer to a question."""
    flags = _RESPONSE | _RECURSION_DESIRED | _RCODES[answer.rcode]
    flags |= _RECURSION_AVAILABLE if answer.forwarded else _AUTHORITATIVE
    if answer.truncated:
        flags |= _TRUNCATED
    sections = (answer.answer, answer.authority, answer.additional)
    header = struct.pack("!HHHHHH", query.ident & 0xFFFF, flags, 1, *map(len, sections))
    question = _name(query.name) + struct.pack("!HH", _TYPES[query.type], _CLASS_IN)
    records = [_record(record, query.name) for section in sections for record in section]
    return b"".join((header, question, *records))


def encode_padded(name: str, size: int, *, is_answer: bool) -> bytes:
    """A message about a name that is padded to a size (RFC 6891, RFC 7830); zeros where it is too small for that.

    >>> len(encode_padded("web.", 60, is_answer=False)), encode_padded("web.", 20, is_answer=True) == bytes(20)
    (60, True)
    """
    flags = _RECURSION_DESIRED | (_RESPONSE | _RECURSION_AVAILABLE if is_answer else 0)
    question = struct.pack("!HHHHHH", 1, flags, 1, 0, 0, 1) + _name(name) + struct.pack("!HH", _TYPES["A"], _CLASS_IN)
    room = size - len(question) - _OPT_BYTES - 4
    if room < 0:
        return bytes(size)
    record = struct.pack("!BHHIH", 0, _TYPE_OPT, _EDNS_PAYLOAD_BYTES, 0, room + 4)
    return question + record + struct.pack("!HH", _PADDING, room) + bytes(room)


def _record(record: Record, question: str) -> bytes:
    owner = _POINTER_TO_QUESTION if record.name.lower() == question.lower() else _name(record.name)
    data = _data(record)
    return owner + struct.pack("!HHIH", _TYPES[record.type], _CLASS_IN, record.ttl, len(data)) + data


def _data(record: Record) -> bytes:
    data = record.data
    if isinstance(data, int):
        return address_value(data).to_bytes(16 if is_ipv6(data) else 4, "big")
    if isinstance(data, Srv):
        return struct.pack("!HHH", data.priority, data.weight, data.port) + _name(data.target)
    if isinstance(data, Soa):
        times = (data.serial, data.refresh, data.retry, data.expire, data.minimum)
        return _name(data.mname) + _name(data.rname) + struct.pack("!IIIII", *(value & 0xFFFFFFFF for value in times))
    if record.type == "TXT":
        text = data.encode()[:255]
        return bytes([len(text)]) + text
    return _name(data)


def _name(name: str) -> bytes:
    if name in ("", "."):
        return b"\0"
    labels = [label.encode() for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
