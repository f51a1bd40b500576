"""The virtual services of one node and their real servers: what `ipvsadm` commands do.

A deleted server with entries waits in a trash, and adding it again brings it back with its counters.

Source: Linux net/netfilter/ipvs/ip_vs_ctl.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from svcsim.linux.address import is_ipv6
from svcsim.linux.ipvs.connection_table import ConnectionTable
from svcsim.linux.ipvs.fates import IpvsError
from svcsim.linux.ipvs.keys import FWMARK_BIT, IPV4_SHIFT, IPV6_SHIFT, service_key
from svcsim.linux.ipvs.schedulers import make_scheduler
from svcsim.linux.ipvs.services import RealServer, VirtualService
from svcsim.linux.ipvs.settings import TRASH_NS, IpvsKernel, IpvsSysctls, IpvsTimeouts

if TYPE_CHECKING:
    from svcsim.linux.ipvs.table import IpvsTable


class ServiceTable(ConnectionTable):
    """The connection table with its services; `services` and `fwmark_services` are in order of creation."""

    __slots__ = ("_trash", "fwmark_services", "services")

    def __init__(
        self, sysctls: IpvsSysctls | None = None, timeouts: IpvsTimeouts | None = None, kernel: IpvsKernel | None = None
    ) -> None:
        super().__init__(sysctls, timeouts, kernel)
        self.services: dict[int, VirtualService] = {}
        self.fwmark_services: dict[int, VirtualService] = {}
        self._trash: dict[tuple[int, int, int], RealServer] = {}

    def add_service(
        self, protocol: int, address: int, port: int, scheduler: str = "wlc", *, fwmark: int = 0, flags: Sequence[str] = (),
        persistence_ns: int = 0, prefix_length: int | None = None,
    ) -> VirtualService:
        """`ipvsadm -A`. Raises IpvsError if it exists, UsageError for an unknown scheduler or flag."""
        key = FWMARK_BIT | fwmark if fwmark else service_key(protocol, address, port)
        services = self.fwmark_services if fwmark else self.services
        place = fwmark or key
        if place in services:
            raise IpvsError("service already exists")
        service = VirtualService(cast("IpvsTable", self), protocol, address, port, fwmark, key)
        self._configure(service, scheduler, tuple(flags), persistence_ns, prefix_length)
        services[place] = service
        return service

    def edit_service(
        self, service: VirtualService, scheduler: str, *, flags: Sequence[str] = (), persistence_ns: int = 0,
        prefix_length: int | None = None,
    ) -> None:
        """`ipvsadm -E`: the same scheduler keeps its state, another one starts afresh."""
        self._configure(service, scheduler, tuple(flags), persistence_ns, prefix_length)

    def _configure(
        self, service: VirtualService, scheduler: str, flags: tuple[str, ...], persistence_ns: int, prefix_length: int | None
    ) -> None:
        if service.scheduler_name != scheduler or service.flags != flags:
            self._unbind(service)
            service.scheduler = make_scheduler(scheduler, service.servers, flags)
            service.choose = service.scheduler.choose
            service.scheduler_name = scheduler
            service.flags = flags
        service.persistence_ns = persistence_ns
        width = 128 if is_ipv6(service.address) else 32
        service.prefix_length = width if prefix_length is None else prefix_length

    def delete_service(self, service: VirtualService, now_ns: int) -> None:
        """`ipvsadm -D`: all its servers are deleted with it; entries stay as for `delete_server`."""
        place = service.fwmark or service.key
        services = self.fwmark_services if service.fwmark else self.services
        if services.get(place) is not service:
            raise IpvsError("no such service")
        for server in list(service.servers):
            self.delete_server(server, now_ns)
        self._unbind(service)
        del services[place]

    def _unbind(self, service: VirtualService) -> None:
        """The service's scheduler goes, and with it what it remembered."""
        for server in (*service.servers, *self._trash.values()):
            if server.service is service:
                server.remembered = 0

    def add_server(self, service: VirtualService, address: int, port: int, weight: int, now_ns: int) -> RealServer:
        """`ipvsadm -a`: the server goes to the head of the list; a deleted one comes back with its entries and counters."""
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        if service.server(address, port) is not None:
            raise IpvsError("destination already exists")
        server = self._trash.pop((service.key, address, port), None)
        if server is None:
            server = RealServer(service, address, port, weight)
        else:
            if server.service is not service:
                server.service = service
                server.connections = 0
            server.weight = server.last_weight = weight
            server.available = True
        service.servers.insert(0, server)
        service.scheduler.added(0)
        return server

    def edit_server(self, server: RealServer, weight: int) -> None:
        """`ipvsadm -e`: set the weight."""
        server.weight = weight
        if weight:
            server.last_weight = weight
        if server.available:
            server.service.scheduler.updated()

    def delete_server(self, server: RealServer, now_ns: int) -> None:
        """`ipvsadm -d`: no new connections; its entries drop packets, or are flushed at the next tick (expire_nodest_conn)."""
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        servers = server.service.servers
        if not server.available or server not in servers:
            raise IpvsError("no such destination")
        index = servers.index(server)
        del servers[index]
        server.available = False
        server.deleted_ns = now_ns
        server.service.scheduler.removed(index)
        self._empty_trash(now_ns)
        self._trash[server.service.key, server.address, server.port] = server
        if self.sysctls.expire_nodest_conn and self.kernel.flushes_deleted_servers and server.in_use():
            self._flush_soon(server, now_ns)

    def _empty_trash(self, now_ns: int) -> None:
        while self._trash:
            oldest = next(iter(self._trash))
            server = self._trash[oldest]
            if server.in_use() or server.remembered or now_ns < server.deleted_ns + 2 * TRASH_NS:
                return
            del self._trash[oldest]

    def lookup(self, protocol: int, address: int, port: int) -> VirtualService | None:
        """The service of a destination; one with port 0 takes what no other does, if it is persistent."""
        services = self.services
        if is_ipv6(address):
            service = services.get(((protocol << 16 | port) << 129 | address) << IPV6_SHIFT)
        else:
            service = services.get(((protocol << 16 | port) << 32 | address) << IPV4_SHIFT)
        if service is None:
            service = services.get(service_key(protocol, address, 0))
            if service is not None and not service.persistence_ns:
                return None
        return service

    def flush(self) -> None:
        """Forget everything, as when the node loses power: services, servers and entries."""
        super().flush()
        self.services.clear()
        self.fwmark_services.clear()
        self._trash.clear()
