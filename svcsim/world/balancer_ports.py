"""A balancer of mode Proxy at work: it ends the client's connection and opens one of its own to a node port.

It is the same machinery as a proxy in user space, on a host beside the cluster whose own work costs nothing here: a dial that is
refused or not answered in time goes on to another node, what is in flight is lost.
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.datapath.connection import Connection
from svcsim.datapath.host import Host, SynAnswer
from svcsim.datapath.network import Network
from svcsim.kubeproxy.userspace_proxy import DialTimeouts, ProxyCharges, ProxyPort, ProxyProcess, Session
from svcsim.units import S

Choose = Callable[[int, int], "tuple[int, int] | None"]
"""(client address, key of the draw) -> address and port of a node, None if there is none."""

DIALS = DialTimeouts(tcp_ns=(5 * S, 5 * S, 5 * S), udp_idle_ns=60 * S)
"""Assumed: three nodes are tried, five seconds each (HAProxy's customary `timeout connect 5s` with `redispatch`)."""
FREE = ProxyCharges(accept_ns=0, dial_ns=0, copy_ns=0, copy_ns_per_kib=0, sockets_ns=0)


def balancer_process(host: Host, network: Network) -> ProxyProcess:
    """The process of the balancers on their host."""
    return ProxyProcess(host, network, FREE, DIALS)


class BalancerPort(ProxyPort):
    """A TCP port of a balancer: each connection is a session with a node chosen for it, and for each dial anew."""

    __slots__ = ("_admits", "_choose")

    def __init__(self, process: ProxyProcess, choose: Choose, admits: Callable[[int], bool]) -> None:
        super().__init__(process, lambda client, reset: choose(client, client))
        self._choose = choose
        self._admits = admits

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """Who may not come gets no answer."""
        return SynAnswer.ACCEPT if self._admits(connection.source) else SynAnswer.IGNORE

    def connected(self, connection: Connection) -> None:
        """A session begins."""
        dials = 0

        def pick(client: int, reset: bool) -> tuple[int, int] | None:
            nonlocal dials
            dials += 1
            return self._choose(client, connection.key + dials)

        session = self.sessions[connection] = Session(self.process, connection, pick)
        session.begin()
