"""What vectors of kube-proxy share: settings, and objects from manifests."""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, parse_address


def settings_of(proxier: dict[str, Any]) -> ProxySettings:
    """The settings of a vector's `proxier`."""
    cidr = proxier.get("clusterCIDR")
    service_cidrs = proxier.get("serviceCIDRs") or ""
    mark = proxier.get("masqueradeMark", "0x4000")
    gates = proxier.get("featureGates") or {}
    return ProxySettings(
        mode=proxier["mode"],
        family=proxier["ipFamily"],
        node_name=proxier["nodeName"],
        node_ip=parse_address(proxier.get("nodeIP") or "192.168.0.2"),
        local_ips=tuple(parse_address(text) for text in proxier.get("localIPs") or proxier.get("nodeIPs") or ()),
        local_detector=proxier["localDetector"],
        cluster_cidr=Prefix.parse(cidr) if cidr else None,
        masquerade_all=proxier["masqueradeAll"],
        masquerade_mark=mark if isinstance(mark, int) else int(mark, 16),
        nodeport_addresses=tuple(Prefix.parse(text) for text in proxier["nodePortAddresses"]),
        localhost_nodeports=proxier.get("localhostNodePorts", True),
        conntrack_tcp_liberal=proxier.get("conntrackTCPLiberal", False),
        random_fully=False,
        nfacct=True,
        service_cidrs=tuple(Prefix.parse(text) for text in service_cidrs.split(",") if text),
        load_balancer_ip_mode=gates.get("LoadBalancerIPMode", True),
        scheduler=proxier.get("scheduler", "rr"),
    )


def plain(value: Any) -> Any:
    """A vector's value as plain JSON containers: its own refuse to say that a field is missing."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class Objects:
    """The Services and slices of a step-wise vector, and a tracker that watches them."""

    def __init__(self, settings: ProxySettings) -> None:
        catalogue = Catalogue(settings.family, load_balancer_ip_mode=settings.load_balancer_ip_mode)
        self.tracker = ChangeTracker(catalogue, settings.node_name)
        self.slices: dict[tuple[str, str], EndpointSlice] = {}

    def apply(self, manifests: list[dict[str, Any]]) -> None:
        """Create or update objects."""
        for manifest in manifests:
            if manifest["kind"] == "Service":
                self.tracker.on_service(Service.model_validate(plain(manifest)))
            else:
                piece = EndpointSlice.model_validate(plain(manifest))
                self.slices[piece.metadata.namespace, piece.metadata.name] = piece
                self.tracker.on_slice(piece)

    def delete(self, references: list[dict[str, Any]]) -> None:
        """Delete objects."""
        for reference in references:
            metadata = reference.get("metadata") or reference
            namespace, name = metadata["namespace"], metadata["name"]
            if reference["kind"] == "Service":
                self.tracker.on_service_deleted(f"{namespace}/{name}")
            else:
                self.tracker.on_slice_deleted(self.slices.pop((namespace, name)))
