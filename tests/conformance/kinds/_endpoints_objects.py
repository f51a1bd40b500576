"""Services, pods, nodes and Endpoints of the kind `endpoints` as API objects."""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.api.endpoints import Endpoints
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service

SERVICE_FIELDS = ("type", "clusterIP", "clusterIPs", "ipFamilies", "publishNotReadyAddresses", "trafficDistribution")


def service_of(row: dict) -> Service:
    ports = [{"protocol": "TCP", **port} for port in row.get("ports", [{"port": 80, "targetPort": 8080}])]
    spec = {name: row[name] for name in SERVICE_FIELDS if row.get(name) is not None}
    metadata = {
        "name": row.get("name", "foo"),
        "namespace": row.get("namespace", "test"),
        "uid": row.get("uid", "service-uid"),
        "labels": row.get("labels"),
        "annotations": row.get("annotations"),
        "deletionNs": 1 if row.get("deletionTimestamp") else None,
    }
    selector = row.get("selector", {"foo": "bar"})
    return Service.model_validate({"metadata": metadata, "spec": {**spec, "selector": selector, "ports": ports}})


def pod_of(row: dict) -> Pod:
    ips = row.get("podIPs") or [row["ip"]]
    terminating = bool(row.get("deletionTimestamp") or row.get("terminating"))
    ready = "True" if row.get("ready", True) else "False"
    return Pod.model_validate(
        {
            "metadata": {
                "name": row["name"],
                "namespace": row.get("namespace", "test"),
                "uid": row.get("uid", f"{row['name']}-uid"),
                "labels": row.get("labels", {"foo": "bar"}),
                "resourceVersion": int(row.get("resourceVersion", 0)),
                "deletionNs": 1 if terminating else None,
            },
            "spec": {
                "nodeName": row.get("nodeName") or "",
                "hostname": row.get("hostname") or "",
                "subdomain": row.get("subdomain") or "",
                "restartPolicy": row.get("restartPolicy", "Always"),
                "containers": [{"ports": ports} for ports in row.get("containers", ())],
                "initContainers": row.get("initContainers", ()),
            },
            "status": {
                "phase": row.get("phase", "Running"),
                "podIP": ips[0],
                "podIPs": [{"ip": ip} for ip in ips],
                "conditions": [{"type": "Ready", "status": ready}],
            },
        }
    )


def pods_of(count: int, start: int = 0, **fields: object) -> list[dict]:
    """Rows of so many ready pods."""
    return [
        {"name": f"pod{number}", "ip": f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}", **fields}
        for number in range(start, start + count)
    ]


def node_of(row: dict) -> Node:
    return Node.model_validate({"metadata": {"name": row["name"], "labels": row.get("labels")}})


def nodes_named(names: Iterable[str]) -> dict[str, Node]:
    return {name: node_of({"name": name}) for name in names}


def endpoints_of(subsets: list[dict], labels: dict | None, annotations: dict | None = None) -> Endpoints:
    """An Endpoints object named like the Service, with pods (`pod0`, …) behind its addresses."""
    names = (f"pod{number}" for number in range(1 << 20))

    def addresses(ips: list[str]) -> list[dict]:
        return [{"ip": ip, "targetRef": _reference(next(names))} for ip in ips]

    value = [
        {
            "addresses": addresses(subset.get("addresses", [])),
            "notReadyAddresses": addresses(subset.get("notReadyAddresses", [])),
            "ports": subset.get("ports", []),
        }
        for subset in subsets
    ]
    metadata = {"name": "foo", "namespace": "test", "labels": labels, "annotations": annotations}
    return Endpoints.model_validate({"metadata": metadata, "subsets": value})


def _reference(name: str) -> dict:
    return {"kind": "Pod", "namespace": "test", "name": name, "uid": f"{name}-uid"}
