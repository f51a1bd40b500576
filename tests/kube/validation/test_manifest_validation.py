"""A manifest that the API server would refuse is a mistake with its place."""

from __future__ import annotations

import pytest

from svcsim.errors import InputError
from svcsim.kube.api.service import Service
from svcsim.kube.manifests import parse_manifests
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.store import InvalidError
from svcsim.linux.address import parse_address

HEAD = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n"


def problems(spec: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_manifests(HEAD + spec, "web.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_broken_rule_has_the_line_of_its_field() -> None:
    (problem,) = problems("  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n")
    assert problem.startswith("web.yaml:7:")
    assert "spec.ports[1].name" in problem


def test_an_unnamed_port_among_several_is_required_to_have_a_name() -> None:
    (problem,) = problems("  ports:\n  - {name: a, port: 80}\n  - port: 81\n")
    assert problem.startswith("web.yaml:7:")


def test_all_mistakes_are_told_together() -> None:
    told = problems("  externalName: x\n  ports: [{port: 0}, {port: 1, name: B}]\n")
    assert len(told) >= 3


@pytest.mark.parametrize(
    "spec",
    [
        "  ports: [{port: 80}]\n",
        "  clusterIP: 10.96.0.5\n  ports: [{port: 80}]\n",
        "  clusterIP: None\n",
        "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  ports: [{port: 80}]\n",
        "  type: ExternalName\n  externalName: db.example.com\n",
    ],
)
def test_what_the_api_server_fills_in_is_not_missed(spec: str) -> None:
    assert len(parse_manifests(HEAD + spec).objects) == 1


def test_a_refused_update_leaves_the_allocators_as_they_were() -> None:
    registry = ServiceRegistry(["10.96.0.0/24"])
    (manifest,) = parse_manifests(HEAD + "  ports: [{port: 80}]\n").objects
    old = registry.create(manifest)
    assert isinstance(old, Service)
    other = "10.96.0.77" if old.spec.cluster_ip != "10.96.0.77" else "10.96.0.78"
    new = old.model_copy(update={"spec": old.spec.model_copy(update={"cluster_ip": other, "cluster_ips": (other,)})})
    with pytest.raises(InvalidError, match=r"spec.clusterIPs\[0\]: may not change once set"):
        registry.update(old, new)
    addresses = registry.range_of("IPv4")
    assert addresses.holds(parse_address(old.spec.cluster_ip or ""))
    assert not addresses.holds(parse_address(other))
