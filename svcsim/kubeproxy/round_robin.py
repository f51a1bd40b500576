"""The balancer of the userspace proxy: strict round robin over a shuffled list, with ClientIP affinity on top.

The list is shuffled whenever its contents change, and the turn goes back to its head; an equal list that is sent again changes
nothing. Affinity slides: each connection starts its time anew.

Source: pkg/proxy/userspace/roundrobin.go (kubernetes 1.17).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from svcsim.engine.streams import Stream, permuted, stream_seed

E = TypeVar("E", bound=Hashable)


@dataclass(slots=True)
class _Turn(Generic[E]):
    endpoints: Sequence[E] = ()
    index: int = 0
    changes: int = 0
    affinity_ns: int | None = None
    clients: dict[int, tuple[E, int]] | None = None
    """Whom each client of a Service port with affinity was given last, and when; None before the first."""
    shuffled: bool = True
    """Whether the endpoints stand in the order of their turns: most Services of a node are never asked for it."""


def keyed_shuffle(seed: int, node: str) -> Callable[[str, int, Sequence[E]], list[E]]:
    """A shuffle that depends on seed, node, Service port and the number of the change, and on nothing else."""
    stream = Stream(seed, f"userspace/shuffle/{node}")

    def shuffle(service: str, change: int, endpoints: Sequence[E]) -> list[E]:
        key = stream.bits(stream_seed(seed, service), change)
        order: list[E | None] = [None] * len(endpoints)
        for i, endpoint in enumerate(endpoints):
            order[permuted(key, i, len(endpoints))] = endpoint
        return [endpoint for endpoint in order if endpoint is not None]

    return shuffle


class RoundRobin(Generic[E]):
    """The turns of every Service port of one proxy."""

    def __init__(self, shuffle: Callable[[str, int, Sequence[E]], list[E]]) -> None:
        self._shuffle = shuffle
        self._turns: dict[str, _Turn[E]] = {}

    def set_affinity(self, service: str, affinity_ns: int | None) -> None:
        """A Service port is known, with or without ClientIP affinity."""
        turn = self._turns.get(service)
        if turn is None:
            turn = self._turns[service] = _Turn()
        turn.affinity_ns = affinity_ns

    def set_endpoints(self, service: str, endpoints: Sequence[E]) -> None:
        """The endpoints of a Service port are these now."""
        turn = self._turns.get(service)
        if turn is None:
            turn = self._turns[service] = _Turn()
        if len(turn.endpoints) == len(endpoints) and set(turn.endpoints) == set(endpoints):
            return
        turn.changes += 1
        turn.endpoints = tuple(endpoints)
        turn.shuffled = len(endpoints) < 2
        turn.index = 0
        if turn.clients:
            kept = set(endpoints)
            turn.clients = {client: pinned for client, pinned in turn.clients.items() if pinned[0] in kept}

    def remove_endpoints(self, service: str) -> None:
        """The Service port has no endpoints any more; clients that come back start anew."""
        turn = self._turns.get(service)
        if turn is not None:
            self.set_endpoints(service, ())

    def order(self, service: str) -> tuple[E, ...]:
        """The endpoints in the order of their turns."""
        turn = self._turns.get(service)
        return tuple(self._in_turn(service, turn)) if turn else ()

    def _in_turn(self, service: str, turn: _Turn[E]) -> Sequence[E]:
        if not turn.shuffled:
            turn.endpoints = self._shuffle(service, turn.changes, turn.endpoints)
            turn.shuffled = True
        return turn.endpoints

    def next(self, service: str, client: int | None, now_ns: int, *, reset: bool = False) -> E | None:
        """The endpoint for a connection of this client, None if there is none; `reset` forgets the client's affinity first."""
        turn = self._turns.get(service)
        if turn is None or not turn.endpoints:
            return None
        clients = turn.clients
        if turn.affinity_ns is not None and client is not None:
            if clients is None:
                clients = turn.clients = {}
            pinned = None if reset else clients.get(client)
            if pinned is not None and now_ns - pinned[1] < turn.affinity_ns:
                clients[client] = (pinned[0], now_ns)
                return pinned[0]
        else:
            clients = None
        endpoints = turn.endpoints if turn.shuffled else self._in_turn(service, turn)
        endpoint = endpoints[turn.index]
        turn.index = (turn.index + 1) % len(endpoints)
        if clients is not None and client is not None:
            clients[client] = (endpoint, now_ns)
        return endpoint

    def forget(self) -> None:
        """The process ended: nothing is remembered."""
        self._turns.clear()
