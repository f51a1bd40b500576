"""IPVS as ipvsadm prints and reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.errors import UsageError
from svcsim.linux.address import Address
from svcsim.linux.ipvs import IpvsTable
from svcsim.linux.ipvs.schedulers import FLAGS, SCHEDULERS
from svcsim.linux.ipvs.text import format_save, format_table, restore
from svcsim.linux.packet import SCTP, TCP, UDP
from svcsim.units import S

SAVED = """\
-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1
-A -t 10.96.0.7:80 -s sh -p 10800 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.96.0.7:80 -r 10.244.1.10:8080 -m -w 0
-a -t 10.96.0.7:80 -r 10.244.2.11:8080 -m -w 3
-A -u 10.96.0.10:53 -s rr
-A -t [fd00::a]:80 -s wlc
-a -t [fd00::a]:80 -r [fd00:1::5]:8080 -m -w 1
-A -f 101 -s dh
"""


def test_what_was_saved_restores_and_saves_the_same():
    table = IpvsTable()
    restore(SAVED.splitlines(), table, 0)
    assert format_save(table) == SAVED


def test_the_listing_has_the_columns_of_ipvsadm():
    table = IpvsTable()
    restore(SAVED.splitlines(), table, 0)
    assert format_table(table).splitlines()[:7] == [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  10.96.0.1:443 rr",
        "  -> 172.18.0.2:6443              Masq    1      0          0         ",
        "TCP  10.96.0.7:80 sh (sh-fallback,sh-port) persistent 10800 mask 255.255.255.0",
        "  -> 10.244.1.10:8080             Masq    0      0          0         ",
    ]


def test_the_last_line_of_the_text_is_the_head_of_the_kernels_list():
    table = IpvsTable()
    restore(SAVED.splitlines(), table, 0)
    service = table.lookup(TCP, 0x0A600007, 80)
    assert [server.weight for server in service.servers] == [3, 0]


@pytest.mark.parametrize(
    "line",
    ["-A -t 10.96.0.1 -s rr", "-X", "-a -t 10.96.0.1:80 -r 10.0.0.1:80 -g -w 1", "-a -t 10.96.0.1:80 -r 10.0.0.1:80 -m",
     "-A -t 10.96.0.1:80 -s rr -q", "rubbish here", "-A -t 10.96.0.1:80 -s rr -p soon"],
)
def test_a_line_that_cannot_be_understood_is_named(line):
    with pytest.raises(UsageError, match=r"^line 2: "):
        restore(["", line], IpvsTable(), 0)


addresses = st.integers(1, 2**32 - 1) | st.integers(2**128 + 1, 2**129 - 1)
ports = st.integers(1, 65535)


@st.composite
def tables(draw) -> IpvsTable:
    table = IpvsTable()
    for protocol, address, port in draw(
        st.lists(st.tuples(st.sampled_from([TCP, UDP, SCTP]), addresses, ports), max_size=4, unique=True)
    ):
        scheduler = draw(st.sampled_from(sorted(SCHEDULERS)))
        flags = [flag for flag in FLAGS.get(scheduler, ()) if draw(st.booleans())]
        persistence_ns = draw(st.sampled_from([0, 60 * S, 10800 * S]))
        width = 128 if address >> 32 else 32
        service = table.add_service(
            protocol, Address(address), port, scheduler, flags=flags, persistence_ns=persistence_ns,
            prefix_length=draw(st.integers(1, width)) if persistence_ns else None,
        )
        for server, server_port in draw(st.lists(st.tuples(addresses, ports), max_size=4, unique=True)):
            table.add_server(service, server, server_port, draw(st.integers(0, 65535)), 0)
    for fwmark in draw(st.lists(st.integers(1, 2**31), max_size=2, unique=True)):
        service = table.add_service(TCP, Address(0), 0, "rr", fwmark=fwmark)
        table.add_server(service, 0x0A000001, 80, 1, 0)
    return table


@given(tables())
def test_any_table_comes_back_from_its_text(table):
    again = IpvsTable()
    restore(format_save(table).splitlines(), again, 0)
    assert format_save(again) == format_save(table)
    assert format_table(again) == format_table(table)
