"""Maglev hashing: a table of 4093 places, filled so that a change of servers moves few clients.

Each server has its own order of preference over the places (an offset and a step, both hashes of its address and port). In
turn, in list order, each takes its next free places, as many as its weight says. The table is built of the last weights other
than 0: draining a server moves nobody else, its clients are refused, or with `mh-fallback` sent elsewhere.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("mh", weights=(1, 1, 1))
>>> before = [scheduler.choose(client, 0, 0, 0) for client in range(1000)]
>>> servers[0].weight = 0; scheduler.updated()
>>> all(a is b or a is servers[0] for a, b in zip(before, (scheduler.choose(c, 0, 0, 0) for c in range(1000))))
True

References: Linux net/netfilter/ipvs/ip_vs_mh.c; Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
Balancer", NSDI 2016, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from svcsim.linux.ipvs.schedulers.hashing import folded, hsiphash
from svcsim.linux.ipvs.services import RealServer

PLACES = 4093
"""CONFIG_IP_VS_MH_TAB_INDEX 12: the fifth of the kernel's primes."""

_TURN_BITS = 6
_KEY = 2654435761
_STEP_KEY = 2654446892


class MaglevHashing:
    """`_places` is filled at the first choice after a change that matters."""

    __slots__ = ("_fallback", "_places", "_servers", "_with_port")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._fallback = "mh-fallback" in flags
        self._with_port = "mh-port" in flags
        self._places: list[RealServer] | None = None

    def _turns(self) -> list[int]:
        """How many places each server takes in its turn: its weight by the common divisor, cut to six bits."""
        weights = [server.last_weight for server in self._servers]
        divisor = gcd(*weights)
        if not divisor:
            return []
        shift = max(0, (max(weights) // divisor).bit_length() - _TURN_BITS)
        return [weight // divisor >> shift or int(weight > 0) for weight in weights]

    def _fill(self) -> list[RealServer]:
        servers = self._servers
        turns = self._turns()
        if not turns or len(servers) > PLACES:
            return []
        words = [folded(server.address) + server.port for server in servers]
        place_of = [hsiphash(word, _KEY) % PLACES for word in words]
        step_of = [hsiphash(word, _STEP_KEY) % (PLACES - 1) + 1 for word in words]
        places: list[RealServer | None] = [None] * PLACES
        taken = 0
        while True:
            for index, server in enumerate(servers):
                place = place_of[index]
                step = step_of[index]
                for _ in range(turns[index]):
                    while places[place] is not None:
                        place += step
                        if place >= PLACES:
                            place -= PLACES
                    places[place] = server
                    taken += 1
                    if taken == PLACES:
                        return [owner for owner in places if owner is not None]
                place_of[index] = place

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The owner of the client's place, if it has a weight."""
        places = self._places
        if places is None:
            places = self._places = self._fill()
        if not places:
            return None
        word = folded(client) + client_port if self._with_port else folded(client)
        place = hsiphash(word, _KEY) % PLACES
        server = places[place]
        if server.weight > 0:
            return server
        if self._fallback:
            for offset in range(PLACES):
                server = places[hsiphash(word + (offset + place) % PLACES & 0xFFFFFFFF, _KEY) % PLACES]
                if server.weight > 0:
                    return server
        return None

    def updated(self) -> None:
        """The places are given anew."""
        self._places = None

    def added(self, index: int) -> None:
        """The places are given anew."""
        self._places = None

    def removed(self, index: int) -> None:
        """The places are given anew."""
        self._places = None
