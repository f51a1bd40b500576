"""Answers on the wire: flags, sizes, truncation, and what is answered to nonsense."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kube.dns.records import Answer, Record, Soa, Srv
from svcsim.kube.dns.wire import answer_message
from svcsim.linux.address import parse_address


def addresses(count):
    hosts = (parse_address(f"10.0.{n >> 8}.{n & 255}") for n in range(count))
    return Answer(answer=tuple(Record("db.ns.svc.cluster.local.", "A", 30, host) for host in hosts))


def reply(answer, qtype="A", *, tcp=False, **options):
    question = dns.message.make_query("db.ns.svc.cluster.local.", qtype, **options)
    wire = answer_message(question.to_wire(), lambda name, rtype: answer, tcp=tcp)
    return wire, dns.message.from_wire(wire)


def test_a_short_answer_is_complete_and_authoritative():
    _, message = reply(addresses(3))
    assert len(message.answer[0]) == 3
    assert message.flags & dns.flags.AA
    assert message.flags & dns.flags.RA
    assert not message.flags & dns.flags.TC


def test_an_answer_of_the_upstream_is_not_authoritative():
    _, message = reply(Answer(answer=addresses(1).answer, forwarded=True))
    assert not message.flags & dns.flags.AA


@settings(deadline=None)
@given(st.integers(0, 400), st.sampled_from([None, 100, 512, 1232, 4096]))
def test_udp_answers_keep_to_the_size_that_the_client_takes(count, payload):
    options = {} if payload is None else {"use_edns": 0, "payload": payload}
    wire, message = reply(addresses(count), **options)
    limit = max(512, payload or 0)
    assert len(wire) <= limit
    records = sum(map(len, message.answer))
    assert bool(message.flags & dns.flags.TC) == (records < count)
    whole, full = reply(addresses(count), tcp=True, **options)
    assert sum(map(len, full.answer)) == count
    assert (len(whole) > limit) == bool(message.flags & dns.flags.TC)


def test_the_additional_section_goes_first_without_tc():
    answer = Answer(answer=addresses(20).answer, additional=addresses(20).answer)
    _, message = reply(answer)
    assert (len(message.answer[0]), len(message.additional), message.flags & dns.flags.TC) == (20, 0, 0)


def test_every_kind_of_record_has_a_wire_form():
    name = "x.cluster.local."
    records = (
        Record(name, "AAAA", 30, parse_address("fd00::1")), Record(name, "CNAME", 30, "example.com."),
        Record(name, "SRV", 30, Srv(0, 50, 53, "a.cluster.local.")), Record(name, "PTR", 30, "a.cluster.local."),
        Record(name, "TXT", 28800, "1.1.0"), Record(name, "NS", 30, "ns.dns.cluster.local."),
        Record(name, "SOA", 30, Soa("ns.dns.cluster.local.", "hostmaster.cluster.local.", 7, 7200, 1800, 86400, 30)),
    )
    _, message = reply(Answer("NXDOMAIN", answer=records))
    assert [rrset.rdtype.name for rrset in message.answer] == [record.type for record in records]
    assert message.rcode() == dns.rcode.NXDOMAIN


def test_other_classes_and_operations_are_refused():
    chaos = dns.message.make_query("version.bind.", "TXT", "CH")
    assert dns.message.from_wire(answer_message(chaos.to_wire(), lambda *_: addresses(1), tcp=False)).rcode() == dns.rcode.REFUSED
    notify = dns.message.make_query("cluster.local.", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert dns.message.from_wire(answer_message(notify.to_wire(), lambda *_: addresses(1), tcp=False)).rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize("data", [b"", b"short", bytes(11)])
def test_what_has_no_header_gets_no_reply(data):
    assert answer_message(data, lambda *_: addresses(1), tcp=False) is None


@given(st.binary(max_size=80))
def test_no_bytes_break_the_server(data):
    wire = answer_message(data, lambda *_: addresses(1), tcp=False)
    assert wire is None or wire[:2] == data[:2]
