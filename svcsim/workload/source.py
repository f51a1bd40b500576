"""Where a workload's requests come from: a pod, a node or a host outside, with its pool of connections and its cached answer."""

from __future__ import annotations

from collections import deque

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Namespace
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.engine.streams import splitmix64
from svcsim.linux.ports import PortAllocator

FOREVER_NS = 1 << 62


class Source:
    """One client process of a workload.

    `target` is the address that it sends to, known since `resolved_ns` and valid until `resolved_until_ns`; `port` is its own
    where an environment variable gave it one, else 0; `idle` are kept-alive connections, the one used last at the end; `waiting`
    are requests without connection. A client that balances on its own knows all addresses of the name as `targets`, of which
    `failed` could not be connected to since; `turn` counts its choices. `chosen` is the address of each request that it waits
    for, and `active` how many each address has. `channels` are its multiplexed connections that take new streams.
    """

    __slots__ = (
        "active", "alive", "channels", "chosen", "failed", "idle", "index", "name", "namespace", "opened", "port", "ports",
        "resolved_ns", "resolved_until_ns", "resolving", "target", "targets", "turn", "waiting",
    )

    def __init__(self, name: str, namespace: Namespace, index: int) -> None:
        self.name = name
        self.namespace = namespace
        self.index = index
        self.alive = True
        self.idle: deque[Connection] = deque()
        self.channels: list[MultiplexedConnection] = []
        self.waiting: deque[Request] = deque()
        self.opened = 0
        self.target = 0
        self.targets: tuple[int, ...] = ()
        self.failed: set[int] = set()
        self.turn = 0
        self.chosen: dict[Request, int] = {}
        self.active: dict[int, int] = {}
        self.port = 0
        self.resolved_ns = -FOREVER_NS
        self.resolved_until_ns = -1
        self.resolving: list[Request] | None = None
        self.ports: dict[tuple[int, int], PortAllocator] = {}

    def port_pool(self, address: int, port: int) -> PortAllocator:
        """The free local ports towards a destination."""
        pool = self.ports.get((address, port))
        if pool is None:
            offset = splitmix64(self.namespace.address ^ address << 20 ^ port)
            pool = self.ports[(address, port)] = PortAllocator(offset)
        return pool
