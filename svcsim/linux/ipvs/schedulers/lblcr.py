"""Locality-based least connection with replication: a destination has a set of servers that grows under load.

As `lblc`, but an overloaded destination gets a further server instead of another one; the least loaded of its set serves. When
the set has not changed for a day its most loaded member is dropped.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("lblcr", weights=(1, 1))
>>> scheduler.choose(0, 0, 7, 0) is servers[0]
True
>>> servers[0].active = 2; scheduler.choose(0, 0, 7, 0) is servers[1]
True
>>> servers[1].active = 3; scheduler.choose(0, 0, 7, 0) is servers[0]
True

Reference: Linux net/netfilter/ipvs/ip_vs_lblcr.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers._destinations import FORGET_NS, Destinations
from svcsim.linux.ipvs.schedulers.lblc import overloaded
from svcsim.linux.ipvs.schedulers.wlc import least_loaded
from svcsim.linux.ipvs.services import RealServer


class _ServerSet:
    """The servers of a destination, the one that came last first."""

    __slots__ = ("changed_ns", "servers", "used_ns")

    def __init__(self, server: RealServer, now_ns: int) -> None:
        self.servers: list[RealServer] = []
        self.used_ns = now_ns
        self.insert(server, now_ns)

    def insert(self, server: RealServer, now_ns: int) -> None:
        """A further server, put first."""
        self.servers.insert(0, server)
        self.changed_ns = now_ns
        server.remembered += 1

    def erase(self, server: RealServer, now_ns: int) -> None:
        """A server leaves the set."""
        self.servers.remove(server)
        self.changed_ns = now_ns
        server.remembered -= 1

    def release(self) -> None:
        """The destination is forgotten."""
        for server in self.servers:
            server.remembered -= 1

    def most_loaded(self) -> RealServer | None:
        """The first of the members with the largest load by weight; those without a weight do not count."""
        most: RealServer | None = None
        most_load = 0
        for server in self.servers:
            if server.weight > 0:
                load = (server.active << 8) + server.inactive
                if most is None or most_load * server.weight < load * most.weight:
                    most = server
                    most_load = load
        return most


class LocalityLeastConnectionReplicated:
    """`_sets` keeps the servers of each destination."""

    __slots__ = ("_servers", "_sets")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._sets: Destinations[_ServerSet] = Destinations()

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The least loaded of the destination's servers; a further one if that is overloaded."""
        members = self._sets.get(destination, now_ns)
        if members is None:
            chosen = least_loaded(self._servers)
            if chosen is not None:
                self._sets.put(destination, _ServerSet(chosen, now_ns))
            return chosen
        server = least_loaded(member for member in members.servers if member.available)
        if len(members.servers) > 1 and now_ns > members.changed_ns + FORGET_NS:
            most = members.most_loaded()
            if most is not None:
                members.erase(most, now_ns)
        if server is not None and not overloaded(server, self._servers):
            return server
        chosen = least_loaded(self._servers)
        if chosen is not None and chosen not in members.servers:
            members.insert(chosen, now_ns)
        return chosen

    def added(self, index: int) -> None:
        """The sets stay."""

    def removed(self, index: int) -> None:
        """The sets stay: a deleted server is recognised when it is found."""

    def updated(self) -> None:
        """The sets stay."""
