"""How IPVS mode lets real servers go: weight 0 first, deleted when no connection is left.

A real server of TCP with connections, active or inactive, gets weight 0 and is looked at again each minute, without limit in
time. UDP and SCTP know no grace: their packets are scheduled anew because of expire_nodest_conn.

Source: pkg/proxy/ipvs/graceful_termination.go (kubernetes 1.30).
"""

from __future__ import annotations

from svcsim.linux.ipvs.services import RealServer
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.packet import TCP


class GracefulTermination:
    """The real servers of one node that wait for their last connection; its owner calls `check` now and then."""

    __slots__ = ("_table", "_waiting")

    def __init__(self, table: IpvsTable) -> None:
        self._table = table
        self._waiting: dict[RealServer, None] = {}

    def __contains__(self, server: RealServer) -> bool:
        return server in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def delete(self, server: RealServer, now_ns: int) -> bool:
        """Delete a real server at once if that harms nobody, else drain it; True if it is gone."""
        if self._try(server, now_ns):
            return True
        self._table.edit_server(server, 0)
        self._waiting[server] = None
        return False

    def take_back(self, server: RealServer, now_ns: int) -> None:
        """The endpoint is wanted again: its draining real server goes, so that it can be added anew."""
        del self._waiting[server]
        self._table.delete_server(server, now_ns)

    def discard(self, server: RealServer) -> None:
        """Forget a real server that goes with its virtual server."""
        self._waiting.pop(server, None)

    def check(self, now_ns: int) -> list[RealServer]:
        """Delete those whose last connection has ended; tells which."""
        gone = [server for server in self._waiting if not server.available or self._try(server, now_ns)]
        for server in gone:
            del self._waiting[server]
        return gone

    def forget(self) -> None:
        """kube-proxy starts afresh: the list was only in its memory."""
        self._waiting.clear()

    def _try(self, server: RealServer, now_ns: int) -> bool:
        self._table.advance(now_ns)
        if server.service.protocol == TCP and (server.active or server.inactive):
            return False
        self._table.delete_server(server, now_ns)
        return True
