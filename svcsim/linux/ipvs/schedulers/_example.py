"""A service for the examples in the schedulers' docstrings, servers in list order."""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers import Scheduler
from svcsim.linux.ipvs.services import RealServer
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.packet import TCP


def service(
    name: str, weights: Sequence[int], active: Sequence[int] = (), inactive: Sequence[int] = ()
) -> tuple[list[RealServer], Scheduler]:
    """Servers 10.1.0.1:80, 10.1.0.2:80, … added so that they stand in this order, and their scheduler."""
    virtual = IpvsTable().add_service(TCP, 0x0A600001, 80, name)
    for index, weight in reversed(list(enumerate(weights))):
        server = virtual.table.add_server(virtual, 0x0A010001 + index, 80, weight, 0)
        server.active = active[index] if active else 0
        server.inactive = inactive[index] if inactive else 0
    return virtual.servers, virtual.scheduler
