"""What a cluster DNS server is configured with: dialect, zones, options, and the names its upstream knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from svcsim.kube.dns.records import Record, address_record
from svcsim.linux.address import Address

Dialect = Literal["coredns", "kube-dns", "spec"]
PodsMode = Literal["disabled", "insecure", "verified"]


@dataclass(frozen=True, slots=True)
class UpstreamName:
    """What the upstream answers for one name: all its records; `truncated` if it answers with TC."""

    records: tuple[Record, ...]
    truncated: bool = False


def upstream_host(name: str, addresses: tuple[Address, ...], ttl: int) -> UpstreamName:
    """A host outside the cluster with these addresses."""
    return UpstreamName(tuple(address_record(name, ttl, address) for address in addresses))


def absolute(name: str) -> str:
    """The name with its final dot."""
    return name if name.endswith(".") else name + "."


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """Options of the server.

    `spec` answers what the DNS specification for Kubernetes says. `zones` are those that the server is
    authoritative for, the first that is not a reverse zone being the cluster's; `namespaces` limits what is
    served (empty: all). `wildcards` accepts `*` and `any` as labels (CoreDNS before 1.9). `fallthrough` are
    zones in which a name error is passed on to the upstream. `local_ips` are the server's own addresses, `own_service`
    (namespace, name) the Service behind whose endpoints it runs where they are not given. In
    `multicluster_zones` an endpoint's name has its cluster's behind it (KEP-1645). Names in `upstream` are lower case,
    absolute.

    Source: coredns plugin/kubernetes README and setup.go, whose default TTL is 5 s; kube-dns uses 30 s.
    """

    dialect: Dialect = "coredns"
    zones: tuple[str, ...] = ("cluster.local.",)
    ttl: int = 5
    pods: PodsMode = "disabled"
    namespaces: tuple[str, ...] = ()
    ignore_empty_service: bool = False
    endpoint_pod_names: bool = False
    wildcards: bool = False
    local_ips: tuple[Address, ...] = ()
    own_service: tuple[str, str] | None = None
    fallthrough: tuple[str, ...] = ()
    multicluster_zones: tuple[str, ...] = ()
    upstream: Mapping[str, UpstreamName] = field(default_factory=dict)

    @property
    def primary_zone(self) -> str:
        """The first zone that is not for reverse look-ups."""
        for zone in self.zones:
            if not zone.lower().rstrip(".").endswith(("in-addr.arpa", "ip6.arpa")):
                return absolute(zone)
        return absolute(self.zones[0])
