"""A small cluster with a Service of each kind, as its node sees it in each mode."""

from __future__ import annotations

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import ClientIPConfig, Service, ServicePort, SessionAffinityConfig
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.nftables_table import NftablesTable
from svcsim.kubeproxy.settings import Mode, ProxySettings
from svcsim.linux.address import Prefix, parse_address
from tests.kernel.namespaces import GATEWAY, NODE, PODS, REMOTE_POD
from tests.kubeproxy.objects import endpoint, piece, service

VIPS = {name: f"10.96.0.{10 + number}" for number, name in enumerate(("web", "sticky", "empty", "near", "far", "lb"))}
EXTERNAL_IP, BALANCER = "203.0.113.70", "203.0.113.80"


def settings(mode: Mode) -> ProxySettings:
    """How the node is set up."""
    return ProxySettings(
        mode=mode,
        node_name="n0",
        node_ip=parse_address(NODE),
        local_ips=(parse_address(NODE), parse_address(GATEWAY)),
        local_detector="ByCIDR",
        cluster_cidr=Prefix.parse("10.200.0.0/16"),
        nodeport_addresses=(Prefix.parse("192.168.50.0/24"),),
        service_cidrs=(Prefix.parse("10.96.0.0/16"),),
    )


def objects() -> list[Service | EndpointSlice]:
    """Services of each kind; `near` has no endpoint on the node, `far` has but one."""
    here = (endpoint(PODS["pod-a"], "n0"), endpoint(PODS["pod-b"], "n0"))
    there = endpoint(REMOTE_POD, "n1")
    affinity = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=600))
    balanced = service(
        "lb",
        VIPS["lb"],
        ServicePort(port=80, node_port=30003),
        type="LoadBalancer",
        load_balancer_source_ranges=("198.51.100.0/25",),
    )
    status = {"loadBalancer": {"ingress": [{"ip": BALANCER}]}}
    return [
        service("web", VIPS["web"], ServicePort(port=80, node_port=30001), type="NodePort", external_ips=(EXTERNAL_IP,)),
        service("sticky", VIPS["sticky"], 80, session_affinity="ClientIP", session_affinity_config=affinity),
        service("empty", VIPS["empty"], ServicePort(port=80, node_port=30004), type="NodePort"),
        service("near", VIPS["near"], 80, internal_traffic_policy="Local"),
        service("far", VIPS["far"], ServicePort(port=80, node_port=30002), type="NodePort", external_traffic_policy="Local"),
        Service.model_validate({**balanced.model_dump(by_alias=True, mode="json"), "status": status}),
        piece("web", *here, there),
        piece("sticky", *here, there),
        piece("near", there),
        piece("far", here[0], there),
        piece("lb", *here),
    ]


def _tracker() -> ChangeTracker:
    tracker = ChangeTracker(Catalogue(), "n0")
    for each in objects():
        if isinstance(each, Service):
            tracker.on_service(each)
        else:
            tracker.on_slice(each)
    return tracker


def nftables_table() -> NftablesTable:
    """The node's table in nftables mode."""
    proxier = NftablesProxier(settings("nftables"), _tracker(), ProgrammeLibrary())
    proxier.sync(0)
    return proxier.table


def iptables_table() -> IptablesTable:
    """The node's tables in iptables mode."""
    set_up = settings("iptables")
    proxier = IptablesProxier(set_up, _tracker(), IptablesProgrammes())
    proxier.sync(0)
    return proxier.table
