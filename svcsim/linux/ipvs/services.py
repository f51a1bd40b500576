"""Virtual services and their real servers, as `ipvsadm -A` and `-a` make them.

The kernel puts a new server at the head of its service's list, so "first" is the one added last. Source: Linux
net/netfilter/ipvs/ip_vs_ctl.c (`__ip_vs_update_dest`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from svcsim.linux.address import format_endpoint

if TYPE_CHECKING:
    from svcsim.linux.ipvs.schedulers import Scheduler
    from svcsim.linux.ipvs.table import IpvsTable

Choose = Callable[[int, int, int, int], "RealServer | None"]
"""A scheduler's decision: client address, client port, destination address, now_ns -> server."""


class RealServer:
    """One destination of a virtual service, with its counters; forwarding is masquerading (NAT).

    `active`, `inactive` and `templates` count live entries; `connections` all that were ever scheduled here. `last_weight`
    is the last weight other than 0. `available` is false once the server was deleted. `remembered` counts the destinations for
    which a scheduler remembers it (lblc, lblcr).
    """

    __slots__ = (
        "active", "address", "available", "connections", "deleted_ns", "inactive", "last_weight", "port", "remembered",
        "service", "templates", "weight",
    )

    def __init__(self, service: VirtualService, address: int, port: int, weight: int) -> None:
        self.service = service
        self.address = address
        self.port = port
        self.weight = weight
        self.last_weight = weight
        self.active = 0
        self.inactive = 0
        self.templates = 0
        self.remembered = 0
        self.connections = 0
        self.available = True
        self.deleted_ns = 0

    def in_use(self) -> bool:
        """Whether entries or templates refer to the server."""
        return bool(self.active or self.inactive or self.templates)

    def __repr__(self) -> str:
        return f"<RealServer {format_endpoint(self.address, self.port)} weight {self.weight}>"


class VirtualService:
    """A virtual address and port of a protocol, or a firewall mark, with its scheduler and its servers in list order.

    `persistence_ns` is 0 without persistence; `prefix_length` the granularity of persistence (`ipvsadm -M`).
    `choose` is the scheduler's bound method.
    """

    __slots__ = (
        "address", "choose", "connections", "flags", "fwmark", "key", "persistence_ns", "port", "prefix_length", "protocol",
        "scheduler", "scheduler_name", "servers", "table",
    )

    scheduler: Scheduler
    choose: Choose

    def __init__(self, table: IpvsTable, protocol: int, address: int, port: int, fwmark: int, key: int) -> None:
        self.table = table
        self.protocol = protocol
        self.address = address
        self.port = port
        self.fwmark = fwmark
        self.key = key
        self.scheduler_name = ""
        self.flags: tuple[str, ...] = ()
        self.persistence_ns = 0
        self.prefix_length = 0
        self.servers: list[RealServer] = []
        self.connections = 0

    def server(self, address: int, port: int) -> RealServer | None:
        """The real server of that address and port, if it is in the list."""
        for server in self.servers:
            if server.address == address and server.port == port:
                return server
        return None

    def __repr__(self) -> str:
        name = f"fwmark {self.fwmark}" if self.fwmark else format_endpoint(self.address, self.port)
        return f"<VirtualService {name} {self.scheduler_name}>"
