"""Cases of the kind `endpoints` about the mirroring of Endpoints."""

from __future__ import annotations

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.controllers.endpointslice_mirroring import MIRRORING_CONTROLLER, mirror


def _endpoints(given: dict) -> Endpoints:
    details = given.get("addressDetail", {})
    hostnames = given.get("hostnames", {})

    def address(ip: str) -> dict:
        detail = {"hostname": hostnames.get(ip, "")}
        return {"ip": ip, **detail, **details.get(ip, {})}

    subsets = [
        {
            "addresses": [address(ip) for ip in subset["addresses"]],
            "notReadyAddresses": [address(ip) for ip in subset["notReadyAddresses"]],
            "ports": subset["ports"],
        }
        for subset in given["subsets"]
    ]
    deletion = 1 if given.get("endpointsDeletionPending") else None
    metadata = {"name": "test-ep", "namespace": "test", "deletionNs": deletion}
    return Endpoints.model_validate({"metadata": metadata, "subsets": subsets})


def _existing(rows: list[dict]) -> list[EndpointSlice]:
    slices = []
    for number, row in enumerate(rows):
        endpoints = [
            {"addresses": [item], "conditions": {"ready": True}} if isinstance(item, str) else item for item in row["endpoints"]
        ]
        labels = {
            "kubernetes.io/service-name": "test-ep",
            "endpointslice.kubernetes.io/managed-by": MIRRORING_CONTROLLER,
        }
        slices.append(
            EndpointSlice.model_validate(
                {
                    "metadata": {"name": f"test-ep-{number}", "namespace": "test", "labels": labels},
                    "endpoints": endpoints,
                    "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in row["ports"]],
                }
            )
        )
    return slices


def check_mirroring(given: dict, expect: dict) -> None:
    existing = _existing(given.get("existingSlices", []))
    plan = mirror(_endpoints(given), existing, given.get("maxEndpointsPerSubset", 1000))
    assert len(existing) + len(plan.create) - len(plan.delete) == expect["slices"]
    assert len(plan.create) + len(plan.update) + len(plan.delete) == expect["actions"]
    numbers = {
        "created": len(plan.create),
        "updated": len(plan.update),
        "deleted": len(plan.delete),
        "endpointsAdded": plan.added,
        "endpointsUpdated": plan.updated,
        "endpointsRemoved": plan.removed,
        "endpointsSkipped": plan.skipped,
    }
    assert {name: number for name, number in numbers.items() if name in expect} == {
        name: expect[name] for name in numbers if name in expect
    }
    if "endpoints" in expect:
        made = [
            {
                "address": endpoint.addresses[0],
                "hostname": endpoint.hostname,
                "nodeName": endpoint.node_name,
                "ready": endpoint.conditions.ready,
            }
            for each in plan.create + plan.update
            for endpoint in each.endpoints
        ]
        assert made == expect["endpoints"]


CHECKS = {"TestReconcile": check_mirroring}
