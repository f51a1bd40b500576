"""The rules of a simulated node in a real kernel: `iptables-restore` takes them, and `iptables-save` shows the same rules."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, EndpointPort, EndpointSlice
from svcsim.kube.api.service import LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceStatus
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.settings import IPFamily, ProxySettings
from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.netfilter.rules import Rule, Table
from svcsim.linux.netfilter.text import parse, render
from tests.kubeproxy.objects import endpoint, service

TOOLS = ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft")


def in_a_namespace(command: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", command], input=text, text=True, capture_output=True, check=False, timeout=60
    )


def needs(tool: str) -> None:
    if not shutil.which("unshare") or not shutil.which(f"{tool}-restore"):
        pytest.skip(f"unshare or {tool}-restore is not installed")
    rule = "-A X -m statistic --mode random --probability 0.5 -m recent --name x --set"
    probe = in_a_namespace(f"{tool}-restore", f"*nat\n:X - [0:0]\n{rule}\nCOMMIT\n")
    if probe.returncode:
        pytest.skip(f"no network namespace with {tool} here: {probe.stderr.strip()[:100]}")


def content(table: Table) -> dict[str, list[tuple[frozenset[object], object]]]:
    def value(rule: Rule) -> tuple[frozenset[object], object]:
        return frozenset(rule.matches), rule.target

    return {chain: [value(rule) for rule in rules] for chain, rules in table.chains.items() if rules}


def everything(family: IPFamily) -> tuple[list[Service], list[EndpointSlice]]:
    """Services of every kind, with endpoints here, there, nowhere."""
    net = "10.0.0." if family == "IPv4" else "fd00::"
    outside = "203.0.113." if family == "IPv4" else "2001:db8::"
    block = "203.0.113.0/24" if family == "IPv4" else "2001:db8::/64"
    mode = {"type": "LoadBalancer", "load_balancer_source_ranges": (block,)}
    local = {"type": "NodePort", "external_traffic_policy": "Local", "internal_traffic_policy": "Local"}
    services = [
        service("plain", f"{net}1", 80, ServicePort(name="udp", port=53, protocol="UDP")),
        service("sticky", f"{net}2", 80, session_affinity="ClientIP"),
        service("empty", f"{net}3", 80, external_ips=(f"{outside}9",)),
        service("local", f"{net}4", ServicePort(port=80, node_port=30001), **local),
        service("remote", f"{net}5", ServicePort(port=80, node_port=30002), external_ips=(f"{outside}8",), **local),
        service("balanced", f"{net}6", ServicePort(port=80, node_port=30003), **mode).model_copy(
            update={"status": ServiceStatus(load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=f"{outside}7"),)))}
        ),
        service("watched", f"{net}7", ServicePort(port=80, node_port=30004), type="LoadBalancer",
                external_traffic_policy="Local", health_check_node_port=31000),
    ]  # fmt: skip
    slices = []
    for number, each in enumerate(services):
        name = each.metadata.name
        here = () if name in ("empty", "remote") else (endpoint(f"{net}{number}1", "here"), endpoint(f"{net}{number}2", "here"))
        there = () if name == "empty" else (endpoint(f"{net}{number}3", "there"),)
        slices.append(
            EndpointSlice(
                metadata=ObjectMeta(namespace="ns", name=f"{name}-1", labels={SERVICE_NAME_LABEL: name}),
                address_type=family,
                endpoints=here + there,
                ports=(EndpointPort(name="", port=8080), EndpointPort(name="udp", port=53, protocol="UDP")),
            )
        )
    return services, slices


@pytest.mark.parametrize("tool", TOOLS)
def test_a_kernel_takes_the_rules_of_every_kind_of_service_and_holds_what_was_meant(tool: str) -> None:
    needs(tool)
    family: IPFamily = "IPv6" if tool.startswith("ip6") else "IPv4"
    node_ip = parse_address("203.0.113.1" if family == "IPv4" else "2001:db8::1")
    cidr = Prefix.parse("10.0.0.0/8" if family == "IPv4" else "fd00::/64")
    settings = ProxySettings(
        family=family, node_name="here", node_ip=node_ip, local_ips=(node_ip,), local_detector="ByCIDR", cluster_cidr=cidr
    )
    catalogue = Catalogue(family)
    tracker = ChangeTracker(catalogue, "here", catalogue.snapshot(*everything(family)))
    proxier = IptablesProxier(settings, tracker, IptablesProgrammes(), order=1)
    proxier.sync()
    ruleset = proxier.table.ruleset()
    done = in_a_namespace(f"{tool}-restore && {tool}-save -t nat && {tool}-save -t filter", render(ruleset))
    assert not done.returncode, done.stderr
    saved = parse(done.stdout)
    for name in ("nat", "filter"):
        assert content(saved[name]) == content(ruleset[name])
