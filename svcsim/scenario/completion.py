"""The defaults of a scenario that depend on its other parts: names, destinations, clients, windows.

After this every workload has a name, a destination and somebody who sends, so that what runs is what is written down.
"""

from __future__ import annotations

from typing import Any

from svcsim.errors import InputError, Problem
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.kinds import KubeObject
from svcsim.kube.manifests import Manifests
from svcsim.scenario.address import INGRESS, Destination
from svcsim.scenario.cloud import DEFAULT_ADDRESSES
from svcsim.scenario.cluster import DEFAULT_NODE_CIDR, DEFAULT_POD_CIDR, Cluster
from svcsim.scenario.faults import Apply
from svcsim.scenario.generator import IPV6_ENDPOINT_CIDR, ServiceGenerator
from svcsim.scenario.ingress import names_an_ingress
from svcsim.scenario.model import Origin, Scenario
from svcsim.scenario.places import Places
from svcsim.scenario.quantities import family_of
from svcsim.scenario.workload import From, Workload

MAX_DEFAULT_CLIENTS = 3


def complete(
    scenario: Scenario, manifests: Manifests, name: str, places: Places, problems: list[Problem], *, all_read: bool = True
) -> tuple[Scenario, Manifests, tuple[dict[str, Any], ...]]:
    """The scenario with its dependent defaults, its objects, and those among them that were added: Deployments of clients.

    `all_read`: no manifest is missing for a mistake in it, so that a Service that is not there is a mistake of its own.
    """
    objects = Manifests(
        list(manifests.objects), list(manifests.places), manifests.left_out, manifests.unknown, list(manifests.remarks)
    )
    scenario._origin = Origin(manifests=objects)
    given = scenario.workloads
    if not given and "workloads" not in scenario.model_fields_set:
        given = (Workload(),)
    workloads = []
    added = []
    for i, workload in enumerate(given):
        update: dict[str, Any] = {}
        if not workload.name:
            update["name"] = "load" if i == 0 else f"load-{i + 1}"
        if workload.to is None:
            destination = _only_service(scenario, objects)
            if isinstance(destination, str):
                if all_read:
                    problems.append(places.problem(("workloads", i), destination))
            else:
                update["to"] = destination
        via = _via(workload, scenario, objects)
        if via is not None:
            update["via"] = via
        source = workload.from_ or From(clients=max(1, min(MAX_DEFAULT_CLIENTS, _node_count(scenario))))
        if source.clients is not None:
            clients = f"{workload.name or update['name']}-client"
            added.append(_clients(clients, source.namespace, source.clients))
            _add(objects, added[-1])
            source = From(deployment=clients, namespace=source.namespace)
        if source is not workload.from_:
            update["from_"] = source
        workloads.append(workload.model_copy(update=update) if update else workload)
    metadata = scenario.metadata if scenario.metadata.name else scenario.metadata.model_copy(update={"name": _plain(name)})
    completed = scenario.model_copy(
        update={
            "workloads": tuple(workloads), "metadata": metadata, "cluster": _with_networks(scenario),
            "services": tuple(_with_endpoint_cidr(generator, scenario) for generator in scenario.services),
        }
    )
    return completed, objects, tuple(added)


def _via(workload: Workload, scenario: Scenario, objects: Manifests) -> Destination | None:
    """The way to a host that neither a Service nor a host outside has, but an Ingress."""
    to = workload.to
    if workload.via is not None or to is None or to.scheme not in {"http", "https"} or to.is_variable:
        return None
    if to.is_address or any(host.name == to.host for host in scenario.cluster.outside):
        return None
    services = {obj.metadata.key for obj in objects.objects if isinstance(obj, Service)}
    if any("/".join(key) in services for key in to.services(domain=scenario.kubernetes.dns.domain)):
        return None
    applied = (obj for fault in scenario.faults if isinstance(fault, Apply) for obj in _parsed(fault))
    return INGRESS if names_an_ingress(to.host, (*objects.objects, *applied)) else None


def _parsed(fault: Apply) -> list[KubeObject]:
    try:
        return fault.parsed()
    except InputError:
        return []  # told where the manifests were read


def _with_networks(scenario: Scenario) -> Cluster:
    """The cluster with blocks for pods, nodes and balancers, where none are given, of the families that there are."""
    network = scenario.cluster.network
    given = network.model_fields_set
    pods, nodes = network.pod_cidr, network.node_cidr
    if "pod_cidr" not in given:
        pods = tuple(DEFAULT_POD_CIDR[family] for family in scenario.kubernetes.families)
    if "node_cidr" not in given:
        nodes = tuple(DEFAULT_NODE_CIDR[family_of(block)] for block in pods)
    cloud = scenario.cluster.cloud
    balancers = cloud.addresses
    if "addresses" not in cloud.model_fields_set:
        balancers = tuple(DEFAULT_ADDRESSES[family] for family in scenario.kubernetes.families)
    if (pods, nodes, balancers) == (network.pod_cidr, network.node_cidr, cloud.addresses):
        return scenario.cluster
    return scenario.cluster.model_copy(
        update={
            "network": network.model_copy(update={"pod_cidr": pods, "node_cidr": nodes}),
            "cloud": cloud.model_copy(update={"addresses": balancers}),
        }
    )


def _with_endpoint_cidr(generator: ServiceGenerator, scenario: Scenario) -> ServiceGenerator:
    if "endpoint_cidr" in generator.model_fields_set or "IPv4" in scenario.kubernetes.families:
        return generator
    return generator.model_copy(update={"endpoint_cidr": IPV6_ENDPOINT_CIDR})


def _node_count(scenario: Scenario) -> int:
    try:
        return len(scenario.node_names)
    except ValueError:
        return 1  # the mistake is reported with the nodes


def _plain(name: str) -> str:
    """A file's name as the name of a scenario."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-._") else "-" for char in name).strip("-._")
    return kept[:120] or "scenario"


def _only_service(scenario: Scenario, objects: Manifests) -> Destination | str:
    """The first port of the only Service that pods stand behind, or what is missing."""
    services = [obj for obj in objects.objects if isinstance(obj, Service) and obj.spec.ports and obj.spec.type != "ExternalName"]
    chosen = [service for service in services if service.spec.selector] or services
    if len(chosen) != 1:
        names = ", ".join(service.metadata.name for service in chosen[:5]) + (", …" if len(chosen) > 5 else "")
        found = f"there are {len(chosen)} Services: {names}" if chosen else "the manifests hold no Service"
        return f"'to' is missing, and {found} (write 'to: http://web.default.svc:80')"
    service = chosen[0]
    port = service.spec.ports[0]
    scheme: Any = {"UDP": "udp"}.get(port.protocol, "http" if port.port in {80, 8080, 8000} or "http" in port.name else "tcp")
    return Destination(scheme, f"{service.metadata.name}.{service.metadata.namespace}.svc", port.port)


def _clients(name: str, namespace: str, count: int) -> dict[str, Any]:
    """The manifest of a Deployment of client pods."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "client"}]}},
        },
    }


def _add(objects: Manifests, manifest: dict[str, Any]) -> None:
    objects.objects.append(Deployment.model_validate(manifest))
    objects.places.append(("", 0))
