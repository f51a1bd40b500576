"""The programmes of nftables mode and the contents of tables, built once for all nodes of a cluster."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

from svcsim.kubeproxy.change_tracker import ChangeTracker, Ports, Slices
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.nftables_contents import Contents, ContentsPool
from svcsim.kubeproxy.nftables_programme import Flavour, Programme, build
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.topology import categorize, depends_on_node

_REVISIONS = 4
"""Readings of a port, and snapshots, that stay at hand for nodes that lag behind."""


@dataclass(slots=True)
class _Revision:
    """Programmes that were built from one reading of a port and its endpoints, by flavour and place."""

    port: ServicePortInfo
    endpoints: tuple[EndpointInfo, ...]
    built: dict[tuple[object, ...], Programme] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """What nodes of a flavour that start from one snapshot have in common, and the Services of which each makes its own.

    `services` and `slices` are the snapshot's; `chains`, `sets` and `elements` count those of `contents`.
    """

    services: Mapping[str, Ports]
    slices: Mapping[str, Slices]
    kind: tuple[Flavour, bool]
    contents: Contents
    dependent: tuple[str, ...]
    chains: int
    sets: int
    elements: int


class ProgrammeLibrary:
    """Builds each programme once for all nodes of one family; `built` counts."""

    def __init__(self) -> None:
        self.pool = ContentsPool()
        self.built = 0
        self._revisions: dict[ServicePortName, list[_Revision]] = {}
        self._starts: list[Start] = []
        self._by_value: weakref.WeakValueDictionary[tuple[object, ...], Programme] = weakref.WeakValueDictionary()

    def programme(
        self, port: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], settings: ProxySettings, flavour: Flavour
    ) -> Programme:
        """The programme of a port on a node."""
        known = self._revisions.setdefault(port.name, [])
        revision = next((each for each in known if each.port is port and each.endpoints is endpoints), None)
        if revision is None:
            revision = _Revision(port, endpoints)
            known.insert(0, revision)
            del known[_REVISIONS:]
        allow_from_node = bool(port.source_ranges) and any(settings.node_ip in block for block in port.source_ranges)
        place = (settings.node_name, settings.zone) if depends_on_node(endpoints, port) else ()
        key = (flavour, allow_from_node, settings.prefer_same_node, *place)
        programme = revision.built.get(key)
        if programme is None:
            programme = self._build(port, endpoints, settings, flavour, allow_from_node)
            revision.built[key] = programme
        return programme

    def _build(
        self,
        port: ServicePortInfo,
        endpoints: tuple[EndpointInfo, ...],
        settings: ProxySettings,
        flavour: Flavour,
        allow_from_node: bool,
    ) -> Programme:
        used = categorize(endpoints, port, settings.node_name, settings.zone, same_node=settings.prefer_same_node)
        value = (port, used, flavour, allow_from_node)
        programme = self._by_value.get(value)
        if programme is None:
            programme = build(port, used, flavour, self.built, allow_from_node=allow_from_node)
            self.built += 1
            self._by_value[value] = programme
        return programme

    def start(self, tracker: ChangeTracker, settings: ProxySettings, flavour: Flavour) -> Start | None:
        """What a node that has just its snapshot shares with others; None if it has gone on from there, or has none."""
        services, slices = tracker.services.base, tracker.slices.base
        if not services or tracker.services.overlay or tracker.slices.overlay:
            return None
        kind = (flavour, settings.prefer_same_node)
        for start in self._starts:
            if start.services is services and start.slices is slices and start.kind == kind:
                return start
        common: dict[ServicePortName, Programme | None] = {}
        dependent: list[str] = []
        for key, ports in services.items():
            endpoints = tracker.endpoints_of(key)
            whole = tracker.catalogue.endpoints(key, slices.get(key, ()))
            if any(_is_own(port, endpoints.get(name, ()), whole.get(name, ())) for name, port in ports.items()):
                dependent.append(key)
                continue
            for name, port in ports.items():
                common[name] = self.programme(port, endpoints.get(name, ()), settings, flavour)
        contents = self.pool.step(self.pool.take(), common)
        programmes = contents.programmes.values()
        start = Start(
            services,
            slices,
            kind,
            contents,
            tuple(dependent),
            sum(len(programme.chains) for programme in programmes),
            sum(len(programme.sets) for programme in programmes),
            sum(len(programme.entries) for programme in programmes),
        )
        self._starts.insert(0, start)
        for old in self._starts[_REVISIONS:]:
            self.pool.release(old.contents)
        del self._starts[_REVISIONS:]
        return start


def _is_own(port: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], whole: tuple[EndpointInfo, ...]) -> bool:
    """Whether nodes can differ in a port's programme: by policy, hints, their own address, or an endpoint told twice."""
    return bool(port.source_ranges) or endpoints is not whole or depends_on_node(endpoints, port)
