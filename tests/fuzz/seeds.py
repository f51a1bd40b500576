"""Texts of each kind to begin with, and what a reader may do with any bytes."""

from __future__ import annotations

from pathlib import Path

from svcsim.errors import InputError, Problem, UsageError
from svcsim.linux.address import parse_address
from svcsim.linux.dump import MAX_PROBLEMS, Dump, read
from svcsim.linux.dump_services import services_of
from svcsim.linux.dump_walk import Host, own_addresses, walk_packet
from svcsim.linux.packet import TCP, UDP, Packet

TESTS = Path(__file__).parents[1]
FLOWS = (
    Packet(TCP, parse_address("10.244.0.7"), 40000, parse_address("10.96.0.10"), 80),
    Packet(UDP, parse_address("fd00::7"), 40000, parse_address("fd00::10"), 53),
)

IPSET = """create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x92e464f4
add KUBE-CLUSTER-IP 10.96.0.10,tcp:80
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create nets hash:net family inet6
add nets fd00::/64 nomatch timeout 5
"""
IPVSADM = """-A -t 10.96.0.10:80 -s wrr -p 10800
-a -t 10.96.0.10:80 -r 10.244.0.2:8080 -m -w 3
-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -g -w 0
-A -f 7 -s mh -b mh-port
"""
FOREIGN_NFT = """table inet filter {
\tset blocked {
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 }
\t}

\tchain input {
\t\ttype filter hook input priority filter - 1; policy drop;
\t\tct state vmap { established : accept, related : accept, invalid : drop }
\t\tiifname "lo" accept
\t\tip saddr @blocked tcp dport { 22, 8000-8080 } counter packets 1 bytes 2 log prefix "x: " drop
\t\tmeta l4proto { tcp, udp } th dport 53 limit rate 5/second accept
\t\tsocket cgroupv2 level 1 "a" queue num 1
\t}
}
"""


def seeds() -> list[bytes]:
    """One text of each kind."""
    files = (
        TESTS.parent / "docs/dumps/docker-node.txt", TESTS / "linux/netfilter/texts/affinity.iptables-save.txt",
        TESTS / "linux/nftables/data/affinity.list-ruleset.txt",
    )
    return [*(file.read_bytes() for file in files), *(text.encode() for text in (IPSET, IPVSADM, FOREIGN_NFT))]


def _check(problems: list[Problem]) -> None:
    assert 0 < len(problems) <= MAX_PROBLEMS
    for problem in problems:
        assert str(problem).startswith("dump:")
        assert str(problem).isprintable()
        assert problem.line > 0
        assert problem.column > 0


def try_out(content: bytes) -> Dump | None:
    """Read bytes as a dump and send packets through it; None where the reader refuses them with a message of one line each.

    Whatever else is raised is a defect.
    """
    try:
        dump = read([("dump", content)])
    except InputError as error:
        _check(error.problems)
        return None
    services_of(dump)
    host = Host(from_dump=own_addresses(dump))
    for flow in FLOWS:
        try:
            walk = walk_packet(dump, flow, host)
        except UsageError:
            continue
        for branch in walk.possibilities.branches:
            assert abs(sum(share.probability for share in branch.shares) - 1.0) < 1e-6
    return dump
