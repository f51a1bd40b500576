"""The data plane as one thing to hold: the fabric and the steps of its three kinds of traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.admission import Gate
from svcsim.datapath.datagram import Datagrams
from svcsim.datapath.dead import DeadAddresses
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.handshake import Handshakes

if TYPE_CHECKING:
    from svcsim.datapath.capture import Tap


class Network:
    """Fabric, established exchanges, handshakes and datagrams of a world.

    With a tap the steps are those of `svcsim.datapath.tapped`, which show their packets; without one nothing of it is there.
    """

    __slots__ = ("datagrams", "exchanges", "fabric", "gate", "handshakes")

    def __init__(self, fabric: Fabric, tap: Tap | None = None) -> None:
        self.fabric = fabric
        self.gate: Gate
        self.exchanges: Exchanges
        self.handshakes: Handshakes
        self.datagrams: Datagrams
        if tap is not None:
            from svcsim.datapath.tapped.datagrams import TappedDatagrams
            from svcsim.datapath.tapped.exchanges import TappedExchanges
            from svcsim.datapath.tapped.gate import TappedGate
            from svcsim.datapath.tapped.handshakes import TappedHandshakes

            self.gate = TappedGate(fabric, tap)
            self.exchanges = TappedExchanges(fabric, tap)
            self.handshakes = TappedHandshakes(fabric, self.exchanges, self.gate, DeadAddresses(fabric), tap)
            self.datagrams = TappedDatagrams(fabric, self.exchanges, self.gate, tap)
            return
        self.gate = Gate(fabric)
        self.exchanges = Exchanges(fabric)
        self.handshakes = Handshakes(fabric, self.exchanges, self.gate, DeadAddresses(fabric))
        self.datagrams = Datagrams(fabric, self.exchanges, self.gate)
