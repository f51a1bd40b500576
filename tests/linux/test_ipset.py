"""IP sets as text, and what they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.ipset import IpSet, SetElement, element_text, parse, parse_element, save
from tests.linux.netfilter.rule_strategies import NAMES, addresses, blocks


@st.composite
def sets(draw: st.DrawFn) -> IpSet:
    kind = draw(st.sampled_from(["hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:net", "bitmap:port"]))
    ipv6 = draw(st.booleans())

    def field(name: str) -> Prefix | int | tuple[int, int]:
        if name == "port":
            port = draw(st.integers(0, 65535))
            return port if kind.startswith("bitmap") else (draw(st.sampled_from([6, 17, 132])), port)
        if name == "net":
            return draw(blocks(ipv6))
        return Prefix(draw(addresses(ipv6)), 128 if ipv6 else 32)

    found = IpSet(draw(NAMES), kind, draw(st.sampled_from(["", "family inet hashsize 1024 maxelem 65536"])))
    for _ in range(draw(st.integers(0, 4))):
        fields = tuple(field(name) for name in found.kinds)
        no_match = "net" in found.kinds and draw(st.booleans())
        found.elements.append(SetElement(element_text(*fields) + (" nomatch" if no_match else ""), fields, no_match))
    return found


@settings(max_examples=40, deadline=None)
@given(given_sets=st.lists(sets(), max_size=3, unique_by=lambda one: one.name))
def test_saved_sets_read_back_as_they_were(given_sets: list[IpSet]) -> None:
    text = save(given_sets)
    read = parse(text)
    assert read == given_sets
    assert [[each.fields for each in one.elements] for one in read] == [
        [each.fields for each in one.elements] for one in given_sets
    ]
    assert save(read) == text
    assert all(each.understood for each in read)


def test_a_set_holds_what_its_elements_match() -> None:
    found = IpSet("X", "hash:ip,port,net")
    found.elements = [
        parse_element(found.type, "10.96.0.1,tcp:80,10.0.0.0/8"),
        parse_element(found.type, "10.96.0.1,tcp:80,10.9.0.0/16 nomatch"),
    ]
    vip, tcp, udp = parse_address("10.96.0.1"), (6, 80), (17, 80)
    assert found.holds((vip, tcp, parse_address("10.1.2.3")))
    assert not found.holds((vip, udp, parse_address("10.1.2.3")))
    assert not found.holds((vip, tcp, parse_address("11.1.2.3")))
    assert not found.holds((vip, tcp, parse_address("10.9.2.3")))


def test_a_bitmap_of_ports_is_for_every_protocol() -> None:
    found = IpSet("X", "bitmap:port")
    found.elements = [parse_element(found.type, "30080")]
    assert found.holds(((6, 30080),))
    assert found.holds(((17, 30080),))
    assert not found.holds(((6, 30081),))


@pytest.mark.parametrize(
    ("kind", "text"), [("hash:mac", "00:11:22:33:44:55"), ("list:set", "other"), ("hash:ip,port", "10.0.0.1"), ("hash:ip", "x")]
)
def test_an_element_that_is_not_understood_is_kept_as_written(kind: str, text: str) -> None:
    found = IpSet("X", kind, "", [parse_element(kind, text)])
    assert not found.understood
    assert parse(save([found])) == [found]


@pytest.mark.parametrize("text", ["create", "add X 10.0.0.1", "flush", "create X hash:ip\nnonsense"])
def test_what_is_no_line_of_ipset_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a line of ipset save|has not been created"):
        parse(text)
