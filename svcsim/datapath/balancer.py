"""A cloud provider's balancer: which node a new connection goes to, and which nodes its health checks hold for able.

Spreading is by a hash of the connection's 5-tuple over the members that pass their health check, as pass-through network
balancers do it (Google Cloud's passthrough and AWS's Network Load Balancer); with `sessionAffinity: ClientIP` the hash is of the
client's address alone. A member changes its state after so many results in a row. Pure: the caller gives the draw and the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from svcsim.linux.address import Address, Prefix


@dataclass(frozen=True, slots=True)
class Thresholds:
    """So many health checks in a row that must succeed until a member is healthy, or fail until it is not."""

    healthy: int
    unhealthy: int


@dataclass(slots=True)
class Member:
    """A node behind a balancer; `streak` counts the latest results that contradict its state."""

    name: str
    address: Address
    healthy: bool = False
    streak: int = 0

    def judge(self, success: bool, thresholds: Thresholds) -> bool:
        """Take in the result of a health check; whether the member's state changed."""
        if success is self.healthy:
            self.streak = 0
            return False
        self.streak += 1
        if self.streak < (thresholds.healthy if success else thresholds.unhealthy):
            return False
        self.healthy = success
        self.streak = 0
        return True


@dataclass(slots=True)
class Balancer:
    """One balancer: its address, the ports on which it listens, who may come, and its members by name.

    `ports` maps (protocol, port) to the node port, 0 where there is none. With `fail_open` all members take traffic while none is
    healthy.
    """

    address: Address
    ports: dict[tuple[int, int], int]
    source_ranges: tuple[Prefix, ...] = ()
    by_client: bool = False
    fail_open: bool = False
    members: dict[str, Member] = field(default_factory=dict)

    def set_members(self, nodes: Iterable[tuple[str, Address]]) -> None:
        """Take other members; one that stays keeps its state, a new one has to pass its health check first."""
        wanted = dict(nodes)
        kept = self.members
        self.members = {
            name: kept[name] if name in kept and kept[name].address == wanted[name] else Member(name, wanted[name])
            for name in sorted(wanted)
        }

    @property
    def able(self) -> list[Member]:
        """The members that take new connections now."""
        healthy = [member for member in self.members.values() if member.healthy]
        return healthy if healthy or not self.fail_open else list(self.members.values())

    def admits(self, client: Address) -> bool:
        """Whether a client may come at all (`loadBalancerSourceRanges`)."""
        return not self.source_ranges or any(client in block for block in self.source_ranges)

    def pick(self, client: Address, protocol: int, port: int, uniform: Callable[[int], float], key: int) -> Member | None:
        """The member of a new connection; None if the balancer does not take it, or has nobody for it.

        `uniform(key)` is the draw that stands for the hash; `key` names the connection.
        """
        if (protocol, port) not in self.ports or not self.admits(client):
            return None
        able = self.able
        if not able:
            return None
        return able[int(uniform(client if self.by_client else key) * len(able))]
