"""Whose an Ingress is, which endpoints a controller sees behind its backends, and what it publishes."""

from __future__ import annotations

from typing import Any

import pytest

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.ingress import published_addresses, upstreams_of, with_addresses
from svcsim.kube.ingress_rules import Backend, address_of_host, is_own, published
from svcsim.linux.address import parse_address

OURS, THEIRS = "k8s.io/ingress-nginx", "example.com/other"


def ingress(name: str = "shop", *, annotation: str | None = None, address: str | None = None, **spec: Any) -> Ingress:
    """An Ingress with a class by annotation, and an address in its status."""
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if annotation:
        metadata["annotations"] = {"kubernetes.io/ingress.class": annotation}
    made = Ingress.model_validate({"metadata": metadata, "spec": spec})
    return made if address is None else with_addresses(made, [address])


def classes(*, default: str | None = None) -> dict[str, IngressClass]:
    """An IngressClass of each controller, one of them perhaps the default."""
    return {
        name: IngressClass.model_validate({
            "metadata": {"name": name, "annotations": {
                "ingressclass.kubernetes.io/is-default-class": "true" if name == default else "false"}},
            "spec": {"controller": controller},
        })
        for name, controller in (("nginx", OURS), ("other", THEIRS))
    }


@pytest.mark.parametrize(("given", "default", "own"), [
    ({"ingressClassName": "nginx"}, None, True), ({"ingressClassName": "other"}, None, False),
    ({"ingressClassName": "unknown"}, None, False), ({"ingressClassName": "other"}, "nginx", False),
    ({"annotation": "nginx"}, None, True), ({"annotation": "other"}, "nginx", False),
    ({}, None, False), ({}, "nginx", True), ({}, "other", False),
])
def test_an_ingress_is_a_controllers_by_class_annotation_or_default(given, default, own):
    assert is_own(ingress(**given), classes(default=default), "nginx", OURS) is own
    assert is_own(ingress(**given), classes(default=default), "nginx", OURS, without_class=True) is (own or not given)


def service(**spec: Any) -> Service:
    """A Service with a port by name and number."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return Service.model_validate({"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": ports, **spec}})


def piece(*addresses: str, ready: bool | None = True, port: int = 8080) -> EndpointSlice:
    """A slice of some endpoints."""
    return EndpointSlice.model_validate({
        "metadata": {"name": "web-1", "namespace": "default"}, "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    })


def test_upstreams_are_ready_endpoints_of_all_slices_once_at_each_ones_port():
    slices = [piece("10.0.0.1", "10.0.0.2"), piece("10.0.0.2", "10.0.0.3", ready=None), piece("10.0.0.4", ready=False),
              piece("10.0.0.5", port=9090)]
    found = [(parse_address("10.0.0.1"), 8080), (parse_address("10.0.0.2"), 8080), (parse_address("10.0.0.3"), 8080),
             (parse_address("10.0.0.5"), 9090)]
    for port in (80, "http"):
        assert list(upstreams_of(Backend("web", port, "default"), service(), slices)) == found


@pytest.mark.parametrize("backend", [Backend("web", 81), Backend("web", "https"), Backend("web", 53)])
def test_a_port_that_is_not_there_or_not_tcp_has_no_upstream(backend):
    assert upstreams_of(backend, service(), [piece("10.0.0.1")]) == ()
    assert upstreams_of(Backend("gone"), None, [piece("10.0.0.1")]) == ()


@pytest.mark.parametrize(("spec", "addresses"), [
    ({"clusterIP": "10.96.0.7"}, ("10.96.0.7",)), ({"clusterIP": "None"}, ()),
    ({"type": "NodePort", "clusterIP": "10.96.0.7"}, ("10.96.0.7",)),
    ({"type": "NodePort", "clusterIP": "10.96.0.7", "externalIPs": ["192.0.2.1"]}, ("192.0.2.1",)),
    ({"type": "LoadBalancer", "clusterIP": "10.96.0.7"}, ()),
    ({"type": "ExternalName", "externalName": "a.example"}, ("a.example",)),
])
def test_what_is_published_depends_on_the_type_of_the_service_before_the_controllers(spec, addresses):
    assert published_addresses(service(**spec)) == addresses


def test_a_host_is_found_where_its_own_rule_then_a_wildcard_then_any_rule_says():
    rules = {"own": "a.example", "wild": "*.example", "any": ""}
    ingresses = [
        ingress(name, address=f"192.0.2.{number}", rules=[{"host": host}])
        for number, (name, host) in enumerate(reversed(rules.items()), 1)
    ]
    assert address_of_host("a.example", ingresses) == ("192.0.2.3",)
    assert address_of_host("b.example", ingresses) == ("192.0.2.2",)
    assert address_of_host("b.other", ingresses) == ("192.0.2.1",)
    assert address_of_host("b.other", ingresses[1:]) == ()
    assert published(ingress()) == ()
