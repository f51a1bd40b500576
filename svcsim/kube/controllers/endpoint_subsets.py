"""Subsets of Endpoints in their canonical form: addresses that have the same ports stand together.

Source: kubernetes staging/src/k8s.io/endpointslice (and k8s.io/kubernetes pkg/api/v1/endpoints) util.go, RepackSubsets.
"""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.api.endpoints import EndpointAddress, EndpointsPort, EndpointSubset

AddressKey = tuple[str, str]


def _key(address: EndpointAddress) -> AddressKey:
    return address.ip, address.target_ref.uid if address.target_ref else ""


def repack_subsets(subsets: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """The same endpoints in as few subsets as there are sets of addresses; not ready outweighs ready for a port.

    Subsets are in the order of their first ports, addresses in order of IP, ports in order of name.
    """
    addresses: dict[AddressKey, EndpointAddress] = {}
    ready_by_port: dict[EndpointsPort | None, dict[AddressKey, bool]] = {}
    for subset in subsets:
        for port in subset.ports or (None,):
            of_port = ready_by_port.setdefault(port, {})
            for ready, some in ((True, subset.addresses), (False, subset.not_ready_addresses)):
                for address in some:
                    addresses.setdefault(_key(address), address)
                    of_port[_key(address)] = ready and of_port.get(_key(address), True)
    ports_by_set: dict[tuple[tuple[AddressKey, bool], ...], list[EndpointsPort]] = {}
    for port, of_port in ready_by_port.items():
        ports = ports_by_set.setdefault(tuple(sorted(of_port.items())), [])
        if port is not None:
            ports.append(port)
    packed = [
        EndpointSubset(
            addresses=tuple(addresses[key] for key, ready in members if ready),
            not_ready_addresses=tuple(addresses[key] for key, ready in members if not ready),
            ports=tuple(sorted(ports, key=lambda port: (port.name, port.port, port.protocol))),
        )
        for members, ports in ports_by_set.items()
        if members
    ]
    return tuple(sorted(packed, key=lambda subset: [(port.name, port.port) for port in subset.ports]))
