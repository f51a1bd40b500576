"""Small IPVS tables for tests: one service, servers named by a letter, clients by a number."""

from __future__ import annotations

from svcsim.linux.address import parse_address
from svcsim.linux.ipvs import IpvsConnection, IpvsSysctls, IpvsTable, IpvsTimeouts, RealServer
from svcsim.linux.packet import TCP
from svcsim.units import MS, S

VIP = parse_address("10.96.0.1")
SERVER = parse_address("10.244.0.0")
CLIENT = parse_address("10.1.0.0")


class Bench:
    """A table with one service; `add` puts servers at the head of its list, `open` makes established connections."""

    def __init__(
        self, scheduler="rr", servers="", *, protocol=TCP, persistence_ns=0, flags=(), timeouts=None, kernel=None,
        **sysctls
    ) -> None:
        self.table = IpvsTable(IpvsSysctls(tick_ns=10 * MS, **sysctls), timeouts or IpvsTimeouts(), kernel)
        self.service = self.table.add_service(
            protocol, VIP, 80, scheduler, flags=flags, persistence_ns=persistence_ns
        )
        self.now_ns = 0
        self.ports = 10000
        for name in servers:
            self.add(name)

    def add(self, name: str, weight: int = 1) -> RealServer:
        return self.table.add_server(self.service, SERVER + ord(name), 8080, weight, self.now_ns)

    def __getitem__(self, name: str) -> RealServer:
        server = self.service.server(SERVER + ord(name), 8080)
        assert server is not None
        return server

    def delete(self, name: str) -> RealServer:
        server = self[name]
        self.table.delete_server(server, self.now_ns)
        return server

    def weigh(self, name: str, weight: int) -> None:
        self.table.edit_server(self[name], weight)

    def connect(self, client: int = 0, port: int | None = None):
        if port is None:
            self.ports += 1
            port = self.ports
        return self.table.connect(self.service, CLIENT + client, port, self.now_ns)

    def open(self, client: int = 0, port: int | None = None) -> IpvsConnection:
        connection = self.connect(client, port)
        assert isinstance(connection, IpvsConnection)
        self.table.on_packet(connection, self.now_ns)
        return connection

    def chosen(self, count: int, client: int = 0) -> str:
        """The names of the servers that the next connections get, a dash for a refused one."""
        return "".join(name(self.connect(client)) for _ in range(count))

    def close(self, connection: IpvsConnection, *, by_client: bool = True) -> None:
        connection.on_close(self.now_ns, by_client=by_client)

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.table.advance(self.now_ns)

    def counts(self, names: str) -> list[tuple[int, int]]:
        return [(self[one].active, self[one].inactive) for one in names]


def name(connection) -> str:
    return "-" if connection is None else chr(connection.server.address - SERVER)
