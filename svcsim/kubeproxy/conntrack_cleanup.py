"""Which UDP flows a sync has to make the kernel forget.

A UDP flow to a Service stays bound to the endpoint that its first datagram chose, for as long as datagrams keep coming. So after
a sync kube-proxy deletes the entries of UDP Service addresses whose endpoint does not serve any more, and those of addresses
that had no endpoint before (their flows are bound to the address itself, and go nowhere).

Source: pkg/proxy/conntrack/cleanup.go (1.32 and later: one pass over the table, by what each address should lead to).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcsim.kubeproxy.change_tracker import Changes, ChangeTracker
from svcsim.kubeproxy.service_ports import ServicePortInfo
from svcsim.linux.address import is_ipv6
from svcsim.linux.conntrack import Entry, split_flow_key
from svcsim.linux.packet import UDP


@dataclass(frozen=True, slots=True)
class UdpDestination:
    """A UDP address and port of a Service (address None: a node port) and the (address, port) pairs that serve it."""

    address: int | None
    port: int
    serving: frozenset[tuple[int, int]]


def destinations(tracker: ChangeTracker, keys: Iterable[str]) -> Iterator[UdpDestination]:
    """Where UDP traffic of these Services may be sent to, and who serves there."""
    for key in keys:
        for name, info in (tracker.services.get(key) or {}).items():
            if info.protocol != "UDP":
                continue
            serving = frozenset(
                (endpoint.address, endpoint.port) for endpoint in tracker.endpoints(name) if endpoint.serving
            )
            yield from _destinations_of(info, serving)


def _destinations_of(info: ServicePortInfo, serving: frozenset[tuple[int, int]]) -> Iterator[UdpDestination]:
    for address in (info.cluster_ip, *info.external_ips, *info.load_balancer_vips):
        yield UdpDestination(address, info.port, serving)
    if info.node_port:
        yield UdpDestination(None, info.node_port, serving)


def stale_entries(entries: Iterable[Entry], tracker: ChangeTracker, changes: Changes) -> list[Entry]:
    """The entries to delete after a sync of one family's proxier, in the order of the table."""
    if not changes.conntrack_cleanup:
        return []
    keys = dict.fromkeys((*changes.keys, *(name.service_key for name, _ in changes.stale_udp_endpoints)))
    wanted: dict[tuple[int | None, int], frozenset[tuple[int, int]]] = {
        (each.address, each.port): each.serving for each in destinations(tracker, keys)
    }
    for info in changes.deleted_udp_services:
        for each in _destinations_of(info, frozenset()):
            wanted.setdefault((each.address, each.port), each.serving)
    ipv6 = tracker.catalogue.family == "IPv6"
    found = []
    for entry in entries:
        protocol, _, _, destination, port = split_flow_key(entry.key)
        if protocol != UDP or is_ipv6(destination) != ipv6:
            continue
        serving = wanted.get((destination, port))
        if serving is None and entry.destination != destination:
            serving = wanted.get((None, port))
        if serving is not None and (entry.destination, entry.destination_port) not in serving:
            found.append(entry)
    return found
