"""What Services put into a node's IPVS, shared by all nodes that have the same.

A sync replaces the programmes of changed ports. Where another node has already gone the same step, its contents are taken over;
a node that has its contents for itself changes them in place; else they are copied once.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from svcsim.kubeproxy.ipvs_programme import Destination, Programme, VirtualServer
from svcsim.kubeproxy.ipvs_sets import Membership
from svcsim.kubeproxy.service_ports import ServicePortName

_K = TypeVar("_K")
_SIGNATURE_MASK = (1 << 128) - 1

Changes = Mapping[ServicePortName, Programme | None]
"""New programmes of ports; None for a port that is gone."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Contents:
    """Programmes by port, virtual servers by destination, and counts; `holders` counts the nodes that have exactly this.

    `rivals` holds the virtual servers of destinations that several ports claim, sorted by port; the last one stands in
    `destinations`. `memberships` counts the destinations in each set (and node ports by protocol and policy), `bound` the
    claims on each address of kube-ipvs0, `local_nodes` the ports with an endpoint on each node, `health_checks` the ports.
    """

    programmes: dict[ServicePortName, Programme] = field(default_factory=dict)
    destinations: dict[Destination, VirtualServer] = field(default_factory=dict)
    rivals: dict[Destination, list[VirtualServer]] = field(default_factory=dict)
    ports: dict[str, tuple[ServicePortName, ...]] = field(default_factory=dict)
    memberships: dict[object, int] = field(default_factory=dict)
    bound: dict[int, int] = field(default_factory=dict)
    local_nodes: dict[str, int] = field(default_factory=dict)
    health_checks: dict[int, int] = field(default_factory=dict)
    objects: int = 0
    node_port_objects: int = 0
    signature: int = 0
    holders: int = 0

    def copy(self) -> Contents:
        """The same contents, held by nobody."""
        return Contents(
            dict(self.programmes), dict(self.destinations), {key: list(all_) for key, all_ in self.rivals.items()},
            dict(self.ports), dict(self.memberships), dict(self.bound), dict(self.local_nodes), dict(self.health_checks),
            self.objects, self.node_port_objects, self.signature,
        )

    def membership(self, destination: Destination) -> int:
        """The sets that hold a destination, by all ports that claim it (bits of `Membership`)."""
        if self.rivals and destination in self.rivals:
            found = 0
            for server in self.rivals[destination]:
                found |= server.membership
            return found
        standing = self.destinations.get(destination)
        return standing.membership if standing is not None else 0

    def claims(self, destination: Destination) -> tuple[VirtualServer, ...]:
        """All virtual servers that claim a destination."""
        if destination in self.rivals:
            return tuple(self.rivals[destination])
        standing = self.destinations.get(destination)
        return (standing,) if standing is not None else ()

    def signature_after(self, changes: Changes) -> int:
        """The signature that `apply` would leave."""
        signature = self.signature
        for name, programme in changes.items():
            before = self.programmes.get(name)
            signature += (programme.signature if programme else 0) - (before.signature if before else 0)
        return signature & _SIGNATURE_MASK

    def apply(self, changes: Changes) -> None:
        """Put the changed programmes in place of those before."""
        self.signature = self.signature_after(changes)
        for name, programme in changes.items():
            before = self.programmes.pop(name, None)
            if before is not None:
                self._count(before, -1)
                for server in before.servers:
                    self._remove(server)
            if programme is not None:
                self.programmes[name] = programme
                self._count(programme, 1)
                for server in programme.servers:
                    self._add(server)
            if (before is None) != (programme is None):
                others = tuple(port for port in self.ports.pop(name.service_key, ()) if port != name)
                if programme is not None or others:
                    self.ports[name.service_key] = (*others, name) if programme is not None else others

    def _count(self, programme: Programme, step: int) -> None:
        for server in programme.servers:
            if server.address:
                _add(self.bound, server.address, step)
                for flag in Membership(server.membership):
                    _add(self.memberships, flag, step)
                if server.source_ranges and server.allow_from_node:
                    _add(self.memberships, "allow from node", step)
            else:
                _add(self.memberships, server.protocol, step)
                if server.policy_local:
                    _add(self.memberships, (server.protocol, "local"), step)
        self.objects += step * programme.objects
        self.node_port_objects += step * programme.node_port_objects
        for node in programme.local_nodes:
            _add(self.local_nodes, node, step)
        if programme.port.health_check_node_port:
            _add(self.health_checks, programme.port.health_check_node_port, step)

    def _add(self, server: VirtualServer) -> None:
        there = self.destinations.get(server.destination)
        if there is not None:
            rivals = self.rivals.setdefault(server.destination, [there])
            rivals.append(server)
            rivals.sort(key=lambda rival: rival.owner)
            server = rivals[-1]
        self.destinations[server.destination] = server

    def _remove(self, server: VirtualServer) -> None:
        rivals = self.rivals.get(server.destination)
        if rivals is None:
            del self.destinations[server.destination]
            return
        rivals.remove(server)
        self.destinations[server.destination] = rivals[-1]
        if len(rivals) == 1:
            del self.rivals[server.destination]


def _add(counts: dict[_K, int], key: _K, step: int) -> None:
    left = counts.get(key, 0) + step
    if left:
        counts[key] = left
    else:
        del counts[key]


class ContentsPool:
    """The contents in use among the nodes of a cluster."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[tuple[int, int], Contents] = weakref.WeakValueDictionary()
        self.copies = 0

    def take(self) -> Contents:
        """Empty contents, for a node that starts."""
        contents = self._known.get((0, 0))
        if contents is None:
            contents = self._known[0, 0] = Contents()
        contents.holders += 1
        return contents

    def step(self, contents: Contents, changes: Changes) -> Contents:
        """The contents that a node has after a sync; it gives up those before."""
        count = len(contents.programmes) + sum(
            (programme is not None) - (name in contents.programmes) for name, programme in changes.items()
        )
        key = contents.signature_after(changes), count
        known = self._known.get(key)
        if known is contents:
            return contents
        if known is not None:
            contents.holders -= 1
            known.holders += 1
            return known
        if contents.holders > 1:
            contents.holders -= 1
            contents = contents.copy()
            contents.holders = 1
            self.copies += 1
        else:
            self._known.pop((contents.signature, len(contents.programmes)), None)
        contents.apply(changes)
        self._known[key] = contents
        return contents

    def release(self, contents: Contents) -> None:
        """A node does without its contents: it went down."""
        contents.holders -= 1
