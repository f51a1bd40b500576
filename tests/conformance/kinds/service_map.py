"""service-map: which Service ports kube-proxy keeps as Services come, change and go."""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from tests.conformance.kinds._proxy import plain

KIND = "service-map"
FIELDS = (
    "type", "clusterIP", "clusterIPs", "ports", "loadBalancerIP", "externalTrafficPolicy", "internalTrafficPolicy",
    "healthCheckNodePort", "externalIPs", "externalName", "ipFamilies", "loadBalancerSourceRanges", "sessionAffinity",
)  # fmt: skip


def _service(given: dict[str, Any]) -> Service:
    given = plain(given)
    ingress = [{"ip": each} if isinstance(each, str) else each for each in given.get("ingress") or []]
    return Service.model_validate(
        {
            "metadata": {"namespace": given["namespace"], "name": given["name"]},
            "spec": {field: given[field] for field in FIELDS if field in given},
            "status": {"loadBalancer": {"ingress": ingress}},
        }
    )


def run(vector: dict) -> None:
    """Follow the steps; count ports and health check node ports after each."""
    tracker = ChangeTracker(Catalogue(vector.get("ipFamily", "IPv4")))
    for number, step in enumerate(vector["steps"]):
        for given in [*(step.get("add") or []), *(step.get("update") or [])]:
            tracker.on_service(_service(given))
        for key in step.get("delete") or []:
            tracker.on_service_deleted(key if isinstance(key, str) else f"{key['namespace']}/{key['name']}")
        tracker.checkout()
        ports = sum(len(each) for each in tracker.services.values())
        expected = step["expect"]
        assert ports == expected["servicePorts"], f"step {number}: {ports} ports, not {expected['servicePorts']}"
        health = tracker.health_check_node_ports()
        assert health == dict(expected["healthCheckNodePorts"]), f"step {number}: health check node ports {health}"
