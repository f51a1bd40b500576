"""Objects as rows of kubectl's tables.

Sources: pkg/printers/internalversion/printers.go, apimachinery pkg/util/duration (HumanDuration).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from svcsim.kube.api.disruption import PodDisruptionBudget
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.node import Lease, Node
from svcsim.kube.api.pod import Pod, PodSpec
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.daemonset import REVISION_LABEL, wants_node
from svcsim.kube.controllers.deployment import template_hash
from svcsim.kube.events import ApiEvent
from svcsim.kube.eviction import budget_of
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Store
from svcsim.units import S

NONE = "<none>"
UNSET = "<unset>"
SHOWN = 3
"""So many addresses or ports a cell shows."""
_ROLE = "node-role.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Look:
    """When and where the objects are looked at."""

    store: Store
    now_ns: int
    version: str = ""
    """The kubelets' version, empty when it is not known."""

    def age(self, since_ns: int) -> str:
        """How long ago an instant is."""
        return human_duration(self.now_ns - since_ns)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a kind (the further ones with `-o wide`) and what stands in them."""

    columns: tuple[str, ...]
    wide: tuple[str, ...]
    cells: Callable[[Any, Look], list[str]]


def human_duration(ns: int) -> str:
    """A duration as kubectl prints ages.

    >>> [human_duration(s * S) for s in (5, 119, 125, 1200, 10_900, 30_000, 200_000)]
    ['5s', '119s', '2m5s', '20m', '3h1m', '8h', '2d7h']
    """
    seconds = ns // S
    if seconds < 0:
        return "0s"
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{hours // 24}d" + (f"{hours % 24}h" if hours % 24 else "")
    return f"{hours // 24}d"


def _some(items: Iterable[str], total: int | None = None, none: str = NONE) -> str:
    """The first three, and how many there are beyond them."""
    shown = list(items)
    count = len(shown) if total is None else total
    if not shown:
        return none
    return ",".join(shown[:SHOWN]) + (f" + {count - SHOWN} more..." if count > SHOWN else "")


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _pairs(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def _images(spec: PodSpec) -> list[str]:
    return [",".join(each.name for each in spec.containers), ",".join(each.image for each in spec.containers)]


def pod_status(pod: Pod) -> str:
    """The STATUS column of a pod: its phase, or what its containers wait for."""
    if pod.is_terminating:
        return "Terminating"
    status = pod.status
    reason = status.reason or status.phase
    initial = sum(each.restart_policy != "Always" for each in pod.spec.init_containers)
    if initial and pod.spec.node_name and status.phase == "Pending" and not status.init_container_statuses:
        return f"Init:0/{initial}"
    for index, init in enumerate(status.init_container_statuses):
        state = init.state
        if state is not None and state.terminated is not None and state.terminated.exit_code == 0:
            continue
        waiting = state.waiting.reason if state is not None and state.waiting is not None else ""
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        if state is not None and state.terminated is not None:
            return f"Init:{state.terminated.reason or 'Error'}"
        return f"Init:{index}/{len(pod.spec.init_containers)}"
    running = False
    for each in reversed(status.container_statuses):
        state = each.state
        if state is None:
            continue
        if state.waiting is not None and state.waiting.reason:
            reason = state.waiting.reason
        elif state.terminated is not None:
            reason = state.terminated.reason or f"ExitCode:{state.terminated.exit_code}"
        elif state.running is not None and each.ready:
            running = True
    if reason == "Completed" and running:
        reason = "Running" if pod.is_ready else "NotReady"
    if reason == "Pending" and pod.spec.node_name:
        return "PodInitializing" if status.init_container_statuses else "ContainerCreating"
    return reason


def _pod(pod: Pod, look: Look) -> list[str]:
    statuses = pod.status.container_statuses
    restarts = max((each.restart_count for each in statuses), default=0)
    ended = [
        each.last_state.terminated.finished_ns for each in statuses
        if each.last_state is not None and each.last_state.terminated is not None
    ]
    gates = pod.spec.readiness_gates
    open_ = sum(
        (condition := pod.status.condition(gate.condition_type)) is not None and condition.status == "True" for gate in gates
    )
    return [
        pod.metadata.name, f"{sum(each.ready for each in statuses)}/{len(pod.spec.containers)}", pod_status(pod),
        f"{restarts} ({look.age(max(ended))} ago)" if restarts and ended else str(restarts), look.age(pod.metadata.creation_ns),
        pod.addresses[0] if pod.addresses else NONE, pod.spec.node_name or NONE, NONE, f"{open_}/{len(gates)}" if gates else NONE,
    ]


def _node(node: Node, look: Look) -> list[str]:
    known = any(condition.type == "Ready" for condition in node.status.conditions)
    status = ("Ready" if node.is_ready else "NotReady") if known else "Unknown"
    roles = sorted(label.removeprefix(_ROLE) for label in node.metadata.labels if label.startswith(_ROLE))
    addresses = {each.type: each.address for each in reversed(node.status.addresses)}
    return [
        node.metadata.name, status + (",SchedulingDisabled" if node.spec.unschedulable else ""), ",".join(roles) or NONE,
        look.age(node.metadata.creation_ns), look.version or NONE, addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE), "<unknown>", "<unknown>", "<unknown>",
    ]


def _external_ips(service: Service) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.external_name
    found = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        found = [point.ip or point.hostname for point in service.status.load_balancer.ingress] + found
        return ",".join(found) or "<pending>"
    return ",".join(found) or NONE


def _service(service: Service, look: Look) -> list[str]:
    spec = service.spec
    ports = ",".join(
        f"{port.port}:{port.node_port}/{port.protocol}" if port.node_port else f"{port.port}/{port.protocol}"
        for port in spec.ports
    )
    return [
        service.metadata.name, spec.type, spec.cluster_ip or NONE, _external_ips(service), ports or NONE,
        look.age(service.metadata.creation_ns), _pairs(spec.selector),
    ]


def _endpoints(endpoints: Endpoints, look: Look) -> list[str]:
    found: list[str] = []
    total = 0
    for subset in endpoints.subsets:
        for port in subset.ports or (None,):
            for address in subset.addresses:
                total += 1
                if len(found) < SHOWN:
                    found.append(address.ip if port is None else _host_port(address.ip, port.port))
    return [endpoints.metadata.name, _some(found, total), look.age(endpoints.metadata.creation_ns)]


def _endpoint_slice(piece: EndpointSlice, look: Look) -> list[str]:
    ports = [str(port.port) if port.port is not None else "*" for port in piece.ports]
    addresses = [address for endpoint in piece.endpoints for address in endpoint.addresses]
    return [
        piece.metadata.name, piece.address_type, _some(ports, none=UNSET), _some(addresses, none=UNSET),
        look.age(piece.metadata.creation_ns),
    ]


def _selector(obj: Deployment | ReplicaSet | ReplicationController | DaemonSet) -> str:
    selector = obj.spec.pod_selector
    words = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for each in selector.match_expressions:
        values = f" ({','.join(each.values)})" if each.values else ""
        words.append({"Exists": each.key, "DoesNotExist": f"!{each.key}"}.get(
            each.operator, f"{each.key} {each.operator.lower()}{values}"
        ))
    return ",".join(words) or NONE


def _deployment(deployment: Deployment, look: Look) -> list[str]:
    status = deployment.status
    return [
        deployment.metadata.name, f"{status.ready_replicas}/{deployment.replicas}", str(status.updated_replicas),
        str(status.available_replicas), look.age(deployment.metadata.creation_ns), *_images(deployment.spec.template.spec),
        _selector(deployment),
    ]


def _replicas(owner: ReplicaSet | ReplicationController, look: Look) -> list[str]:
    status = owner.status
    return [
        owner.metadata.name, str(owner.replicas), str(status.replicas), str(status.ready_replicas),
        look.age(owner.metadata.creation_ns), *_images(owner.spec.template.spec), _selector(owner),
    ]


def _stateful_set(stateful_set: StatefulSet, look: Look) -> list[str]:
    return [
        stateful_set.metadata.name, f"{stateful_set.status.ready_replicas}/{stateful_set.replicas}",
        look.age(stateful_set.metadata.creation_ns), *_images(stateful_set.spec.template.spec),
    ]


def _daemon_set(daemon_set: DaemonSet, look: Look) -> list[str]:
    uid, revision = daemon_set.metadata.uid, template_hash(daemon_set.spec.template)
    wanted = {node.metadata.name for node in look.store.each(Node) if wants_node(daemon_set, node)}
    pods = [
        pod for pod in look.store.each(Pod)
        if not pod.is_terminating and any(owner.controller and owner.uid == uid for owner in pod.metadata.owner_references)
    ]
    here = [pod for pod in pods if pod.spec.node_name in wanted]
    ready = sum(pod.is_ready for pod in here)
    updated = sum(pod.metadata.labels.get(REVISION_LABEL, revision) == revision for pod in here)
    return [
        daemon_set.metadata.name, str(len(wanted)), str(len(here)), str(ready), str(updated), str(ready),
        _pairs(daemon_set.spec.template.spec.node_selector), look.age(daemon_set.metadata.creation_ns),
        *_images(daemon_set.spec.template.spec), _selector(daemon_set),
    ]


def _ingress(ingress: Ingress, look: Look) -> list[str]:
    hosts = list(dict.fromkeys(rule.host for rule in ingress.spec.rules if rule.host))
    balancer = ingress.status.get("loadBalancer")
    points = balancer.get("ingress") if isinstance(balancer, dict) else None
    addresses = [str(point.get("ip") or point.get("hostname")) for point in points or [] if isinstance(point, dict)]
    return [
        ingress.metadata.name, ingress.spec.ingress_class_name or NONE, _some(hosts, none="*"), ",".join(addresses),
        "80, 443" if ingress.spec.tls else "80", look.age(ingress.metadata.creation_ns),
    ]


def _ingress_class(each: IngressClass, look: Look) -> list[str]:
    return [each.metadata.name, each.spec.controller, NONE, look.age(each.metadata.creation_ns)]


def _lease(lease: Lease, look: Look) -> list[str]:
    return [lease.metadata.name, lease.spec.holder_identity or "", look.age(lease.metadata.creation_ns)]


def _budget(pdb: PodDisruptionBudget, look: Look) -> list[str]:
    least, most = pdb.spec.min_available, pdb.spec.max_unavailable
    return [
        pdb.metadata.name, "N/A" if least is None else str(least), "N/A" if most is None else str(most),
        str(budget_of(pdb, look.store).allowed), look.age(pdb.metadata.creation_ns),
    ]


def _event(event: ApiEvent, look: Look) -> list[str]:
    source = f"{event.component}, {event.host}" if event.host else event.component
    return [
        look.age(event.last_ns), event.type, event.reason, event.involved.text, event.message, "", source,
        look.age(event.first_ns), str(event.count), event.name,
    ]


_TEMPLATE = ("CONTAINERS", "IMAGES")
TABLES: dict[str, Table] = {
    "Pod": Table(
        ("NAME", "READY", "STATUS", "RESTARTS", "AGE"), ("IP", "NODE", "NOMINATED NODE", "READINESS GATES"), _pod
    ),
    "Node": Table(
        ("NAME", "STATUS", "ROLES", "AGE", "VERSION"),
        ("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"), _node,
    ),
    "Service": Table(("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"), ("SELECTOR",), _service),
    "Endpoints": Table(("NAME", "ENDPOINTS", "AGE"), (), _endpoints),
    "EndpointSlice": Table(("NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"), (), _endpoint_slice),
    "Deployment": Table(("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"), (*_TEMPLATE, "SELECTOR"), _deployment),
    "ReplicaSet": Table(("NAME", "DESIRED", "CURRENT", "READY", "AGE"), (*_TEMPLATE, "SELECTOR"), _replicas),
    "ReplicationController": Table(("NAME", "DESIRED", "CURRENT", "READY", "AGE"), (*_TEMPLATE, "SELECTOR"), _replicas),
    "StatefulSet": Table(("NAME", "READY", "AGE"), _TEMPLATE, _stateful_set),
    "DaemonSet": Table(
        ("NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE"), (*_TEMPLATE, "SELECTOR"),
        _daemon_set,
    ),
    "Ingress": Table(("NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"), (), _ingress),
    "IngressClass": Table(("NAME", "CONTROLLER", "PARAMETERS", "AGE"), (), _ingress_class),
    "Lease": Table(("NAME", "HOLDER", "AGE"), (), _lease),
    "PodDisruptionBudget": Table(
        ("NAME", "MIN AVAILABLE", "MAX UNAVAILABLE", "ALLOWED DISRUPTIONS", "AGE"), (), _budget
    ),
    "Event": Table(
        ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"), ("SUBOBJECT", "SOURCE", "FIRST SEEN", "COUNT", "NAME"), _event
    ),
}
"""The table of each kind."""


def rows_of(
    kind: str, objects: Iterable[KubeObject | ApiEvent], look: Look, *, wide: bool = False, namespaces: bool = False,
    prefix: str = "",
) -> list[list[str]]:
    """The head and a row an object; with a column of namespaces first, and names after a prefix (`pod/`)."""
    table = TABLES[kind]
    names = table.columns + (table.wide if wide else ())
    rows = [[*(["NAMESPACE"] if namespaces else []), *names]]
    for obj in objects:
        cells = table.cells(obj, look)[: len(names)]
        if prefix and not isinstance(obj, ApiEvent):
            cells[0] = prefix + cells[0]
        namespace = obj.namespace if isinstance(obj, ApiEvent) else obj.metadata.namespace
        rows.append([*([namespace] if namespaces else []), *cells])
    return rows


def aligned(rows: list[list[str]]) -> str:
    """Rows as text, columns three spaces apart.

    >>> print(aligned([["NAME", "AGE"], ["web", "5s"]]))
    NAME   AGE
    web    5s
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
