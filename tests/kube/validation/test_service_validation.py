"""Validation names each broken rule with its field, and never trips over what is written."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.validation import names
from svcsim.kube.validation.service import validate_service, validate_service_update

VALID: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "resourceVersion": "1"},
    "spec": {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "selector": {"app": "web"},
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
    },
}


def errors_with(**spec: object) -> list[tuple[str, str]]:
    service = copy.deepcopy(VALID)
    service["spec"].update(spec)
    return [(error.type, error.field) for error in validate_service(service)]


def test_a_valid_service_has_no_errors() -> None:
    assert validate_service(VALID) == []
    assert validate_service_update(VALID, VALID) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "NodePort"}, [("Required", "spec.externalTrafficPolicy")]),
        ({"selector": {"a b": "c"}}, [("Invalid", "spec.selector")]),
        ({"externalIPs": ["169.254.1.1"], "externalTrafficPolicy": "Cluster"}, [("Invalid", "spec.externalIPs[0]")]),
        ({"ports": [{"protocol": "ICMP", "port": 80, "targetPort": 80}]}, [("NotSupported", "spec.ports[0].protocol")]),
        ({"ports": [{"protocol": "TCP", "port": 70000, "targetPort": 80}]}, [("Invalid", "spec.ports[0].port")]),
        (
            {"ports": [{"protocol": "TCP", "port": 80, "targetPort": 80, "nodePort": 30080}]},
            [("Forbidden", "spec.ports[0].nodePort")],
        ),
        ({"trafficDistribution": "Near"}, [("NotSupported", "spec.trafficDistribution")]),
        ({"clusterIPs": ["10.0.0.1"]}, [("Invalid", "spec.clusterIPs")]),
        ({"clusterIP": "10.0.0.1"}, [("Required", "spec.clusterIPs")]),
        ({"healthCheckNodePort": 30000}, [("Invalid", "spec.healthCheckNodePort")]),
    ],
)
def test_each_rule_names_its_field(spec: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert errors_with(**spec) == expected


def test_a_local_load_balancer_keeps_its_health_check_port() -> None:
    old = copy.deepcopy(VALID)
    old["spec"].update(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        allocateLoadBalancerNodePorts=True,
        healthCheckNodePort=30001,
    )
    new = copy.deepcopy(old)
    new["spec"]["healthCheckNodePort"] = 30002
    assert [error.type for error in validate_service_update(new, old)] == ["Forbidden"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "type ports clusterIP clusterIPs ipFamilies sessionAffinity sessionAffinityConfig selector externalIPs "
    "externalName loadBalancerSourceRanges loadBalancerClass externalTrafficPolicy"
)
fields = st.sampled_from(FIELDS.split())


@given(st.dictionaries(fields, json_values, max_size=5), st.dictionaries(fields, json_values, max_size=5))
def test_nothing_that_is_written_makes_it_fail(one: dict[str, object], other: dict[str, object]) -> None:
    new, old = copy.deepcopy(VALID), copy.deepcopy(VALID)
    new["spec"].update(one)
    old["spec"].update(other)
    assert all(error.field and error.message for error in validate_service_update(new, old))


@given(st.text(alphabet="aB0-._/", max_size=70))
def test_a_name_is_right_exactly_when_there_is_nothing_to_say(text: str) -> None:
    label = bool(text) and len(text) <= 63 and set(text) <= set("a0-") and text[0] != "-" and text[-1] != "-"
    assert (names.dns1123_label(text) == []) == label
    assert (names.dns1035_label(text) == []) == (label and text[0] == "a")


@pytest.mark.parametrize(("text", "right"), [("1.2.3.4", True), ("01.02.03.04", True), ("1.2.3", False), ("", False)])
def test_addresses_may_have_leading_zeros(text: str, right: bool) -> None:
    assert (names.ip(text) == []) == right
