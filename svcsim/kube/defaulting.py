"""What the API server fills in of a Service and of a pod before it validates and stores them.

Sources: pkg/apis/core/v1/defaults.go (SetDefaults_Service, SetDefaults_Pod); plugin/pkg/admission/defaulttolerationseconds.
"""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.node import NOT_READY_TAINT, UNREACHABLE_TAINT
from svcsim.kube.api.pod import Pod, Toleration
from svcsim.kube.api.service import ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig

AFFINITY_TIMEOUT_S = 10800
DEFAULT_TOLERATION_S = 300


def _port(port: ServicePort) -> ServicePort:
    if port.target_port in (None, 0, ""):
        return port.model_copy(update={"target_port": port.port})
    return port


def _timeout_seconds(spec: ServiceSpec) -> int | None:
    config = spec.session_affinity_config
    return None if config is None or config.client_ip is None else config.client_ip.timeout_seconds


def default_service_spec(spec: ServiceSpec) -> ServiceSpec:
    """The specification with the defaults that do not depend on the cluster."""
    changes: dict[str, Any] = {"ports": tuple(map(_port, spec.ports))}
    if spec.session_affinity == "None":
        changes["session_affinity_config"] = None
    elif _timeout_seconds(spec) is None:
        changes["session_affinity_config"] = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=AFFINITY_TIMEOUT_S))
    external = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))
    if external and spec.external_traffic_policy is None:
        changes["external_traffic_policy"] = "Cluster"
    if spec.type != "ExternalName" and spec.internal_traffic_policy is None:
        changes["internal_traffic_policy"] = "Cluster"
    if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
        changes["allocate_load_balancer_node_ports"] = True
    return spec.model_copy(update=changes)


def default_service(service: Service) -> Service:
    """The Service with the defaults that do not depend on the cluster."""
    status = service.status
    ingress = status.load_balancer.ingress
    if any(point.ip and point.ip_mode is None for point in ingress):
        points = tuple(
            point.model_copy(update={"ip_mode": "VIP"}) if point.ip and point.ip_mode is None else point for point in ingress
        )
        balancer = status.load_balancer.model_copy(update={"ingress": points})
        status = status.model_copy(update={"load_balancer": balancer})
    return service.model_copy(update={"spec": default_service_spec(service.spec), "status": status})


def default_pod(pod: Pod, toleration_seconds: int = DEFAULT_TOLERATION_S) -> Pod:
    """The pod with a limited toleration of a node that is not ready or unreachable, where it has none of its own."""
    added = tuple(
        Toleration(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=toleration_seconds)
        for taint in (NOT_READY_TAINT, UNREACHABLE_TAINT)
        if not any(
            toleration.key in ("", taint) and toleration.effect in ("", "NoExecute") for toleration in pod.spec.tolerations
        )
    )
    if not added:
        return pod
    return pod.model_copy(update={"spec": pod.spec.model_copy(update={"tolerations": pod.spec.tolerations + added})})
