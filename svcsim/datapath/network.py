"""The data plane as one thing to hold: the fabric and the steps of its three kinds of traffic."""

from __future__ import annotations

from svcsim.datapath.admission import Gate
from svcsim.datapath.datagram import Datagrams
from svcsim.datapath.dead import DeadAddresses
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.handshake import Handshakes


class Network:
    """Fabric, established exchanges, handshakes and datagrams of a world."""

    __slots__ = ("datagrams", "exchanges", "fabric", "gate", "handshakes")

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.gate = Gate(fabric)
        self.exchanges = Exchanges(fabric)
        self.handshakes = Handshakes(fabric, self.exchanges, self.gate, DeadAddresses(fabric))
        self.datagrams = Datagrams(fabric, self.exchanges, self.gate)
