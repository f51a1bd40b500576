"""`ipvsadm -Sn` read as values, and as a table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.linux.address import Address
from svcsim.linux.ipvs.saved import parse
from svcsim.linux.ipvs.settings import IpvsSysctls
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.ipvs.text import format_save, restore
from svcsim.units import S
from tests.linux.netfilter.rule_strategies import addresses

SERVERS = st.lists(
    st.tuples(addresses(False), st.integers(1, 65535), st.integers(0, 9)), max_size=4, unique_by=lambda one: one[:2]
)
SERVICES = st.lists(
    st.tuples(
        addresses(False), st.sampled_from([6, 17, 132]), st.integers(1, 65535), st.sampled_from(["rr", "wrr", "lc", "sh", "mh"]),
        st.booleans(), SERVERS,
    ),
    max_size=4, unique_by=lambda one: one[:3],
)


@settings(max_examples=40, deadline=None)
@given(services=SERVICES)
def test_saved_services_read_back_as_they_were(services: list[tuple]) -> None:  # type: ignore[type-arg]
    table = IpvsTable(IpvsSysctls.of_kube_proxy())
    for address, protocol, port, scheduler, persistent, servers in services:
        made = table.add_service(protocol, Address(address), port, scheduler, persistence_ns=10800 * S if persistent else 0)
        for server in servers:
            table.add_server(made, *server, 0)
    text = format_save(table)
    read = {(one.address, one.protocol, one.port): one for one in parse(text)}
    for address, protocol, port, scheduler, persistent, servers in services:
        found = read.pop((address, protocol, port))
        assert (found.scheduler, found.persistent) == (scheduler, persistent)
        assert {(each.address, each.port, each.weight) for each in found.servers} == set(servers)
        assert {each.forwarding for each in found.servers} <= {"masquerade"}
    assert not read
    again = IpvsTable(IpvsSysctls.of_kube_proxy())
    restore(text.splitlines(), again, 0)
    assert format_save(again) == text


def test_options_that_kube_proxy_does_not_use_are_read() -> None:
    marked, plain = parse(
        "-A -f 7 -s wlc -p 300 -M 255.255.255.0 -o\n-a -f 7 -r 10.0.0.1:0 -g -w 2 -x 100 -y 50\n"
        "-A -t [fd00::1]:80 -s rr --pe sip\n-a -t [fd00::1]:80 -r [fd00::2]:8080 -i --tun-type ipip\n"
    )
    assert (marked.fwmark, marked.persistent, marked.servers[0].forwarding, marked.servers[0].weight) == (7, True, "route", 2)
    assert (plain.fwmark, plain.servers[0].forwarding, plain.servers[0].weight) == (0, "tunnel", 1)


@pytest.mark.parametrize(
    "line",
    [
        "-A -t 10.0.0.1:80 -s rr surplus", "-a -t 10.0.0.1:80 -r 10.0.0.2:80", "-A -s rr", "-A -t 10.0.0.1:99999",
        "-D -t 10.0.0.1:80",
    ],
)
def test_what_is_no_line_of_ipvsadm_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)
