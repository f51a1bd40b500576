"""Kind `api-allocation`: what the API server gives a Service, keeps of it on update and takes back."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

import pytest

from svcsim.engine.streams import Stream
from svcsim.kube.allocators import AddressRange, AllocationError, PortRange, band_offset
from svcsim.kube.api.endpoints import Endpoints
from svcsim.kube.api.service import Service
from svcsim.kube.service_proxy import ProxyTargetError, proxy_location
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.store import InvalidError
from svcsim.linux.address import Prefix, format_address, is_ipv6, parse_address

KIND = "api-allocation"

RANGES = ["1.2.3.0/24", "2000::/108"]


def _stream() -> Stream:
    return Stream(1, "conformance/allocation")


def _addresses(cidr: str) -> AddressRange:
    return AddressRange(Prefix.parse(cidr), _stream())


class Cluster:
    """A registry and Services made in it."""

    def __init__(self, ranges: list[str] = RANGES) -> None:
        self.registry = ServiceRegistry(ranges)
        self._numbers = count()

    def service(self, **spec: object) -> Service:
        """A Service as a client sends it."""
        name = f"s{next(self._numbers)}"
        ports = spec.pop("ports", None) or [{"port": 80, "protocol": "TCP"}]
        fields = {name: value for name, value in spec.items() if value is not None}
        body = {"ports": ports, "selector": {"a": "b"}, **fields}
        return Service.model_validate({"metadata": {"name": name, "namespace": "default"}, "spec": body})

    def create(self, **spec: object) -> Service:
        """A Service as it is stored."""
        made = self.registry.create(self.service(**spec))
        assert isinstance(made, Service)
        return made

    def update(self, old: Service, new: Service) -> Service:
        """A Service as it is stored after an update."""
        made = self.registry.update(old, new)
        assert isinstance(made, Service)
        return made

    def holds(self, address: str) -> bool:
        """Whether a cluster IP is taken."""
        family = "IPv6" if ":" in address else "IPv4"
        return self.registry.range_of(family).holds(parse_address(address))

    def node_port_is_free(self, port: int) -> bool:
        """Whether a node port can be had."""
        try:
            made = self.create(type="NodePort", ports=[{"port": 80, "nodePort": port}])
        except InvalidError:
            return False
        self.registry.delete(made)
        return True


def changed(service: Service, **spec: object) -> Service:
    """The stored Service with some fields changed by a client."""
    body = {**service.spec.model_dump(by_alias=True, exclude_none=True), **spec}
    return Service.model_validate({"metadata": service.metadata, "spec": body})


def cluster_ip_bands(vector: dict) -> None:
    for row in vector["offset_vectors"]:
        assert band_offset(1 << row["host_bits"], 16, 256) == row["offset"], row["prefix"]
    for row in vector["doc_examples"]:
        addresses = _addresses(row["cidr"])
        assert (addresses.free, addresses.static_size) == (row["usable"], row["static_size"])
        first = parse_address(row["static_first"])
        assert format_address(first + row["static_size"] - 1) == row["static_last"]
        assert format_address(first + row["static_size"]) == row["dynamic_first"]
        assert row["usable"] - row["static_size"] == row["dynamic_size"]
        low, high = parse_address(row["dynamic_first"]), parse_address(row["dynamic_last"])
        assert all(low <= addresses.allocate(f"service-{number}") <= high for number in range(50))


def cluster_ip_range(vector: dict) -> None:
    case = vector["case"]
    addresses = _addresses(case.get("cidr", "192.168.1.0/24"))
    if "free" in case:
        assert addresses.free == case["free"]
    if "static_size" in case:
        assert addresses.static_size == case["static_size"]
    if "error" not in case:
        return
    first = parse_address("192.168.1.5")
    if "not in" in case["error"]:
        first = parse_address("192.168.2.2")
    elif "already" in case["error"]:
        addresses.reserve(first)
    else:
        for number in range(addresses.free):
            addresses.allocate(f"service-{number}")
        with pytest.raises(AllocationError, match=re.escape(case["error"])):
            addresses.allocate("one too many")
        return
    with pytest.raises(AllocationError, match=re.escape(case["error"])):
        addresses.reserve(first)


def node_port_bands(vector: dict) -> None:
    for row in vector["offset_vectors"]:
        assert band_offset(row["size"], 32, 128) == row["offset"]
    ports = PortRange(_stream())
    assert f"{ports.first}-{ports.last}" == vector["default_range"]
    assert ports.free == vector["size"]
    assert f"{ports.first}-{ports.first + ports.static_size - 1}" == vector["default_static_band"]
    assert f"{ports.first + ports.static_size}-{ports.last}" == vector["default_dynamic_band"]
    assert all(ports.allocate(f"service-{number}") >= ports.first + ports.static_size for number in range(50))


def node_port_allocator(vector: dict) -> None:
    first, last = map(int, vector["range"].split("-"))
    ports = PortRange(_stream(), first, last)
    case = vector["case"]
    if "free" in case:
        assert ports.free == case["free"]
    if "allocate" not in case:
        return
    if "error" not in case:
        ports.reserve(case["allocate"])
        assert ports.holds(case["allocate"])
        return
    if "already" in case["error"]:
        ports.reserve(case["allocate"])
    with pytest.raises(AllocationError, match=case["error"].replace("not in range", "not in the range")):
        ports.reserve(case["allocate"])


def init_cluster_ip(vector: dict) -> None:
    case = vector["case"]
    ranges = vector["ranges"]
    if "only" in case.get("cluster", ""):
        ipv6 = "IPv6" in case["cluster"]
        ranges = [cidr for cidr in ranges if (":" in cidr) == ipv6]
    cluster = Cluster(ranges)
    for address in case.get("taken", ()):
        family = "IPv6" if ":" in address else "IPv4"
        cluster.create(clusterIP=address, clusterIPs=[address], ipFamilies=[family], ipFamilyPolicy="SingleStack")
    if case.get("error"):
        with pytest.raises(InvalidError):
            cluster.create(**case["spec"])
        for address in case["spec"].get("clusterIPs", ()):
            assert cluster.holds(address) == (address in case.get("taken", ())), "all or nothing"
        return
    spec = cluster.create(**case["spec"]).spec
    addresses = [address for address in spec.cluster_ips if address != "None"]
    assert len(addresses) == case["expect_clusterips"]
    assert all(cluster.holds(address) for address in addresses)
    assert spec.cluster_ip == spec.cluster_ips[0]
    if "keeps" in case:
        assert case["keeps"] in addresses
    if "families" in case:
        assert ["IPv6" if is_ipv6(parse_address(address)) else "IPv4" for address in addresses] == case["families"]
        assert list(spec.ip_families) == case["families"]


def dual_stack_upgrade(vector: dict) -> None:
    case = vector["case"]
    ranges = RANGES if case["cluster"] == "dual" else [cidr for cidr in RANGES if (":" in cidr) == ("6" in case["cluster"])]
    cluster = Cluster(ranges)
    one = {"ipFamilies": case["from"], "ipFamilyPolicy": "RequireDualStack" if len(case["from"]) == 2 else "SingleStack"}
    old = cluster.create(**one)
    before = list(old.spec.cluster_ips)
    fields: dict[str, object] = {
        "ipFamilies": case["to"],
        "ipFamilyPolicy": "RequireDualStack" if len(case["to"]) == 2 else "SingleStack",
    }
    asked = ""
    if "second_ip" in case:
        asked = "2000::5" if "IPv6" in case["second_ip"] else "1.2.3.5"
        if "used" in case["second_ip"]:
            family = "IPv6" if ":" in asked else "IPv4"
            cluster.create(clusterIP=asked, ipFamilies=[family])
        fields["clusterIPs"] = [before[0], asked]
    elif len(case["to"]) < len(case["from"]):
        fields["clusterIPs"] = before[: len(case["to"])]
    new = changed(old, **fields)
    if case["expect"] == "error":
        with pytest.raises(InvalidError):
            cluster.update(old, new)
        return
    after = list(cluster.update(old, new).spec.cluster_ips)
    assert after[0] == before[0]
    assert len(after) == len(case["to"])
    if asked:
        assert after[1] == asked
    assert [address for address in before if cluster.holds(address)] == [each for each in before if each in after]
    assert all(cluster.holds(address) for address in after)


def health_check_node_port(vector: dict) -> None:
    case = vector["case"]
    cluster = Cluster()
    if "update" in case:
        old = cluster.create(type="LoadBalancer", externalTrafficPolicy="Local")
        port = old.spec.health_check_node_port
        new = cluster.update(old, changed(old, externalTrafficPolicy="Cluster"))
        assert new.spec.health_check_node_port == 0
        assert cluster.node_port_is_free(port)
        return
    fields = {"type": case["type"], "externalTrafficPolicy": case.get("externalTrafficPolicy")}
    port = cluster.create(**fields, healthCheckNodePort=case.get("healthCheckNodePort")).spec.health_check_node_port
    if isinstance(case["expect"], int):
        assert port == case["expect"]
    else:
        assert 30000 <= port <= 32767
        assert not cluster.node_port_is_free(port)


def _check_node_ports(ports: list[int], expect: object) -> None:
    if isinstance(expect, list):
        assert ports == expect
    elif "allocated" in str(expect):
        assert all(30000 <= port <= 32767 for port in ports)
    else:
        assert not any(ports), expect


def node_ports(vector: dict) -> None:
    case = vector["case"]
    cluster = Cluster()

    def named(ports: list[dict]) -> list[dict]:
        return [{"name": f"p{number}", **port} for number, port in enumerate(ports)]

    kind = case.get("type", "NodePort")
    fields: dict[str, object] = {"type": kind}
    if "allocateLoadBalancerNodePorts" in case:
        fields["allocateLoadBalancerNodePorts"] = case["allocateLoadBalancerNodePorts"]
    if "old" not in case:
        if case["expect"] == "error":
            with pytest.raises(InvalidError):
                cluster.create(**fields, ports=named(case["ports"]))
            return
        made = cluster.create(**fields, ports=named(case["ports"]))
        _check_node_ports([port.node_port for port in made.spec.ports], case["expect"])
        return
    old = cluster.create(type=case.get("old_type", kind), ports=named(case["old"]))
    new = changed(old, **{"externalTrafficPolicy": "Cluster", **fields}, ports=named(case["new"]))
    if case["expect"] == "error":
        with pytest.raises(InvalidError):
            cluster.update(old, new)
        return
    made = cluster.update(old, new)
    ports = [port.node_port for port in made.spec.ports]
    _check_node_ports(ports, case["expect"])
    for port in {port.node_port for port in old.spec.ports if port.node_port} - set(ports):
        assert cluster.node_port_is_free(port)


def service_proxy_location(vector: dict) -> None:
    services: dict[str, Service] = {}
    endpoints: dict[str, Endpoints] = {}
    for name, row in vector["services"].items():
        metadata = {"name": name, "namespace": "default"}
        services[name] = Service.model_validate({"metadata": metadata, "spec": {"ports": row.get("ports", [])}})
        subsets = []
        for text in row["endpoints"]:
            address, _, port_name = text.rstrip(")").partition(" (")
            ip, _, port = address.rpartition(":")
            subsets.append({"addresses": [{"ip": ip}], "ports": [{"name": port_name, "port": int(port)}]})
        endpoints[name] = Endpoints.model_validate({"metadata": metadata, "subsets": subsets})
    case = vector["case"]
    if case["expect"] == "error":
        with pytest.raises(ProxyTargetError):
            proxy_location(case["request"], services.get, endpoints.get)
        return
    assert proxy_location(case["request"], services.get, endpoints.get) == case["expect"]


def type_change_clears(vector: dict) -> None:
    case = vector["case"]
    change = case["change"]
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    if change.startswith("to ExternalName"):
        olds, kinds = [{"type": "ClusterIP"}], ["ExternalName"]
    elif "Local" in change:
        olds, kinds = [local], ["NodePort", "ClusterIP", "ExternalName"]
    else:
        olds, kinds = [{"type": "NodePort"}, {"type": "LoadBalancer"}], ["ClusterIP", "ExternalName"]
    for fields in olds:
        for kind in kinds:
            cluster = Cluster()
            old = cluster.create(**fields)
            external = {"externalName": "db.example.com"} if kind == "ExternalName" else {}
            made = cluster.registry.update(old, changed(old, type=kind, **external))
            assert isinstance(made, Service)
            spec = made.spec.model_dump(by_alias=True)
            for field in case["cleared"]:
                if field == "ports[].nodePort":
                    assert not any(port["nodePort"] for port in spec["ports"]), (kind, field)
                else:
                    assert not spec[field], (kind, field)


def _without_node_ports(service: Service) -> list[dict]:
    ports = service.spec.model_dump(by_alias=True, exclude_none=True)["ports"]
    return [{**port, "nodePort": 0} for port in ports]


def update_keeps(vector: dict) -> None:
    update, expect = vector["case"]["update"], vector["case"]["expect"]
    cluster = Cluster()
    if update.startswith("delete"):
        old = cluster.create()
        cluster.registry.delete(old)
        again = cluster.create(clusterIP=old.spec.cluster_ip, clusterIPs=list(old.spec.cluster_ips))
        assert again.spec.cluster_ips == old.spec.cluster_ips
    elif update.startswith("changes clusterIP"):
        old = cluster.create()
        other = "1.2.3.99" if old.spec.cluster_ip != "1.2.3.99" else "1.2.3.98"
        new = changed(old, clusterIP=other, clusterIPs=[other])
        with pytest.raises(InvalidError, match=re.escape(expect.removeprefix("Invalid "))):
            cluster.update(old, new)
    elif "healthCheckNodePort" in update:
        old = cluster.create(type="LoadBalancer", externalTrafficPolicy="Local")
        new = cluster.update(old, changed(old, healthCheckNodePort=0))
        assert new.spec.health_check_node_port == old.spec.health_check_node_port != 0
    elif "nodePort" in update:
        several = [{"name": "a", "port": 80}, {"name": "b", "port": 443}]
        old = cluster.create(type="NodePort", ports=several if "several" in update else several[:1])
        new = cluster.update(old, changed(old, ports=_without_node_ports(old)))
        assert [port.node_port for port in new.spec.ports] == [port.node_port for port in old.spec.ports]
    else:
        assert "clusterIP" in update, f"unknown update: {update}"
        old = cluster.create()
        new = cluster.update(old, changed(old, clusterIP="", clusterIPs=[]))
        assert new.spec.cluster_ips == old.spec.cluster_ips != ()


GROUPS: dict[str, Callable[[dict], None]] = {
    check.__name__: check
    for check in (
        cluster_ip_bands,
        cluster_ip_range,
        dual_stack_upgrade,
        health_check_node_port,
        init_cluster_ip,
        node_port_allocator,
        node_port_bands,
        node_ports,
        service_proxy_location,
        type_change_clears,
        update_keeps,
    )
}


def run(vector: dict) -> None:
    group = vector["group"]
    assert group in GROUPS, f"no such group: {group}"
    GROUPS[group](vector)
