"""A client tries the addresses of a name in the order of RFC 6724, by the table of its C library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.dns.address_selection import in_order
from svcsim.linux.address import format_address, is_ipv6, parse_address

OWN = {"IPv4": "10.244.0.5", "IPv6": "fd00:10:244::5"}


def order(*addresses, own=None, libc="glibc"):
    mine = OWN if own is None else own

    def towards(address):
        text = mine.get("IPv6" if is_ipv6(address) else "IPv4")
        return parse_address(text) if text else 0

    return [format_address(address) for address in in_order(tuple(map(parse_address, addresses)), towards, libc)]


def test_addresses_of_ipv4_keep_the_order_of_the_answer():
    assert order("10.0.0.2", "10.0.0.1", "10.244.0.6") == ["10.0.0.2", "10.0.0.1", "10.244.0.6"]


@pytest.mark.parametrize(("libc", "first"), [("glibc", "fd00:10:96::7"), ("musl", "10.96.0.7")])
def test_unique_local_addresses_go_before_ipv4_in_glibc_and_after_it_in_musl(libc, first):
    assert order("10.96.0.7", "fd00:10:96::7", libc=libc)[0] == first


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_global_addresses_of_ipv6_go_before_ipv4(libc):
    own = {**OWN, "IPv6": "2001:db8::5"}
    assert order("203.0.113.7", "2001:db8:1::7", own=own, libc=libc) == ["2001:db8:1::7", "203.0.113.7"]


def test_a_family_that_the_client_does_not_have_comes_last():
    assert order("fd00::1", "10.0.0.1", own={"IPv4": "10.0.0.9"}) == ["10.0.0.1", "fd00::1"]
    assert order("10.0.0.1", "fd00::1", own={"IPv6": "fd00::9"}) == ["fd00::1", "10.0.0.1"]


def test_a_label_like_the_source_address_counts_more_than_precedence():
    assert order("2001:db8::1", "fd00::1") == ["fd00::1", "2001:db8::1"]  # from a unique local address
    assert order("2001:db8::1", "10.0.0.1") == ["10.0.0.1", "2001:db8::1"]


def test_among_addresses_of_ipv6_the_longest_common_prefix_wins():
    assert order("fd00:10:244:1::2", "fd00:10:244::2", "fd00:10:245::2") == [
        "fd00:10:244::2", "fd00:10:244:1::2", "fd00:10:245::2"
    ]


ADDRESSES = st.lists(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(lambda address: parse_address(str(address))), max_size=6
)


@given(ADDRESSES, st.booleans(), st.booleans(), st.sampled_from(["glibc", "musl"]))
def test_it_is_an_order_of_the_same_addresses_and_stays(addresses, has_ipv4, has_ipv6, libc):
    def towards(address):
        present = has_ipv6 if is_ipv6(address) else has_ipv4
        return parse_address(OWN["IPv6" if is_ipv6(address) else "IPv4"]) if present else 0

    ordered = in_order(addresses, towards, libc)
    assert sorted(ordered) == sorted(addresses)
    assert in_order(ordered, towards, libc) == ordered
