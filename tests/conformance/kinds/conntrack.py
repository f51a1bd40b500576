"""conntrack: which flows kube-proxy makes the kernel forget after a sync."""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.conntrack_cleanup import stale_entries
from svcsim.linux.address import parse_address
from svcsim.linux.conntrack import Entry, State, flow_key
from svcsim.linux.packet import PROTOCOL_NUMBER
from tests.conformance.kinds._proxy import plain

KIND = "conntrack"
CLIENT, NODE_IP = parse_address("10.0.0.9"), parse_address("192.168.0.2")


def _service(given: dict[str, Any]) -> Service:
    given = plain(given)
    ingress = [{"ip": each} for each in given.get("loadBalancerIngress") or []]
    spec = {"clusterIP": given["clusterIP"], "externalIPs": given.get("externalIPs") or [], "ports": given["ports"]}
    if any(port.get("nodePort") for port in given["ports"]):
        spec["type"] = "LoadBalancer" if ingress else "NodePort"
    return Service.model_validate(
        {
            "metadata": {"namespace": given["namespace"], "name": given["name"]},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}},
        }
    )


def _slice(service: dict[str, Any], endpoints: list[dict[str, Any]]) -> EndpointSlice:
    """The Service's endpoints, each with a port number for all ports of the Service."""
    labels = {SERVICE_NAME_LABEL: service["name"]}
    number = endpoints[0]["port"]
    ports = [{"name": each["name"], "port": number, "protocol": each["protocol"]} for each in plain(service["ports"])]
    return EndpointSlice.model_validate(
        {
            "metadata": {"namespace": service["namespace"], "name": f"{service['name']}-1", "labels": labels},
            "endpoints": [
                {"addresses": [each["ip"]], "conditions": {"ready": each["serving"], "serving": each["serving"]}}
                for each in endpoints
            ],
            "ports": ports,
        }
    )


def _entry(given: dict[str, Any], number: int) -> Entry:
    target = given["origDst"]
    destination = NODE_IP if target == "any node IP" else parse_address(target)
    key = flow_key(PROTOCOL_NUMBER[given["protocol"]], CLIENT, 20000 + number, destination, given["origDstPort"])
    reply = given.get("replySrc")
    address = parse_address(reply) if reply else destination
    return Entry(key, State(0), address, given.get("replySrcPort") or given["origDstPort"], CLIENT, 20000 + number, 0)


def run(vector: dict) -> None:
    """Let an endpoint go and compare what is deleted, entry by entry."""
    scenario = vector["scenario"]
    service, endpoints = scenario["service"], plain(scenario["endpoints"])
    tracker = ChangeTracker(Catalogue())
    tracker.on_service(_service(service))
    gone = {"ip": scenario["deletedEndpoint"], "port": endpoints[0]["port"], "serving": True}
    tracker.on_slice(_slice(service, [*endpoints, gone]))
    tracker.checkout()
    tracker.on_slice(_slice(service, endpoints))
    changes = tracker.checkout()
    entries = [_entry(given, number) for number, given in enumerate(scenario["entries"])]
    assert len(entries) == scenario["entriesBefore"]
    deleted = {id(entry) for entry in stale_entries(entries, tracker, changes)}
    for given, entry in zip(scenario["entries"], entries, strict=True):
        assert (id(entry) in deleted) == given["deleted"], f"deleted is {id(entry) in deleted}: {dict(given)}"
    assert len(entries) - len(deleted) == scenario["entriesAfter"]
