"""endpoints-map: the endpoints that kube-proxy gathers from slices, and what a change of them asks for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, EndpointSlice
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.service_ports import ServicePortName

KIND = "endpoints-map"
HERE = "test-node"


def _slices(given: list[dict[str, Any]]) -> list[EndpointSlice]:
    """The slices of one side; those of one Service are numbered in order."""
    numbers: Counter[tuple[str, str]] = Counter()
    found = []
    for each in given:
        namespace, service = each["namespace"], each["slice"]
        numbers[namespace, service] += 1
        endpoints = [_endpoint(endpoint) for endpoint in each["endpoints"]]
        addresses = [address for endpoint in endpoints for address in endpoint["addresses"]]
        found.append(
            EndpointSlice.model_validate(
                {
                    "metadata": {
                        "namespace": namespace,
                        "name": f"{service}-{numbers[namespace, service]}",
                        "labels": {SERVICE_NAME_LABEL: service},
                    },
                    "addressType": "IPv6" if any(":" in address for address in addresses) else "IPv4",
                    "endpoints": endpoints,
                    "ports": [{"name": name, "port": port, "protocol": "UDP"} for name, port in each["ports"].items()],
                }
            )
        )
    return found


def _endpoint(given: dict[str, Any]) -> dict[str, Any]:
    conditions = {key: given[key] for key in ("ready", "serving", "terminating") if key in given}
    return {
        "addresses": [given["address"]],
        "nodeName": HERE if given.get("isLocal") else "elsewhere",
        "conditions": conditions,
    }


def _endpoints(tracker: ChangeTracker) -> dict[ServicePortName, list[str]]:
    found: dict[ServicePortName, list[str]] = {}
    for key in tracker.slices:
        found.update({name: list(map(str, each)) for name, each in tracker.endpoints_of(key).items()})
    return {name: texts for name, texts in found.items() if texts}


def _expected(given: list[dict[str, Any]]) -> dict[ServicePortName, list[str]]:
    wanted: dict[ServicePortName, set[str]] = {}
    for each in given:
        for name, port in each["ports"].items():
            key = ServicePortName(each["namespace"], each["slice"], name, "UDP")
            wanted.setdefault(key, set()).update(f"{endpoint['address']}:{port}" for endpoint in each["endpoints"])
    return {name: sorted(texts) for name, texts in wanted.items() if texts}


def run(vector: dict) -> None:
    """Go from the one set of slices to the other in one sync."""
    case = vector["case"]
    tracker = ChangeTracker(Catalogue(), HERE)
    before, after = _slices(case["before"]), _slices(case["after"])
    for piece in before:
        tracker.on_slice(piece)
    tracker.checkout()
    assert _endpoints(tracker) == _expected(case["before"]), f"before: {_endpoints(tracker)}"
    kept = {piece.metadata.key for piece in after}
    for piece in before:
        if piece.metadata.key not in kept:
            tracker.on_slice_deleted(piece)
    for piece in after:
        tracker.on_slice(piece)
    changes = tracker.checkout()
    assert _endpoints(tracker) == _expected(case["after"]), f"after: {_endpoints(tracker)}"
    assert changes.conntrack_cleanup == case["conntrackCleanupRequired"], f"conntrack clean-up: {changes}"
    ready = tracker.local_ready_endpoints()
    assert ready == dict(case["localReadyEndpoints"]), f"local ready endpoints: {ready}"
