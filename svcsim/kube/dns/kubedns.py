"""Names of kube-dns: a tree of records below the cluster's domain, walked label by label; `*` is any label.

A virtual IP's record hangs below its Service under a label that is a hash of the record; ports hang below
`_protocol` and `_port`. A headless Service exists only while it has endpoints. Sources: kubernetes/dns
pkg/dns/dns.go, pkg/dns/treecache, pkg/dns/util.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from svcsim.kube.dns.coredns import external_target
from svcsim.kube.dns.zone import PublishedService, Target, Zone
from svcsim.linux.address import Address, format_address, parse_address


@dataclass(slots=True)
class _Node:
    entries: dict[str, Target] = field(default_factory=dict)
    children: dict[str, _Node] = field(default_factory=dict)

    def child(self, label: str) -> _Node:
        return self.children.setdefault(label, _Node())


def _fnv32a(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def record_label(address: Address) -> str:
    """The label that kube-dns makes for a record without a name: FNV-1a of the record as Go prints it."""
    return f"{_fnv32a(f'&{{{format_address(address)} 0 10 10  false 30 0  }}'):x}"


class KubeDnsNames:
    """Look-ups of names in a zone's objects. None is a name error."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def find(self, base: str) -> tuple[Target, ...] | None:
        """The targets of a lower-case name relative to the cluster's domain."""
        labels = base.split(".") if base else []
        if len(labels) == 3 and labels[-1] == "pod" and "*" not in labels:
            return self._pod(labels)
        if len(labels) < 2 or labels[-1] not in ("svc", "*"):
            return None
        found = tuple(self._walk(labels[::-1]))
        return found or None

    def _pod(self, labels: list[str]) -> tuple[Target, ...] | None:
        try:
            address = parse_address(labels[0].replace("-", "."))
        except ValueError:
            return None
        return (Target(address, 0, ".".join(labels)),)

    def _walk(self, path: list[str]) -> Iterator[Target]:
        """Targets of a path (kind, namespace, service, …); a namespace's own are its external names."""
        namespace, rest = path[1], path[2:]
        services = self._services(namespace, rest[0] if rest else "*")
        if not rest or rest == ["*"]:
            for service in services:
                target = external_target(service)
                if target is not None:
                    yield target
            return
        for service in services:
            if service.external_name is not None:
                target = external_target(service)
                if len(rest) == 1 and target is not None:
                    yield target
                continue
            yield from _values(self._tree(service), rest[1:])

    def _services(self, namespace: str, name: str) -> list[PublishedService]:
        services = self._zone.services
        if namespace != "*" and name != "*":
            service = services.get((namespace, name))
            return [service] if service is not None else []
        return [service for service in services.values() if namespace in ("*", service.namespace) and name in ("*", service.name)]

    def _tree(self, service: PublishedService) -> _Node:
        root = _Node()
        if not service.headless:
            for address in service.cluster_ips:
                label = record_label(address)
                root.entries[label] = Target(address, 0, f"{label}.{service.owner}")
                for port in service.ports:
                    if port.name:
                        owner = f"{label}._{port.name}._{port.protocol}.{service.owner}"
                        node = root.child(f"_{port.protocol}").child(f"_{port.name}")
                        node.entries[label] = Target(service.owner, port.number, owner, in_zone=True)
            return root
        for subset in self._zone.subsets((service.namespace, service.name)):
            for endpoint in subset.endpoints:
                label = endpoint.hostname or record_label(endpoint.address)
                host = f"{label}.{service.owner}"
                root.entries[label] = Target(endpoint.address, 0, host)
                for port in subset.ports:
                    if port.name:
                        node = root.child(f"_{port.protocol}").child(f"_{port.name}")
                        owner = f"{label}._{port.name}._{port.protocol}.{service.owner}"
                        node.entries[label] = Target(host, port.number, owner, in_zone=True)
        return root

    def pointers(self, address: Address) -> Iterator[str]:
        """The name that an address leads back to: its Service, or a headless endpoint that has a hostname."""
        for service in self._zone.services_with_cluster_ip(address):
            yield service.owner
            return
        for key, endpoint in self._zone.endpoints_with_address(address):
            headless = self._zone.services.get(key)
            if headless is not None and headless.headless and endpoint.hostname:
                yield f"{endpoint.hostname}.{headless.owner}"
                return


def _values(node: _Node, path: list[str]) -> Iterator[Target]:
    """The entries at a path below a node; `*` passes over port nodes, and stays at its node when last."""
    nodes = [node]
    for position, label in enumerate(path):
        last = position == len(path) - 1
        following: list[_Node] = []
        for each in nodes:
            if label == "*":
                following += [each] if last else [child for name, child in each.children.items() if name[:1] != "_"]
            elif last and label in each.entries:
                yield each.entries[label]
            elif label in each.children:
                following.append(each.children[label])
        nodes = following
    for each in nodes:
        yield from each.entries.values()
