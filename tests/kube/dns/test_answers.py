"""Cluster DNS answers from what it has seen and follows each change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.dns.answers import DnsServer, reverse_address, reverse_name
from svcsim.kube.dns.config import DnsConfig, upstream_host
from svcsim.kube.dns.records import UDP_LIMIT_BYTES, answer_bytes, balanced, fit
from svcsim.kube.dns.zone import Zone
from svcsim.linux.address import Address, format_address, parse_address


def service(name: str, **spec: object) -> Service:
    metadata = {"name": name, "namespace": "default"}
    return Service.model_validate({"metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}], **spec}})


def endpoint_slice(service_name: str, *ips: str, name: str = "s", ready: bool = True) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": service_name}
    return EndpointSlice.model_validate(
        {
            "metadata": {"name": f"{service_name}-{name}", "namespace": "default", "labels": labels},
            "addressType": "IPv6" if any(":" in ip for ip in ips) else "IPv4",
            "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}} for ip in ips],
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        }
    )


def ips(server: DnsServer, name: str, qtype: str = "A") -> list[str]:
    return [format_address(address) for address in server.answer(name, qtype).addresses()]


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def server(zone: Zone) -> DnsServer:
    return DnsServer(zone, DnsConfig())


def test_a_service_resolves_until_it_is_deleted(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("web", clusterIP="10.96.0.1"))
    assert ips(server, "web.default.svc.cluster.local") == ["10.96.0.1"]
    zone.set_service(service("web", clusterIP="10.96.0.2"))
    assert ips(server, "web.default.svc.cluster.local.") == ["10.96.0.2"]
    assert server.answer(reverse_name(parse_address("10.96.0.1")), "PTR").rcode == "NXDOMAIN"
    zone.remove_service(("default", "web"))
    assert server.answer("web.default.svc.cluster.local.", "A").rcode == "NXDOMAIN"


def test_a_headless_service_follows_its_slices(zone: Zone, server: DnsServer) -> None:
    name = "db.default.svc.cluster.local."
    zone.set_service(service("db", clusterIP="None"))
    assert server.answer(name, "A").rcode == "NXDOMAIN"
    zone.set_slice(endpoint_slice("db", "10.0.0.1", "10.0.0.2"))
    zone.set_slice(endpoint_slice("db", "10.0.0.3", name="t"))
    assert ips(server, name) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    zone.set_slice(endpoint_slice("db", "10.0.0.2"))
    assert ips(server, name) == ["10.0.0.2", "10.0.0.3"]
    assert server.answer("10-0-0-1.db.default.svc.cluster.local.", "A").rcode == "NXDOMAIN"
    zone.remove_slice("default/db-t")
    assert ips(server, name) == ["10.0.0.2"]


def test_an_unready_endpoint_has_no_record(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("db", clusterIP="None"))
    zone.set_slice(endpoint_slice("db", "10.0.0.1", ready=False))
    assert server.answer("db.default.svc.cluster.local.", "A").rcode == "NXDOMAIN"


def test_endpoints_objects_serve_a_server_that_watches_them(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("db", clusterIP="None"))
    subset = {"addresses": [{"ip": "10.0.0.9", "hostname": "db-0"}], "ports": [{"name": "sql", "port": 5432}]}
    value = {"metadata": {"name": "db", "namespace": "default"}, "subsets": [subset]}
    zone.set_endpoints(Endpoints.model_validate(value))
    assert ips(server, "db-0.db.default.svc.cluster.local.") == ["10.0.0.9"]
    (record,) = server.answer("_sql._tcp.db.default.svc.cluster.local.", "SRV").answer
    assert record.data.port == 5432
    zone.remove_endpoints("default/db")
    assert server.answer("db-0.db.default.svc.cluster.local.", "A").rcode == "NXDOMAIN"


def test_names_of_both_families_exist_when_one_does(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("web", clusterIP="10.96.0.1"))
    answer = server.answer("web.default.svc.cluster.local.", "AAAA")
    assert answer.is_nodata
    assert [record.type for record in answer.authority] == ["SOA"]


def test_external_names_loop_nowhere(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("a", type="ExternalName", externalName="b.default.svc.cluster.local"))
    zone.set_service(service("b", type="ExternalName", externalName="a.default.svc.cluster.local"))
    zone.set_service(service("self", type="ExternalName", externalName="self.default.svc.cluster.local"))
    assert server.answer("a.default.svc.cluster.local.", "A").is_nodata
    assert server.answer("self.default.svc.cluster.local.", "A").is_nodata


def test_other_names_are_the_upstreams() -> None:
    host = upstream_host("example.com.", (parse_address("192.0.2.1"),), 300)
    server = DnsServer(Zone(), DnsConfig(upstream={"example.com.": host}))
    answer = server.answer("example.com", "A")
    assert answer.forwarded
    assert ips(server, "EXAMPLE.com.") == ["192.0.2.1"]
    assert server.answer("nowhere.example.", "A").rcode == "NXDOMAIN"


def test_a_server_that_has_not_listed_yet_fails_rather_than_denies(zone: Zone, server: DnsServer) -> None:
    zone.synced = False
    assert server.answer("web.default.svc.cluster.local.", "A").rcode == "SERVFAIL"


def test_a_reverse_zone_with_fallthrough_asks_the_upstream(zone: Zone) -> None:
    zones = ("cluster.local.", "in-addr.arpa.")
    server = DnsServer(zone, DnsConfig(zones=zones, fallthrough=("in-addr.arpa.",)))
    assert server.answer("1.2.3.4.in-addr.arpa.", "PTR").forwarded


def test_a_long_answer_is_cut_to_the_datagram(zone: Zone, server: DnsServer) -> None:
    name = "db.default.svc.cluster.local."
    zone.set_service(service("db", clusterIP="None"))
    zone.set_slice(endpoint_slice("db", *(f"10.0.0.{number}" for number in range(1, 101))))
    whole = server.answer(name, "A")
    cut = fit(name, whole)
    assert cut.truncated
    assert answer_bytes(name, cut) <= UDP_LIMIT_BYTES < answer_bytes(name, whole)
    assert 20 < len(cut.answer) < 30
    assert fit(name, whole, 65535) is whole


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_balancing_keeps_the_records_and_leads_with_any(bits: int) -> None:
    zone = Zone()
    zone.set_service(service("db", clusterIP="None"))
    zone.set_slice(endpoint_slice("db", "10.0.0.1", "10.0.0.2", "10.0.0.3"))
    answer = DnsServer(zone, DnsConfig()).answer("db.default.svc.cluster.local.", "A")
    assert sorted(balanced(answer, bits).addresses()) == sorted(answer.addresses())


def test_balancing_leads_with_each_endpoint_about_as_often(zone: Zone, server: DnsServer) -> None:
    zone.set_service(service("db", clusterIP="None"))
    zone.set_slice(endpoint_slice("db", "10.0.0.1", "10.0.0.2", "10.0.0.3"))
    answer = server.answer("db.default.svc.cluster.local.", "A")
    first = [balanced(answer, number * 0x9E3779B97F4A7C15).addresses()[0] for number in range(3000)]
    assert all(900 < first.count(address) < 1100 for address in answer.addresses())


@given(st.one_of(st.integers(0, 2**32 - 1), st.integers(2**128, 2**129 - 1)))
def test_a_reverse_name_leads_back_to_its_address(value: int) -> None:
    assert reverse_address(reverse_name(Address(value))) == value


@given(
    st.text(alphabet="abc-_.*019:", max_size=40),
    st.sampled_from(["A", "AAAA", "SRV", "PTR", "TXT", "NS", "ANY"]),
)
@pytest.mark.parametrize("dialect", ["coredns", "kube-dns", "spec"])
def test_no_question_is_too_strange(dialect: str, prefix: str, qtype: str) -> None:
    zone = Zone()
    zone.set_service(service("a", clusterIP="10.96.0.1"))
    server = DnsServer(zone, DnsConfig(dialect=dialect, pods="insecure", wildcards=True))
    for suffix in ("svc.cluster.local.", "a.default.svc.cluster.local.", "default.pod.cluster.local.", ""):
        answer = server.answer(f"{prefix}.{suffix}", qtype)
        assert answer.rcode in ("NOERROR", "NXDOMAIN")
