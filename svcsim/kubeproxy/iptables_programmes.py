"""The programmes of iptables mode that nodes share: made once a Service revision, slice revision and flavour.

A Service port whose endpoints every node sees alike has one programme. One with a local policy, hints or source ranges has one
for each choice that some node makes; nodes that choose alike (those without a local endpoint, say) share it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from svcsim.kubeproxy.change_tracker import ChangeTracker, Ports, Snapshot
from svcsim.kubeproxy.endpoint_map import EndpointInfo, without_duplicates
from svcsim.kubeproxy.iptables_list import LIST_KINDS, ListBase, Listed, ListKind
from svcsim.kubeproxy.iptables_programme import Flavour, Programme
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.topology import Endpoints, categorize, depends_on_node

_REVISIONS = 4


@dataclass(slots=True)
class _Revision:
    """Programmes of one Service port for one set of endpoints, by what nodes make of them."""

    info: ServicePortInfo
    endpoints: tuple[EndpointInfo, ...]
    shared: Programme | None = None
    by_choice: dict[tuple[Endpoints, bool], Programme] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SharedBase:
    """A snapshot's programmes that are the same on every node of a flavour, listed; and the keys of Services that aren't."""

    ports: Mapping[str, Ports]
    programmes: Mapping[ServicePortName, Programme]
    lists: Mapping[ListKind, ListBase]
    nat_chain_rules: int
    total_endpoints: int
    node_dependent: tuple[str, ...]


class IptablesProgrammes:
    """The programmes of all nodes, flavour by flavour."""

    def __init__(self) -> None:
        self._flavours: dict[tuple[Flavour, bool], FlavourProgrammes] = {}

    def of(self, settings: ProxySettings) -> FlavourProgrammes:
        """Those that a node of these settings uses."""
        key = (Flavour.of(settings), settings.prefer_same_node)
        found = self._flavours.get(key)
        if found is None:
            found = self._flavours[key] = FlavourProgrammes(*key)
        return found

    @property
    def built(self) -> int:
        """How many programmes were ever made."""
        return sum(each.built for each in self._flavours.values())


class FlavourProgrammes:
    """The programmes that the nodes of one flavour share. `built` counts how many were ever made."""

    def __init__(self, flavour: Flavour, same_node: bool) -> None:
        self.flavour = flavour
        self.same_node = same_node
        self.built = 0
        self._revisions: dict[ServicePortName, list[_Revision]] = {}
        self._bases: list[tuple[Snapshot, SharedBase]] = []

    def programme(
        self, info: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], settings: ProxySettings
    ) -> Programme:
        """The programme of a Service port on a node, made or found."""
        revision = self._revision(info, endpoints)
        if not self._differs(info, endpoints):
            if revision.shared is None:
                chosen = categorize(endpoints, info, "", "", same_node=self.same_node)
                revision.shared = self._make(info, chosen, len(endpoints), from_node=False)
            return revision.shared
        chosen = categorize(endpoints, info, settings.node_name, settings.zone, same_node=self.same_node)
        from_node = bool(info.load_balancer_vips) and any(settings.node_ip in block for block in info.source_ranges)
        programme = revision.by_choice.get((chosen, from_node))
        if programme is None:
            programme = revision.by_choice[chosen, from_node] = self._make(info, chosen, len(endpoints), from_node=from_node)
        return programme

    def _differs(self, info: ServicePortInfo, endpoints: tuple[EndpointInfo, ...]) -> bool:
        """Whether nodes may see the port unlike each other: it has duplicates, of which the local one counts, among others."""
        if info.source_ranges or depends_on_node(endpoints, info):
            return True
        return without_duplicates(endpoints, "") is not endpoints

    def _make(self, info: ServicePortInfo, chosen: Endpoints, total: int, *, from_node: bool) -> Programme:
        self.built += 1
        return Programme(info, chosen, self.flavour, total=total, from_node=from_node)

    def _revision(self, info: ServicePortInfo, endpoints: tuple[EndpointInfo, ...]) -> _Revision:
        known = self._revisions.setdefault(info.name, [])
        for revision in known:
            if revision.info is info and revision.endpoints is endpoints:
                return revision
        for revision in known:
            if revision.info == info and revision.endpoints == endpoints:
                return revision
        known.insert(0, _Revision(info, endpoints))
        del known[_REVISIONS:]
        return known[0]

    def base(self, tracker: ChangeTracker, settings: ProxySettings) -> SharedBase:
        """What nodes that start from the tracker's snapshot have in common; empty without a snapshot."""
        snapshot = tracker.snapshot
        if snapshot is None:
            return SharedBase({}, {}, {kind: ListBase() for kind in LIST_KINDS}, 0, 0, ())
        for known, base in self._bases:
            if known is snapshot:
                return base
        programmes: dict[ServicePortName, Programme] = {}
        alike: dict[str, Ports] = {}
        dependent: list[str] = []
        for key in sorted(snapshot.services):
            endpoints = tracker.catalogue.endpoints(key, snapshot.slices.get(key, ()))
            ports = snapshot.services[key]
            if not any(self._differs(info, endpoints.get(name, ())) for name, info in ports.items()):
                alike[key] = ports
                for name, info in ports.items():
                    programmes[name] = self.programme(info, endpoints.get(name, ()), settings)
            else:
                dependent.append(key)
        base = SharedBase(
            ports=alike,
            programmes=programmes,
            lists={kind: ListBase(_items(programmes.values(), kind)) for kind in LIST_KINDS},
            nat_chain_rules=sum(each.nat_chain_rules for each in programmes.values()),
            total_endpoints=sum(each.total_endpoints for each in programmes.values()),
            node_dependent=tuple(dependent),
        )
        self._bases.append((snapshot, base))
        return base


def _items(programmes: Iterable[Programme], kind: ListKind) -> list[Listed]:
    return [item for programme in programmes for item in programme.listed[kind]]
