"""A container's environment is made of what the kubelet knows when it starts."""

from __future__ import annotations

import pytest

from svcsim.kube.api.service import Service
from svcsim.kube.environment import (
    EnvironmentNotReadyError,
    EnvVar,
    container_environment,
    expand,
    service_variables,
)


def service(name: str, cluster_ip: str, namespace: str = "default") -> Service:
    metadata = {"name": name, "namespace": namespace}
    return Service.model_validate({"metadata": metadata, "spec": {"clusterIP": cluster_ip, "ports": [{"port": 80}]}})


def test_a_container_may_refer_to_services_and_hide_them() -> None:
    own = [EnvVar("URL", "http://$(WEB_SERVICE_HOST):$(NOT_THERE)"), EnvVar("WEB_SERVICE_PORT", "81")]
    made = {each.name: each.value for each in container_environment([service("web", "10.0.0.1")], "default", own)}
    assert made["URL"] == "http://10.0.0.1:$(NOT_THERE)"
    assert made["WEB_SERVICE_PORT"] == "81"


def test_ipv6_urls_have_brackets_and_hosts_have_none() -> None:
    made = {each.name: each.value for each in service_variables([service("web", "2001:db8::1")])}
    assert made["WEB_PORT"] == "tcp://[2001:db8::1]:80"
    assert made["WEB_SERVICE_HOST"] == made["WEB_PORT_80_TCP_ADDR"] == "2001:db8::1"


def test_a_static_pod_starts_before_the_services_are_known_and_others_wait() -> None:
    services = [service("web", "10.0.0.1")]
    assert container_environment(services, "default", services_synced=False, static_pod=True) == []
    with pytest.raises(EnvironmentNotReadyError):
        container_environment(services, "default", services_synced=False)


def test_unset_service_links_are_an_error() -> None:
    with pytest.raises(ValueError, match="enableServiceLinks"):
        container_environment([], "default", service_links=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(A", "$(A"), ("$(B)", "$(B)"), ("$$$(A)", "$1"), ("$", "$")],
)
def test_references_are_expanded_as_the_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected
