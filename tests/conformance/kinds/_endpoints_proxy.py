"""Cases of the kind `endpoints` about kube-proxy's cache of slices."""

from __future__ import annotations

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker


def _slice(row: dict) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": row.get("service", "svc1")}
    endpoints = [
        {
            "addresses": [each["address"]],
            "nodeName": each.get("nodeName"),
            "conditions": {name: each.get(name) for name in ("ready", "serving", "terminating")},
        }
        for each in row["endpoints"]
    ]
    return EndpointSlice.model_validate(
        {
            "metadata": {"name": row.get("name", "s"), "namespace": row.get("namespace", "ns1"), "labels": labels},
            "endpoints": endpoints,
            "ports": [{"protocol": "TCP", **port} for port in row["ports"]],
        }
    )


def check_endpoints_by_port(given: dict, expect: dict) -> None:
    node = given["nodeName"]
    tracker = ChangeTracker(Catalogue("IPv4"), node)
    for row in given["slices"]:
        tracker.on_slice(_slice(row))
    tracker.checkout()
    first = _slice(given["slices"][0]) if given["slices"] else None
    found = tracker.endpoints_of(first.service_key) if first else {}
    made = {
        name.port: [
            {
                "endpoint": each.text,
                "ready": each.ready,
                "serving": each.serving,
                "terminating": each.terminating,
                "isLocal": each.is_local(node),
            }
            for each in endpoints
        ]
        for name, endpoints in found.items()
    }
    assert made == expect["endpointsByPort"]


def check_changed(given: dict, expect: dict) -> None:
    tracker = ChangeTracker(Catalogue("IPv4"))
    if given["before"] is not None:
        tracker.on_slice(_slice(given["before"]))
        tracker.checkout()
    if given["after"] is None:
        changed = tracker.on_slice_deleted(_slice(given["before"]))
    else:
        changed = tracker.on_slice(_slice(given["after"]))
    assert changed == expect["changed"]


CHECKS = {
    "TestEndpointsMapFromESC": check_endpoints_by_port,
    "TestEndpointInfoByServicePort": check_endpoints_by_port,
    "TestEsDataChanged": check_changed,
}
