"""no-local-endpoints: Service ports that their policy leaves without an endpoint on the node, as kube-proxy's metric has it."""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.nftables_proxier import NftablesProxier, ProgrammeLibrary
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.topology import categorize
from svcsim.linux.address import parse_address
from tests.conformance.kinds._proxy import plain

KIND = "no-local-endpoints"


def _objects(vector: dict[str, Any]) -> tuple[Service, EndpointSlice]:
    given = plain(vector["service"])
    spec = {key: value for key, value in given.items() if key not in ("namespace", "name") and value is not None}
    service = Service.model_validate({"metadata": {"namespace": given["namespace"], "name": given["name"]}, "spec": spec})
    endpoints = [
        {"addresses": [each["address"]], "nodeName": each["nodeName"], "conditions": {"ready": each["ready"]}}
        for each in plain(vector["endpoints"])
    ]
    ports = [{"name": each["name"], "port": each["port"], "protocol": each["protocol"]} for each in given["ports"]]
    metadata = {
        "namespace": given["namespace"], "name": f"{given['name']}-1", "labels": {SERVICE_NAME_LABEL: given["name"]}
    }
    piece = EndpointSlice.model_validate({"metadata": metadata, "endpoints": endpoints, "ports": ports})
    return service, piece


def _iptables(settings: ProxySettings, tracker: ChangeTracker) -> tuple[int, int]:
    plan = IptablesProxier(settings, tracker, IptablesProgrammes()).sync()
    return plan.no_local_internal, plan.no_local_external


def _nftables(settings: ProxySettings, tracker: ChangeTracker) -> tuple[int, int]:
    proxier = NftablesProxier(settings, tracker, ProgrammeLibrary())
    proxier.sync(0)
    contents = proxier.table.contents
    return contents.no_local_internal, contents.no_local_external


def _by_topology(settings: ProxySettings, tracker: ChangeTracker) -> tuple[int, int]:
    """IPVS: it counts a port with a policy that leaves it without a local endpoint while others have some."""
    tracker.checkout()
    internal = external = 0
    for ports in tracker.services.values():
        for name, info in ports.items():
            found = categorize(tracker.endpoints(name), info, settings.node_name, settings.zone)
            if found.has_any and not found.local:
                internal += info.internal_policy_local
                external += info.external_policy_local
    return internal, external


MODES = {"iptables": _iptables, "nftables": _nftables, "ipvs": _by_topology}


def run(vector: dict) -> None:
    """Sync once and compare the counts."""
    node_ip = parse_address("192.168.0.2")
    settings = ProxySettings(mode=vector["mode"], node_name=vector["nodeName"], node_ip=node_ip, local_ips=(node_ip,))
    tracker = ChangeTracker(Catalogue(), settings.node_name)
    service, piece = _objects(vector)
    tracker.on_service(service)
    tracker.on_slice(piece)
    internal, external = MODES[vector["mode"]](settings, tracker)
    expected = dict(vector["expect"]["sync_proxy_rules_no_local_endpoints_total"])
    assert {"internal": internal, "external": external} == expected, f"internal {internal}, external {external}"
