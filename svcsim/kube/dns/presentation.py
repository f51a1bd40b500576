"""DNS messages as people read them: records in the form of zone files (RFC 1035 section 5.1), sections as `dig` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from svcsim.kube.dns.records import Answer, Record, Soa, Srv
from svcsim.linux.address import Address, format_address


def data_text(record: Record) -> str:
    """The data of a record: an address, a name, `10 100 53 target.`, a quoted text.

    >>> data_text(Record("web.", "SRV", 30, Srv(0, 100, 80, "a.web.")))
    '0 100 80 a.web.'
    """
    data = record.data
    if isinstance(data, Srv):
        return f"{data.priority} {data.weight} {data.port} {data.target}"
    if isinstance(data, Soa):
        return f"{data.mname} {data.rname} {data.serial} {data.refresh} {data.retry} {data.expire} {data.minimum}"
    if isinstance(data, int):
        return format_address(Address(data))
    return f'"{data}"' if record.type == "TXT" else data


def _rows(records: Iterable[Record]) -> Iterator[str]:
    rows = [(record.name, str(record.ttl), record.type, data_text(record)) for record in records]
    width = max((len(name) for name, *_ in rows), default=0)
    for name, ttl, rtype, data in rows:
        yield f"{name:<{width}}  {ttl:>5}  IN  {rtype:<5}  {data}"


def section_lines(answer: Answer) -> Iterator[str]:
    """The sections that hold records, each under its title, with a blank line before each."""
    for title, records in (("ANSWER", answer.answer), ("AUTHORITY", answer.authority), ("ADDITIONAL", answer.additional)):
        if records:
            yield ""
            yield f";; {title} SECTION:"
            yield from _rows(records)


def record_data(record: Record) -> dict[str, Any]:
    """A record as JSON has it."""
    return {"name": record.name, "type": record.type, "ttl": record.ttl, "data": data_text(record)}
