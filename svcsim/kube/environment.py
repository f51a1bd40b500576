"""Environment variables of Services, as the kubelet sets them when it starts a container.

They are made once, of the Services that the kubelet has seen at that time, and never updated: a Service must exist before its
clients' containers start. Sources: kubernetes pkg/kubelet/envvars/envvars.go, pkg/kubelet/kubelet_pods.go
(getServiceEnvVarMap, makeEnvironmentVariables), third_party/forked/golang/expansion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from svcsim.kube.api.pod import Container, EnvironmentVariable, Pod
from svcsim.kube.api.service import Service, ServicePort
from svcsim.linux.address import format_endpoint, parse_address

MASTER_NAMESPACE = "default"
MASTER_SERVICES = ("kubernetes",)

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


class EnvironmentNotReadyError(Exception):
    """The container cannot start yet (and is tried again): the kubelet has not listed the Services so far."""


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One variable."""

    name: str
    value: str


def variable_name(name: str, legacy: bool = False) -> str:
    """A Service's or port's name as part of a variable's: upper case, dashes as underscores.

    `legacy` is the rule of the first releases, where names could have dots and begin with a digit.

    >>> variable_name("redis-master"), variable_name("1web.a", legacy=True)
    ('REDIS_MASTER', '_1WEB_A')
    """
    made = name.upper().replace("-", "_")
    if not legacy:
        return made
    made = made.replace(".", "_")
    return f"_{made}" if made[:1].isdecimal() else made


def _has_virtual_ip(service: Service) -> bool:
    return service.spec.cluster_ip not in (None, "", "None")


def _link_variables(prefix: str, host: str, ports: Sequence[ServicePort]) -> list[EnvVar]:
    variables: list[EnvVar] = []
    for position, port in enumerate(ports):
        protocol = port.protocol
        url = f"{protocol.lower()}://{format_endpoint(parse_address(host), port.port)}"
        if position == 0:
            variables.append(EnvVar(f"{prefix}_PORT", url))
        name = f"{prefix}_PORT_{port.port}_{protocol}"
        variables += [
            EnvVar(name, url),
            EnvVar(f"{name}_PROTO", protocol.lower()),
            EnvVar(f"{name}_PORT", str(port.port)),
            EnvVar(f"{name}_ADDR", host),
        ]
    return variables


def service_variables(services: Iterable[Service]) -> list[EnvVar]:
    """The variables of Services, in their order; one without a virtual IP (headless, ExternalName) has none."""
    variables: list[EnvVar] = []
    for service in services:
        spec = service.spec
        if not _has_virtual_ip(service) or not spec.ports:
            continue
        host = spec.cluster_ip or ""
        prefix = variable_name(service.metadata.name)
        variables.append(EnvVar(f"{prefix}_SERVICE_HOST", host))
        variables.append(EnvVar(f"{prefix}_SERVICE_PORT", str(spec.ports[0].port)))
        variables += [
            EnvVar(f"{prefix}_SERVICE_PORT_{variable_name(port.name)}", str(port.port)) for port in spec.ports if port.name
        ]
        variables += _link_variables(prefix, host, spec.ports)
    return variables


def visible_services(
    services: Iterable[Service], namespace: str, service_links: bool, master_namespace: str = MASTER_NAMESPACE
) -> list[Service]:
    """The Services that a pod's containers get variables of.

    Those are the pod's namespace's (with `enableServiceLinks`) and the API server's own, unless the pod's namespace
    has a Service of that name.
    """
    chosen: dict[str, Service] = {}
    for service in services:
        if not _has_virtual_ip(service):
            continue
        name = service.metadata.name
        if service.metadata.namespace == master_namespace and name in MASTER_SERVICES:
            chosen.setdefault(name, service)
        elif service.metadata.namespace == namespace and service_links:
            chosen[name] = service
    return list(chosen.values())


def expand(text: str, known: Mapping[str, str]) -> str:
    """The text with each `$(NAME)` that is known replaced; `$$` is a dollar sign.

    >>> expand("$(A)-$(B)-$$(A)", {"A": "1"})
    '1-$(B)-$(A)'
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else known.get(name, found.group(0))

    return _REFERENCE.sub(value, text)


def container_environment(
    services: Iterable[Service],
    namespace: str,
    own: Sequence[EnvVar] = (),
    service_links: bool | None = True,
    *,
    services_synced: bool = True,
    static_pod: bool = False,
    master_namespace: str = MASTER_NAMESPACE,
) -> list[EnvVar]:
    """The environment of a container that starts now: its own variables, expanded, then those of Services.

    An own variable hides a Service's of the same name. EnvironmentNotReadyError while the kubelet has not seen the
    Services (a static pod starts without them); ValueError when `service_links` is unset, which defaulting prevents.
    """
    if service_links is None:
        raise ValueError("enableServiceLinks is unset")
    if not services_synced and not static_pod:
        raise EnvironmentNotReadyError("services have not yet been read at least once, cannot construct envvars")
    visible = visible_services(services, namespace, service_links, master_namespace) if services_synced else []
    of_services = {variable.name: variable.value for variable in service_variables(visible)}
    made: dict[str, str] = {}
    for variable in own:
        made[variable.name] = expand(variable.value, {**of_services, **made})
    for name, value in of_services.items():
        made.setdefault(name, value)
    return [EnvVar(name, value) for name, value in made.items()]


def _field(pod: Pod, path: str) -> str:
    """A field that the downward API offers (pkg/fieldpath, pkg/kubelet podFieldSelectorRuntimeValue); empty for others."""
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "status.hostIP": pod.status.host_ip,
        "status.podIP": pod.status.pod_ip,
        "status.podIPs": ",".join(each.ip for each in pod.status.pod_ips) or pod.status.pod_ip,
    }
    for kind, values in (("labels", pod.metadata.labels), ("annotations", pod.metadata.annotations)):
        fields |= {f"metadata.{kind}['{key}']": value for key, value in values.items()}
    return fields.get(path, "")


def _own(pod: Pod, variable: EnvironmentVariable) -> EnvVar:
    source = variable.value_from
    value = variable.value if source is None or source.field_ref is None else _field(pod, source.field_ref.field_path)
    return EnvVar(variable.name, value)


def pod_environment(pod: Pod, services: Iterable[Service], container: str = "") -> list[EnvVar]:
    """The environment of a pod's container (the first if none is named), of Services that are visible to it.

    The container runtime's HOSTNAME stands first. KeyError for a container that the pod does not have.
    """
    containers: dict[str, Container] = {each.name: each for each in pod.spec.containers}
    if container:
        own = containers[container].env
    else:
        own = pod.spec.containers[0].env if pod.spec.containers else ()
    namespace = pod.metadata.namespace
    chosen = container_environment(services, namespace, [_own(pod, each) for each in own])
    name = pod.spec.hostname or pod.spec.node_name if pod.spec.host_network else pod.spec.hostname or pod.metadata.name
    return [EnvVar("HOSTNAME", name), *(each for each in chosen if each.name != "HOSTNAME")]
