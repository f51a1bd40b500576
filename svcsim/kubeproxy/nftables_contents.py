"""What Services put into a node's nftables table, shared by all nodes that have the same.

A sync replaces the programmes of changed ports. Where another node has already gone the same step, its contents are taken over;
a node that has its contents for itself changes them in place; else they are copied once. So a change costs its own size on each
node, and one copy of the maps for all nodes together.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from svcsim.kubeproxy.nftables_names import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
)
from svcsim.kubeproxy.nftables_programme import Entry, Programme
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.linux.nftables.ruleset import Key

MAPS = (CLUSTER_IPS, SERVICE_IPS, SERVICE_NODEPORTS, NO_ENDPOINT_SERVICES, NO_ENDPOINT_NODEPORTS, FIREWALL_IPS)
_SIGNATURE_MASK = (1 << 128) - 1

Programmes = Mapping[ServicePortName, Programme | None]
"""New programmes of ports; None for a port that is gone."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Contents:
    """Programmes by port and the elements of each map; `holders` counts the nodes that have exactly this.

    `rivals` holds the entries of keys that several ports claim, sorted by port; the last one stands in the map. `ports` are the
    ports of each Service (`namespace/name`) that are here, `rules` the number of rules in their chains.
    `no_local_internal` and `no_local_external` are metric sync_proxy_rules_no_local_endpoints_total.
    """

    programmes: dict[ServicePortName, Programme] = field(default_factory=dict)
    maps: dict[str, dict[Key, Entry]] = field(default_factory=lambda: {name: {} for name in MAPS})
    rivals: dict[tuple[str, Key], list[Entry]] = field(default_factory=dict)
    ports: dict[str, tuple[ServicePortName, ...]] = field(default_factory=dict)
    rules: int = 0
    signature: int = 0
    no_local_internal: int = 0
    no_local_external: int = 0
    holders: int = 0

    def copy(self) -> Contents:
        """The same contents, held by nobody."""
        maps = {name: dict(entries) for name, entries in self.maps.items()}
        rivals = {key: list(entries) for key, entries in self.rivals.items()}
        return Contents(
            dict(self.programmes),
            maps,
            rivals,
            dict(self.ports),
            self.rules,
            self.signature,
            self.no_local_internal,
            self.no_local_external,
        )

    def signature_after(self, changes: Programmes) -> int:
        """The signature that `apply` would leave."""
        signature = self.signature
        for name, programme in changes.items():
            before = self.programmes.get(name)
            signature += (programme.signature if programme else 0) - (before.signature if before else 0)
        return signature & _SIGNATURE_MASK

    def rules_after(self, changes: Programmes) -> int:
        """The number of rules in chains of Services that `apply` would leave."""
        rules = self.rules
        for name, programme in changes.items():
            before = self.programmes.get(name)
            rules += (programme.rules if programme else 0) - (before.rules if before else 0)
        return rules

    def apply(self, changes: Programmes) -> None:
        """Put the changed programmes in place of those before."""
        self.signature, self.rules = self.signature_after(changes), self.rules_after(changes)
        for name, programme in changes.items():
            before = self.programmes.pop(name, None)
            if before is not None:
                for entry in before.entries:
                    self._remove(entry)
            if programme is not None:
                self.programmes[name] = programme
                for entry in programme.entries:
                    self._add(entry)
            for counted, sign in ((before, -1), (programme, 1)):
                if counted is not None:
                    self.no_local_internal += sign * counted.no_local_internal
                    self.no_local_external += sign * counted.no_local_external
            if (before is None) != (programme is None):
                self._index(name, present=programme is not None)

    def _index(self, name: ServicePortName, *, present: bool) -> None:
        others = tuple(port for port in self.ports.pop(name.service_key, ()) if port != name)
        if present or others:
            self.ports[name.service_key] = (*others, name) if present else others

    def _add(self, entry: Entry) -> None:
        element = entry.element
        there = self.maps[element.set_name].get(element.key)
        if there is not None:
            rivals = self.rivals.setdefault((element.set_name, element.key), [there])
            rivals.append(entry)
            rivals.sort(key=lambda rival: rival.owner)
            entry = rivals[-1]
        self.maps[element.set_name][element.key] = entry

    def _remove(self, entry: Entry) -> None:
        element = entry.element
        rivals = self.rivals.get((element.set_name, element.key))
        if rivals is None:
            del self.maps[element.set_name][element.key]
            return
        rivals.remove(entry)
        self.maps[element.set_name][element.key] = rivals[-1]
        if len(rivals) == 1:
            del self.rivals[element.set_name, element.key]


class ContentsPool:
    """The contents in use among the nodes of a cluster."""

    def __init__(self) -> None:
        self._by_signature: weakref.WeakValueDictionary[tuple[int, int], Contents] = weakref.WeakValueDictionary()
        self.copies = 0

    def take(self) -> Contents:
        """Empty contents, for a node that starts."""
        return self.hold(self._known(0, 0) or self._register(Contents()))

    def step(self, contents: Contents, changes: Programmes) -> Contents:
        """The contents that a node has after a sync; it gives up those before."""
        signature = contents.signature_after(changes)
        count = len(contents.programmes) + sum(
            (programme is not None) - (name in contents.programmes) for name, programme in changes.items()
        )
        known = self._known(signature, count)
        if known is contents:
            return contents
        if known is not None:
            self.release(contents)
            return self.hold(known)
        if contents.holders > 1:
            self.release(contents)
            contents = contents.copy()
            self.copies += 1
            self.hold(contents)
        else:
            self._by_signature.pop((contents.signature, len(contents.programmes)), None)
        contents.apply(changes)
        return self._register(contents)

    def release(self, contents: Contents) -> None:
        """A node does without its contents: it went down, or took others."""
        contents.holders -= 1

    def _known(self, signature: int, count: int) -> Contents | None:
        return self._by_signature.get((signature, count))

    def _register(self, contents: Contents) -> Contents:
        self._by_signature[contents.signature, len(contents.programmes)] = contents
        return contents

    def hold(self, contents: Contents) -> Contents:
        """A node, or a record, takes these contents."""
        contents.holders += 1
        return contents


def changed_elements(contents: Contents, changes: Programmes) -> tuple[int, int]:
    """Elements that a sync adds and deletes in maps and sets, one whose verdict changes counting as both.

    kube-proxy compares each element with what it wrote before (pkg/proxy/nftables/proxier.go, `nftElementStorage`).
    """
    added = deleted = 0
    for name, programme in changes.items():
        before = contents.programmes.get(name)
        old = _verdicts(before.entries if before else ())
        new = _verdicts(programme.entries if programme else ())
        added += sum(old.get(key, "absent") != verdict for key, verdict in new.items())
        deleted += sum(new.get(key, "absent") != verdict for key, verdict in old.items())
    return added, deleted


def _verdicts(entries: Iterable[Entry]) -> dict[tuple[str, Key], object]:
    return {(entry.element.set_name, entry.element.key): entry.element.verdict for entry in entries}
