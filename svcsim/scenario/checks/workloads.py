"""What a workload names: its clients, its Service and port, its family of IP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svcsim.errors import Problem
from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.service import Service, ServicePort
from svcsim.kube.ingress_rules import host_matches
from svcsim.scenario.address import Destination
from svcsim.scenario.balancing import why_one_address
from svcsim.scenario.checks.scope import BOTH_FAMILIES, CLUSTER_DNS, Scope, unknown
from svcsim.scenario.quantities import family_of
from svcsim.scenario.target import POD_OWNERS, Target
from svcsim.scenario.workload import From, Workload
from svcsim.spelling import nearest
from svcsim.units import duration_text
from svcsim.yamlsource import DataPath


def workload_mistakes(scope: Scope, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
    """Everything that workloads name."""
    duration_ns = scope.scenario.run.duration_ns
    for i, workload in enumerate(scope.scenario.workloads):
        path: DataPath = ("workloads", i)
        namespace = workload.from_.namespace if workload.from_ else "default"
        if workload.from_ is not None:
            yield from _sender(scope, workload.from_, (*path, "from"), node_names)
        if workload.via is not None and workload.via.is_ingress:
            yield from _published_by_an_ingress(scope, workload, path)
        elif workload.via is not None:
            yield from _destination(scope, workload.via, namespace, (*path, "via"), node_names)
        elif workload.to is not None:
            yield from _destination(scope, workload.to, namespace, (*path, "to"), node_names)
        yield from _family(scope, workload, path)
        if workload.balancing is not None:
            _balancing(scope, workload, namespace)
        if workload.start_ns >= duration_ns:
            yield scope.places.problem((*path, "start"), f"the run ends before, after {duration_text(duration_ns)}")
        if workload.connect_timeout_ns is not None and workload.connect_timeout_ns > workload.timeout_ns:
            scope.notes.append(f"workload {workload.name}: connectTimeout is longer than timeout and never takes effect")


def _balancing(scope: Scope, workload: Workload, namespace: str) -> None:
    """Whether a client that balances has more than one address to choose from."""
    to = workload.target
    if to is None:
        return
    meant = to.services(namespace, scope.scenario.kubernetes.dns.domain)
    key = next((key for key in meant if _may_mean(scope, key, meant[0])), None)
    service = scope.of_kind("service").get("/".join(key)) if key is not None else None
    why = why_one_address(to, service if isinstance(service, Service) else None)
    if why:
        scope.notes.append(f"workload {workload.name}: balancing has nothing to choose from: {why}")


def _published_by_an_ingress(scope: Scope, workload: Workload, path: DataPath) -> Iterator[Problem]:
    """Whether an Ingress, of now or later, is for the host that a workload asks."""
    later = (obj for fault in scope.scenario.faults for obj in scope.objects_of(fault))
    ingresses = [obj for obj in (*scope.of_kind("ingress").values(), *later) if isinstance(obj, Ingress)]
    if workload.to is None or not scope.all_read:
        return
    if not any(
        host_matches(rule.host, workload.to.host) for each in ingresses for rule in each.spec.rules
    ) and not any(each.spec.default_backend is not None for each in ingresses):
        hosts = dict.fromkeys(rule.host for each in ingresses for rule in each.spec.rules if rule.host)
        message = f"no Ingress is for the host {workload.to.host!r}{nearest(workload.to.host, hosts)}"
        yield scope.places.problem((*path, "via"), message)


def _sender(scope: Scope, source: From, path: DataPath, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
    if source.outside is not None:
        if source.outside != "*" and source.outside not in scope.outside:
            yield scope.places.problem(path, unknown("host outside", source.outside, scope.outside, "cluster.outside"))
        elif not scope.outside:
            yield scope.places.problem(path, "there is no host outside (name one under cluster.outside)")
    elif source.node is not None:
        if source.node != "*" and node_names is not None and source.node not in node_names:
            yield scope.places.problem(path, unknown("node", source.node, node_names))
    elif source.labels is not None:
        if not scope.there.has_pod(source.namespace, source.labels.items()):
            yield scope.places.problem(path, f"no pod of namespace {source.namespace} has these labels")
    else:
        for kind in (*POD_OWNERS[:3], "pod"):
            name = getattr(source, kind)
            if name is not None:
                yield from scope.exists(Target(kind, name, source.namespace), path)


def _destination(
    scope: Scope, to: Destination, namespace: str, path: DataPath, node_names: tuple[str, ...] | None
) -> Iterator[Problem]:
    if to.node is not None and node_names is not None and to.node not in node_names:
        yield scope.places.problem(path, unknown("node", to.node, node_names))
    if to.is_address or to.host in scope.outside:
        return
    services = scope.of_kind("service")
    meant = to.services(namespace, scope.scenario.kubernetes.dns.domain)
    key = next((key for key in meant if _may_mean(scope, key, meant[0])), meant[0] if meant else None)
    if key is None or (len(meant) == 1 and to.is_pod_of_foreign_service and "/".join(key) not in services):
        message = f"{to.host!r} is neither a Service's name (write 'web.default.svc') nor a host under cluster.outside"
        yield scope.places.problem(path, message)
        return
    wanted = f"{key[0]}/{key[1]}"
    service = services.get(wanted)
    if isinstance(service, Service):
        yield from _port(scope, to, service, path)
        return
    if wanted == CLUSTER_DNS or ("service", wanted) in scope.applied():
        return
    if not scope.all_read or any(generator.has(*key) for generator in scope.scenario.services):
        return
    elsewhere = [found for found in services if found.partition("/")[2] == key[1]]
    if elsewhere:
        message = f"there is no Service {key[1]!r} in namespace {key[0]!r}, but one in {elsewhere[0].partition('/')[0]!r}"
    elif to.host == "node" and to.path:
        node = to.path.strip("/").partition(":")[0]
        message = f"a node's port is written by the Service that has it, as nodePort://web:80?node={node[:60]}"
    else:
        names = [name.partition("/")[2] if name.startswith(f"{key[0]}/") else name for name in services]
        message = f"there is no Service {key[1]!r} in namespace {key[0]!r}{nearest(key[1], names)}"
    yield scope.places.problem(path, message)


def _may_mean(scope: Scope, key: tuple[str, str], first: tuple[str, str]) -> bool:
    """Whether there is such a Service; in `a.b`, a headless one where its pod would be meant."""
    service = scope.of_kind("service").get("/".join(key))
    return isinstance(service, Service) and (key == first or service.spec.is_headless)


def _port(scope: Scope, to: Destination, service: Service, path: DataPath) -> Iterator[Problem]:
    if to.is_variable_port:
        return
    ports = [port for port in service.spec.ports if to.port in (port.port, port.name)]
    name = service.metadata.name
    if not ports:
        if service.spec.type == "ExternalName" or (service.spec.is_headless and isinstance(to.port, int)):
            return
        meant = next((port for port in service.spec.ports if to.is_node_port and port.node_port == to.port), None)
        if meant is not None:
            message = f"{to.port} is the node port of port {meant.port}: write nodePort://{to.host}:{meant.port}"
        else:
            listed = ", ".join(_port_text(port) for port in service.spec.ports) or "none"
            message = f"Service {name} has no port {to.port} (it has {listed})"
        yield scope.places.problem(path, message)
    elif to.protocol not in {port.protocol for port in ports}:
        message = f"port {to.port} of Service {name} is {ports[0].protocol}, and {to.scheme}:// is {to.protocol}"
        yield scope.places.problem(path, message)
    if to.is_load_balancer and service.spec.type != "LoadBalancer":
        yield scope.places.problem(path, f"Service {name} is of type {service.spec.type} and has no balancer")
    if to.is_node_port and service.spec.type not in {"NodePort", "LoadBalancer"}:
        yield scope.places.problem(path, f"Service {name} is of type {service.spec.type} and has no node port")


def _family(scope: Scope, workload: Workload, path: DataPath) -> Iterator[Problem]:
    """A family that a workload asks for and its clients do not have."""
    wanted, to = workload.family, workload.target
    if wanted is None:
        return
    network = scope.scenario.cluster.network
    source = workload.from_ or From(clients=1)
    there: Iterable[str] = network.pod_families if source.node is None else network.node_families
    if source.outside is not None:
        there = {family_of(each) for host in scope.scenario.cluster.outside for each in host.address} or (wanted,)
    if wanted not in there:
        yield scope.places.problem((*path, "family"), f"the clients have no address of {wanted} {BOTH_FAMILIES}")
    elif to is not None and to.is_address and not to.is_node_port and not to.is_ingress and family_of(to.host) != wanted:
        yield scope.places.problem((*path, "family"), f"{to.host} is {family_of(to.host)}")


def _port_text(port: ServicePort) -> str:
    return f"{port.port}/{port.protocol}" + (f" {port.name!r}" if port.name else "")
