"""Validation of Services on creation and update, as the API server does it after defaulting and allocation.

Source: kubernetes pkg/apis/core/validation/validation.go (validateService, ValidateServiceUpdate and what they call).
"""

from __future__ import annotations

from svcsim.kube.validation import names
from svcsim.kube.validation.cluster_ips import is_headless, validate_cluster_ips, validate_cluster_ips_update
from svcsim.kube.validation.field_errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from svcsim.kube.validation.metadata import METADATA, validate_labels, validate_metadata, validate_metadata_update
from svcsim.kube.validation.reading import Manifest, mapping, mappings, number, text, texts

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
AFFINITIES = ("ClientIP", "None")
TRAFFIC_POLICIES = ("Cluster", "Local")
TRAFFIC_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
AFFINITY_TIMEOUT_MAX_S = 86400
KUBELET_PORT = 10250

TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
TOPOLOGY_AWARE_HINTS = "service.kubernetes.io/topology-aware-hints"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"

_SPEC = Path("spec")
_LOAD_BALANCER_ONLY = "may only be used when type is 'LoadBalancer'"


def validate_service(service: Manifest) -> list[FieldError]:
    """What is wrong with a Service that is created; nothing is defaulted here, a missing field is an empty one."""
    return _validate_service(service)


def validate_service_update(service: Manifest, old: Manifest) -> list[FieldError]:
    """What is wrong with a Service that replaces `old`."""
    new_spec, old_spec = mapping(service, "spec"), mapping(old, "spec")
    errors = validate_metadata_update(mapping(service, "metadata"), mapping(old, "metadata"))
    errors += validate_cluster_ips_update(new_spec, old_spec)
    errors += _validate_load_balancer_class(new_spec, old_spec)
    if needs_health_check(old_spec) and needs_health_check(new_spec):
        if number(old_spec, "healthCheckNodePort") != number(new_spec, "healthCheckNodePort"):
            errors.append(forbidden(_SPEC.child("healthCheckNodePort"), "field is immutable"))
    return errors + _validate_service(service)


def externally_accessible(spec: Manifest) -> bool:
    """Whether traffic from outside can reach the Service, so that externalTrafficPolicy has a meaning."""
    kind = text(spec, "type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(texts(spec, "externalIPs")))


def needs_health_check(spec: Manifest) -> bool:
    """Whether load balancers probe the nodes for local endpoints."""
    return text(spec, "type") == "LoadBalancer" and text(spec, "externalTrafficPolicy") == "Local"


def _validate_service(service: Manifest) -> list[FieldError]:
    metadata, spec = mapping(service, "metadata"), mapping(service, "spec")
    errors = validate_metadata(metadata, names.dns1035_label)
    errors += _validate_topology_annotations(mapping(metadata, "annotations"))
    errors += _validate_by_type(spec)
    errors += _validate_ports(spec)
    errors += validate_labels(mapping(spec, "selector"), _SPEC.child("selector"))
    errors += _validate_affinity(spec)
    if text(spec, "type") != "ExternalName":
        errors += validate_cluster_ips(spec)
    errors += _validate_external_ips(texts(spec, "externalIPs"))
    errors += _validate_source_ranges(metadata, spec)
    errors += _validate_load_balancer_ports(spec)
    errors += _validate_load_balancer_class(spec, {})
    errors += validate_external_traffic_policy(spec)
    errors += _validate_internal_traffic_policy(spec)
    if spec.get("trafficDistribution") is not None:
        distribution = text(spec, "trafficDistribution")
        if distribution not in TRAFFIC_DISTRIBUTIONS:
            path = _SPEC.child("trafficDistribution")
            errors.append(not_supported(path, distribution, TRAFFIC_DISTRIBUTIONS))
    return errors


def _validate_topology_annotations(annotations: Manifest) -> list[FieldError]:
    mode, hints = annotations.get(TOPOLOGY_MODE), annotations.get(TOPOLOGY_AWARE_HINTS)
    if mode is None or hints is None or mode == hints:
        return []
    path = METADATA.child("annotations").at(TOPOLOGY_MODE)
    return [invalid(path, f"must match annotations[{TOPOLOGY_AWARE_HINTS}] when both are specified")]


def _validate_by_type(spec: Manifest) -> list[FieldError]:
    kind = text(spec, "type")
    errors = []
    if not mappings(spec, "ports") and not is_headless(spec) and kind != "ExternalName":
        errors.append(required(_SPEC.child("ports")))
    if not kind:
        errors.append(required(_SPEC.child("type")))
    elif kind not in TYPES:
        errors.append(not_supported(_SPEC.child("type"), kind, TYPES))
    elif kind == "ExternalName":
        errors += _validate_external_name(spec)
    elif kind != "ClusterIP" and is_headless(spec):
        errors.append(invalid(_SPEC.child("clusterIPs").at(0), f"may not be set to 'None' for {kind} services"))
    if kind == "LoadBalancer":
        errors += [
            invalid(_SPEC.child("ports").at(index), f"may not expose port {KUBELET_PORT} externally since it is used by kubelet")
            for index, port in enumerate(mappings(spec, "ports")) if number(port, "port") == KUBELET_PORT
        ]
    return errors


def _validate_external_name(spec: Manifest) -> list[FieldError]:
    errors = [
        forbidden(_SPEC.child(field), "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies")
        if texts(spec, field)
    ]
    if spec.get("ipFamilyPolicy") is not None:
        errors.append(forbidden(_SPEC.child("ipFamilyPolicy"), "may not be set for ExternalName services"))
    path = _SPEC.child("externalName")
    name = text(spec, "externalName").removesuffix(".")
    if not name:
        return [*errors, required(path)]
    return errors + [invalid(path, problem) for problem in names.dns1123_subdomain(name)]


def _validate_ports(spec: Manifest) -> list[FieldError]:
    ports = mappings(spec, "ports")
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        errors += _validate_port(port, _SPEC.child("ports").at(index), len(ports) > 1, seen)
    kind = text(spec, "type")
    pairs: set[tuple[str, int]] = set()
    node_pairs: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        path = _SPEC.child("ports").at(index)
        protocol, node_port = text(port, "protocol"), number(port, "nodePort")
        if node_port:
            if kind == "ClusterIP":
                errors.append(forbidden(path.child("nodePort"), "may not be used when type is 'ClusterIP'"))
            if (protocol, node_port) in node_pairs:
                errors.append(duplicate(path.child("nodePort"), node_port))
            node_pairs.add((protocol, node_port))
        pair = (protocol, number(port, "port"))
        if pair in pairs:
            errors.append(duplicate(path, f"{pair[0]} {pair[1]}"))
        pairs.add(pair)
    return errors


def _validate_port(port: Manifest, path: Path, name_required: bool, seen: set[str]) -> list[FieldError]:
    errors = []
    name = text(port, "name")
    if name:
        errors += [invalid(path.child("name"), problem) for problem in names.dns1123_label(name)]
        if name in seen:
            errors.append(duplicate(path.child("name"), name))
        seen.add(name)
    elif name_required:
        errors.append(required(path.child("name"), "each of several ports needs a name"))
    errors += [invalid(path.child("port"), problem) for problem in names.port_number(number(port, "port"))]
    protocol = text(port, "protocol")
    if not protocol:
        errors.append(required(path.child("protocol")))
    elif protocol not in PROTOCOLS:
        errors.append(not_supported(path.child("protocol"), protocol, PROTOCOLS))
    target = port.get("targetPort")
    problems = names.port_name(target) if isinstance(target, str) else names.port_number(number(port, "targetPort"))
    errors += [invalid(path.child("targetPort"), problem) for problem in problems]
    if port.get("appProtocol") is not None:
        problems = names.qualified_name(text(port, "appProtocol"))
        errors += [invalid(path.child("appProtocol"), problem) for problem in problems]
    return errors


def _validate_affinity(spec: Manifest) -> list[FieldError]:
    affinity, config_path = text(spec, "sessionAffinity"), _SPEC.child("sessionAffinityConfig")
    config = spec.get("sessionAffinityConfig")
    if not affinity:
        return [required(_SPEC.child("sessionAffinity"))]
    if affinity not in AFFINITIES:
        return [not_supported(_SPEC.child("sessionAffinity"), affinity, AFFINITIES)]
    if affinity == "None":
        unwanted = "must not be set when session affinity is None"
        return [forbidden(config_path, unwanted)] if config is not None else []
    why = "when session affinity is ClientIP"
    if config is None:
        return [required(config_path, why)]
    client_ip = mapping(spec, "sessionAffinityConfig").get("clientIP")
    if client_ip is None:
        return [required(config_path.child("clientIP"), why)]
    path = config_path.child("clientIP").child("timeoutSeconds")
    if not isinstance(client_ip, dict) or client_ip.get("timeoutSeconds") is None:
        return [required(path, why)]
    if not 0 < number(client_ip, "timeoutSeconds") <= AFFINITY_TIMEOUT_MAX_S:
        return [invalid(path, f"must be greater than 0 and no more than {AFFINITY_TIMEOUT_MAX_S}")]
    return []


def _validate_external_ips(ips: list[str]) -> list[FieldError]:
    errors = []
    for index, address in enumerate(ips):
        parsed = names.parse_ip(address)
        problems = names.non_special_ip(parsed) if parsed is not None else names.ip(address)
        errors += [invalid(_SPEC.child("externalIPs").at(index), problem) for problem in problems]
    return errors


def _validate_source_ranges(metadata: Manifest, spec: Manifest) -> list[FieldError]:
    errors = []
    load_balancer = text(spec, "type") == "LoadBalancer"
    ranges = texts(spec, "loadBalancerSourceRanges")
    annotation = mapping(metadata, "annotations").get(SOURCE_RANGES)
    if ranges:
        path = _SPEC.child("LoadBalancerSourceRanges")
        if not load_balancer:
            errors.append(forbidden(path, _LOAD_BALANCER_ONLY))
        for index, block in enumerate(ranges):
            errors += [invalid(path.at(index), problem) for problem in names.cidr(block.strip())]
    elif isinstance(annotation, str):
        path = METADATA.child("annotations").at(SOURCE_RANGES)
        if not load_balancer:
            errors.append(forbidden(path, _LOAD_BALANCER_ONLY))
        blocks = annotation.split(",") if annotation.strip() else []
        for block in blocks:
            errors += [invalid(path, problem) for problem in names.cidr(block.strip())]
    return errors


def _validate_load_balancer_ports(spec: Manifest) -> list[FieldError]:
    given = spec.get("allocateLoadBalancerNodePorts") is not None
    if text(spec, "type") != "LoadBalancer":
        path = _SPEC.child("allocateLoadBalancerNodePorts")
        return [forbidden(path, _LOAD_BALANCER_ONLY)] if given else []
    return [] if given else [required(Path("allocateLoadBalancerNodePorts"))]


def _validate_load_balancer_class(spec: Manifest, old: Manifest) -> list[FieldError]:
    path = _SPEC.child("loadBalancerClass")
    given = spec.get("loadBalancerClass")
    if text(spec, "type") != "LoadBalancer":
        return [forbidden(path, _LOAD_BALANCER_ONLY)] if given is not None else []
    errors = []
    if text(old, "type") == "LoadBalancer" and old.get("loadBalancerClass") != given:
        errors.append(invalid(path, "may not change once set"))
    if given is not None:
        errors += [invalid(path, problem) for problem in names.qualified_name(text(spec, "loadBalancerClass"))]
    return errors


def validate_external_traffic_policy(spec: Manifest) -> list[FieldError]:
    """externalTrafficPolicy and healthCheckNodePort: each is set exactly where it has a meaning."""
    errors = []
    path, policy = _SPEC.child("externalTrafficPolicy"), text(spec, "externalTrafficPolicy")
    if not externally_accessible(spec):
        if policy:
            errors.append(invalid(path, "may only be set for externally-accessible services"))
    elif not policy:
        errors.append(required(path))
    elif policy not in TRAFFIC_POLICIES:
        errors.append(not_supported(path, policy, TRAFFIC_POLICIES))
    path, port = _SPEC.child("healthCheckNodePort"), number(spec, "healthCheckNodePort")
    if needs_health_check(spec):
        if port == 0:
            errors.append(required(path))
        else:
            errors += [invalid(path, problem) for problem in names.port_number(port)]
    elif port != 0:
        why = "may only be set when type is 'LoadBalancer' and externalTrafficPolicy is 'Local'"
        errors.append(invalid(path, why))
    return errors


def _validate_internal_traffic_policy(spec: Manifest) -> list[FieldError]:
    path, policy = _SPEC.child("internalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if policy is None:
        return [required(path)] if text(spec, "type") in ("ClusterIP", "LoadBalancer", "NodePort") else []
    return [] if policy in TRAFFIC_POLICIES else [not_supported(path, policy, TRAFFIC_POLICIES)]
