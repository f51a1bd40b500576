"""A Service port as kube-proxy sees it: one virtual address and port, and the policy behind it.

Source: pkg/proxy/serviceport.go, pkg/proxy/servicechangetracker.go, pkg/proxy/util/utils.go (kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from svcsim.kube.api.service import LoadBalancerIngress, Service, ServicePort
from svcsim.kubeproxy.settings import HEADLESS_LABEL, SERVICE_PROXY_NAME_LABEL, IPFamily
from svcsim.linux.address import Address, Prefix, is_ipv6, parse_address
from svcsim.linux.packet import PROTOCOL_NUMBER

_LEADING_ZEROS = re.compile(r"(^|(?<=[./]))0+(?=\d)")


class ServicePortName(NamedTuple):
    """The key of a Service port: its Service, port name and protocol."""

    namespace: str
    name: str
    port: str
    protocol: str = "TCP"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}" if self.port else f"{self.namespace}/{self.name}"

    @property
    def service_key(self) -> str:
        """`namespace/name` of the Service."""
        return f"{self.namespace}/{self.name}"


def parse_sloppy(text: str) -> Address:
    """An address as Go 1.16 read it, leading zeros of IPv4 parts dropped (ParseIPSloppy); ValueError if it is none."""
    return parse_address(text if ":" in text else _LEADING_ZEROS.sub("", text.strip()))


def parse_prefix_sloppy(text: str) -> Prefix:
    """A CIDR block as Go 1.16 read it, blanks around it dropped; ValueError if it is none."""
    text = text.strip()
    return Prefix.parse(text if ":" in text else _LEADING_ZEROS.sub("", text))


@dataclass(frozen=True, slots=True)
class ServicePortInfo:
    """One port of a Service for one address family; addresses of the other family are left out.

    `affinity_seconds` is None without ClientIP affinity. `protocol` is the API's name, `protocol_number` the one on the wire.
    """

    name: ServicePortName
    cluster_ip: Address
    port: int
    protocol: str = "TCP"
    node_port: int = 0
    external_ips: tuple[Address, ...] = ()
    load_balancer_vips: tuple[Address, ...] = ()
    source_ranges: tuple[Prefix, ...] = ()
    affinity_seconds: int | None = None
    internal_policy_local: bool = False
    external_policy_local: bool = False
    health_check_node_port: int = 0

    @property
    def protocol_number(self) -> int:
        """IP protocol number."""
        return PROTOCOL_NUMBER[self.protocol]

    @property
    def externally_accessible(self) -> bool:
        """Whether anything but the cluster IP leads to this port."""
        return bool(self.node_port or self.load_balancer_vips or self.external_ips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Whether endpoints of the whole cluster are ever used: also for short-circuited traffic to external addresses."""
        return not self.internal_policy_local or self.externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        """Whether some traffic is limited to endpoints on the node."""
        return self.internal_policy_local or (self.external_policy_local and self.externally_accessible)


def should_skip(service: Service) -> bool:
    """Whether kube-proxy has nothing to do: headless, without cluster IP, ExternalName, or served by another proxy.

    Source: ShouldSkipService (pkg/proxy/util/utils.go) and the label selector of the informers (cmd/kube-proxy/app/server.go).
    """
    spec = service.spec
    if spec.cluster_ip in (None, "", "None") or spec.type == "ExternalName":
        return True
    return SERVICE_PROXY_NAME_LABEL in service.metadata.labels or HEADLESS_LABEL in service.metadata.labels


def cluster_ip_of(service: Service, family: IPFamily) -> str:
    """The Service's cluster IP of a family, empty if it has none (GetClusterIPByFamily)."""
    spec = service.spec
    if not spec.ip_families:
        text = spec.cluster_ip or ""
        return text if text not in ("", "None") and (":" in text) == (family == "IPv6") else ""
    for index, served in enumerate(spec.ip_families):
        if served == family:
            addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
            if index < len(addresses):
                return addresses[index]
    return ""


def _is_vip(ingress: LoadBalancerIngress, *, ip_mode: bool) -> bool:
    return not ip_mode or ingress.ip_mode in (None, "VIP")


def _addresses(texts: tuple[str, ...], family: IPFamily) -> tuple[Address, ...]:
    found = (parse_sloppy(text) for text in texts if text)
    return tuple(address for address in found if is_ipv6(address) == (family == "IPv6"))


def is_externally_accessible(service: Service) -> bool:
    """Whether the Service's type opens it to the outside (pkg/api/v1/service/util.go ExternallyAccessible)."""
    spec = service.spec
    return spec.type in ("LoadBalancer", "NodePort") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def service_ports(service: Service, family: IPFamily, *, ip_mode: bool = True) -> dict[ServicePortName, ServicePortInfo]:
    """The ports of a Service that kube-proxy serves in one family; empty if it skips the Service.

    `ip_mode` is the feature gate LoadBalancerIPMode: with it, balancers of mode Proxy are left alone.
    """
    if should_skip(service):
        return {}
    cluster_ip = cluster_ip_of(service, family)
    if not cluster_ip:
        return {}
    spec = service.spec
    wants_ipv6 = family == "IPv6"
    external_local = is_externally_accessible(service) and spec.external_traffic_policy == "Local"
    ranges = tuple(parse_prefix_sloppy(text) for text in spec.load_balancer_source_ranges)
    vips = tuple(entry.ip for entry in service.status.load_balancer.ingress if _is_vip(entry, ip_mode=ip_mode))
    needs_health_check = spec.type == "LoadBalancer" and external_local

    def info(name: ServicePortName, port: ServicePort) -> ServicePortInfo:
        return ServicePortInfo(
            name=name,
            cluster_ip=parse_sloppy(cluster_ip),
            port=port.port,
            protocol=port.protocol,
            node_port=port.node_port,
            external_ips=_addresses(spec.external_ips, family),
            load_balancer_vips=_addresses(vips, family),
            source_ranges=tuple(block for block in ranges if is_ipv6(block.base) == wants_ipv6),
            affinity_seconds=spec.affinity_timeout_seconds,
            internal_policy_local=spec.internal_traffic_policy == "Local",
            external_policy_local=external_local,
            health_check_node_port=spec.health_check_node_port if needs_health_check else 0,
        )

    ports = {}
    for port in spec.ports:
        name = ServicePortName(service.metadata.namespace, service.metadata.name, port.name, port.protocol)
        ports[name] = info(name, port)
    return ports
