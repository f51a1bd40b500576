"""Whether the parts of a cluster fit: families of IP, links, routes, addresses, cluster DNS, costs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from svcsim.errors import InputError, Problem, UsageError
from svcsim.kube.api.service import Service
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.store import InvalidError
from svcsim.scenario.checks.scope import BOTH_FAMILIES, CLUSTER_DNS, Scope, unknown
from svcsim.scenario.cluster import FIRST_NODE, node_block_length
from svcsim.scenario.quantities import family_of
from svcsim.scenario.target import Target
from svcsim.yamlsource import DataPath


def family_mistakes(scope: Scope) -> Iterator[Problem]:
    """Families of IP that do not fit together."""
    kubernetes, cluster = scope.scenario.kubernetes, scope.scenario.cluster
    network = cluster.network
    pods, nodes = network.pod_families, network.node_families
    for family in kubernetes.families:
        if family not in pods:
            text = f"Services have {family} (serviceCIDR), but pods have no block of it: {','.join(network.pod_cidr)}"
            yield scope.places.problem(("cluster", "network", "podCIDR"), text)
    for family in pods:
        if family not in nodes:
            text = f"pods have {family} (podCIDR), but nodes have no block of it: {','.join(network.node_cidr)}"
            yield scope.places.problem(("cluster", "network", "nodeCIDR"), text)
    if set(pods) <= set(nodes) and pods[0] != nodes[0]:
        text = f"the first block is of the primary family, which nodes and pods share: pods have {pods[0]}, nodes {nodes[0]}"
        yield scope.places.problem(("cluster", "network", "nodeCIDR"), text)
    given: list[tuple[DataPath, tuple[str, ...]]] = [
        (("cluster", "outside", i, "address"), host.address) for i, host in enumerate(cluster.outside)
    ]
    if cluster.nodes is not None:
        given += [(("cluster", "nodes", "address"), cluster.nodes.address or ())]
        pools = cluster.nodes.list
        given += [(("cluster", "nodes", "list", i, "address"), pool.address or ()) for i, pool in enumerate(pools)]
    for path, addresses in given:
        for address in addresses:
            if family_of(address) not in nodes:
                message = f"{address} is {family_of(address)}, and nodes have {nodes[0]} alone {BOTH_FAMILIES}"
                yield scope.places.problem(path, message)


def room_mistakes(scope: Scope) -> Iterator[Problem]:
    """Blocks of addresses that are too small for so many nodes."""
    scenario, network = scope.scenario, scope.scenario.cluster.network
    count = len(scenario.nodes) or len(scope.of_kind("node"))
    for cidr in map(ip_network, network.pod_cidr):
        room, larger = 2 ** (node_block_length(cidr) - cidr.prefixlen), "10.0.0.0/8" if cidr.version == 4 else "fd00:10::/48"
        if room < count:
            message = f"{cidr} has room for {room} nodes, not for {count}: take a larger block, such as {larger}"
            yield scope.places.problem(("cluster", "network", "podCIDR"), message)
    last = max((i for i, node in enumerate(scenario.nodes) if not node.address), default=-1)
    for cidr in map(ip_network, network.node_cidr):
        if last >= 0 and FIRST_NODE + last + 1 >= cidr.num_addresses:
            message = f"{cidr} has room for {max(0, cidr.num_addresses - FIRST_NODE - 1)} nodes, not for {count}"
            yield scope.places.problem(("cluster", "network", "nodeCIDR"), message)


def link_mistakes(scope: Scope, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
    """Ends of links that are not there."""
    for i, link in enumerate(scope.scenario.cluster.network.links):
        for j, end in enumerate(link.between):
            kind, slash, name = end.partition("/")
            path: DataPath = ("cluster", "network", "links", i, "between", j)
            if not slash or not name or kind not in {"node", "zone", "outside", "switch"}:
                message = f"an end of a link is 'node/NAME', 'zone/NAME', 'outside/NAME' or 'switch/NAME', not {end[:60]!r}"
                yield scope.places.problem(path, message)
            elif kind != "switch":
                yield from scope.target(Target(kind, name), path, node_names)


def route_mistakes(scope: Scope, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
    """Nodes of routes that are not there."""
    for i, route in enumerate(scope.scenario.cluster.network.routes):
        for j, name in enumerate(route.via):
            if node_names is not None and name not in node_names:
                path: DataPath = ("cluster", "network", "routes", i, "via", j)
                yield scope.places.problem(path, unknown("node", name, node_names))


def allocation_mistakes(scope: Scope) -> Iterator[Problem]:
    """Cluster IPs and node ports that Services ask for and can't have, as the API server would say when it creates them."""
    registry = ServiceRegistry(scope.scenario.kubernetes.service_cidr)
    dns = [str(ip_network(block).network_address + 10) for block in scope.scenario.kubernetes.service_cidr]
    added = bool(scope.scenario.workloads) and CLUSTER_DNS not in scope.of_kind("service")
    own = scope.scenario.origin.own
    for obj, (file, line) in zip(own.objects, own.places, strict=True):
        if not isinstance(obj, Service):
            continue
        if obj.metadata.uid:
            registry.take_over(obj)
        taken = next((address for address in dns if address in (obj.spec.cluster_ip, *obj.spec.cluster_ips)), None)
        if added and taken is not None:
            message = f"Service {obj.metadata.key}: {taken} is the address of cluster DNS, {CLUSTER_DNS}"
            yield Problem(file, line, 1, "", message)
        spec = obj.spec
        asks = spec.cluster_ips or spec.cluster_ip or spec.ip_families or any(port.node_port for port in spec.ports)
        try:
            if asks:
                registry.create(obj)
        except InvalidError as error:
            text = str(error)
            yield Problem(file, line, 1, "", f"{text} {BOTH_FAMILIES}" if "configured" in text else text)


def discovery_mistakes(scope: Scope) -> Iterator[Problem]:
    """What this version's cluster DNS does not have."""
    kubernetes = scope.scenario.kubernetes
    mistake = kubernetes.dns_mistake()
    if mistake is not None:
        yield scope.places.problem(("kubernetes", "dns", mistake[0]), mistake[1])
    message = kubernetes.external_name_mistake()
    own = scope.scenario.origin.own
    for obj, (file, line) in zip(own.objects, own.places, strict=True) if message is not None else ():
        if isinstance(obj, Service) and obj.spec.type == "ExternalName":
            yield Problem(file, line, 1, "", f"Service {obj.metadata.key}: {message}")


def cost_mistakes(scope: Scope) -> Iterator[Problem]:
    """Profiles and costs that are not there."""
    calibration = scope.scenario.calibration
    try:
        profile = calibration.model_copy(update={"overrides": {}}).load()
    except UsageError as error:
        yield scope.places.problem(("calibration", "profile"), str(error))
        return
    except InputError as error:
        yield from error.problems
        return
    for name, value in calibration.overrides.items():
        try:
            profile.with_overrides({name: value})
        except UsageError as error:
            yield scope.places.problem(("calibration", "overrides", name), str(error))
