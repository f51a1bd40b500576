"""Service, core/v1: a logical set of pods and the policy to reach them.

Source: staging/src/k8s.io/api/core/v1/types.go. Defaulting of what the API server would fill in stands in
`svcsim.kube.defaulting`; here is the plain value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from svcsim.kube.api.base import NoneAsEmpty, ObjectMeta, Strict, StrMap

Protocol = Literal["TCP", "UDP", "SCTP"]
ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]
TrafficPolicy = Literal["Cluster", "Local"]


class ServicePort(Strict):
    """One port of a Service; `target_port` is a number or the name of a container port (None: same as `port`)."""

    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None
    port: int
    target_port: int | str | None = None
    node_port: int = 0


class ClientIPConfig(Strict):
    """How long an idle client keeps its endpoint."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(Strict):
    """Settings of `sessionAffinity: ClientIP`."""

    client_ip: ClientIPConfig | None = Field(default=None, alias="clientIP")


class ServiceSpec(Strict):
    """The policy of a Service."""

    type: ServiceType = "ClusterIP"
    selector: StrMap = Field(default_factory=dict)
    ports: Annotated[tuple[ServicePort, ...], NoneAsEmpty] = ()
    cluster_ip: str | None = Field(default=None, alias="clusterIP")
    cluster_ips: Annotated[tuple[str, ...], NoneAsEmpty] = Field(default=(), alias="clusterIPs")
    external_ips: Annotated[tuple[str, ...], NoneAsEmpty] = Field(default=(), alias="externalIPs")
    ip_families: Annotated[tuple[Literal["IPv4", "IPv6"], ...], NoneAsEmpty] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    external_name: str = ""
    external_traffic_policy: TrafficPolicy | None = None
    internal_traffic_policy: TrafficPolicy | None = None
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str = Field(default="", alias="loadBalancerIP")
    load_balancer_source_ranges: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    traffic_distribution: str | None = None

    @property
    def is_headless(self) -> bool:
        """`clusterIP: None`: no virtual IP, nothing for kube-proxy to do."""
        return self.cluster_ip == "None"

    @property
    def affinity_timeout_seconds(self) -> int | None:
        """Seconds of ClientIP affinity (10800 unless set), None without affinity."""
        if self.session_affinity != "ClientIP":
            return None
        config = self.session_affinity_config
        if config is None or config.client_ip is None or config.client_ip.timeout_seconds is None:
            return 10800
        return config.client_ip.timeout_seconds


class LoadBalancerIngress(Strict):
    """Where a provisioned balancer answers."""

    ip: str = ""
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] | None = None
    ports: Annotated[tuple[dict[str, object], ...], NoneAsEmpty] = ()


class LoadBalancerStatus(Strict):
    """The balancer's addresses."""

    ingress: Annotated[tuple[LoadBalancerIngress, ...], NoneAsEmpty] = ()


class ServiceStatus(Strict):
    """Status of a Service."""

    load_balancer: LoadBalancerStatus = Field(default_factory=LoadBalancerStatus)
    conditions: Annotated[tuple[dict[str, object], ...], NoneAsEmpty] = ()


class Service(Strict):
    """A Service."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Service"] = "Service"
    metadata: ObjectMeta
    spec: ServiceSpec = Field(default_factory=ServiceSpec)
    status: ServiceStatus = Field(default_factory=ServiceStatus)
