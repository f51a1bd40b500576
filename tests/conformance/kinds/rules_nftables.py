"""Kind `rules-nftables`: the lines of the table that a sync writes.

Rules keep their order within a chain; everything else is compared as a set. `expected_beyond_base` leaves out the lines that do
not depend on Services: `BASE`, from pkg/proxy/nftables/proxier_test.go. Steps are two seconds apart.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from svcsim.kubeproxy.nftables_base import service_cidrs
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix
from svcsim.linux.nftables import text
from tests.conformance.kinds._proxy import Objects, settings_of

KIND = "rules-nftables"

BASE = """
add table ip kube-proxy { comment "rules for kube-proxy" ; }
add set ip kube-proxy cluster-ips { type ipv4_addr ; comment "Active ClusterIPs" ; }
add set ip kube-proxy nodeport-ips { type ipv4_addr ; comment "IPs that accept NodePort traffic" ; }
add map ip kube-proxy firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict ; \
comment "destinations that are subject to LoadBalancerSourceRanges" ; }
add map ip kube-proxy no-endpoint-nodeports { type inet_proto . inet_service : verdict ; \
comment "vmap to drop or reject packets to service nodeports with no endpoints" ; }
add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict ; \
comment "vmap to drop or reject packets to services with no endpoints" ; }
add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; \
comment "ClusterIP, ExternalIP and LoadBalancer IP traffic" ; }
add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict ; comment "NodePort traffic" ; }
add chain ip kube-proxy cluster-ips-check
add chain ip kube-proxy filter-prerouting-pre-dnat { type filter hook prerouting priority -110 ; }
add chain ip kube-proxy filter-output-pre-dnat { type filter hook output priority -110 ; }
add chain ip kube-proxy filter-forward { type filter hook forward priority 0 ; }
add chain ip kube-proxy filter-input { type filter hook input priority 0 ; }
add chain ip kube-proxy filter-output { type filter hook output priority 0 ; }
add chain ip kube-proxy firewall-check
add chain ip kube-proxy mark-for-masquerade
add chain ip kube-proxy masquerading
add chain ip kube-proxy nat-output { type nat hook output priority -100 ; }
add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100 ; }
add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100 ; }
add chain ip kube-proxy nodeport-endpoints-check
add chain ip kube-proxy reject-chain { comment "helper for @no-endpoint-services / @no-endpoint-nodeports" ; }
add chain ip kube-proxy services
add chain ip kube-proxy service-endpoints-check
add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
add rule ip kube-proxy cluster-ips-check ip daddr { 172.30.0.0/16 } drop comment "Drop traffic to unallocated ClusterIPs"
add rule ip kube-proxy filter-prerouting-pre-dnat ct state new jump firewall-check
add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check
add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check
add rule ip kube-proxy filter-input ct state new jump nodeport-endpoints-check
add rule ip kube-proxy filter-input ct state new jump service-endpoints-check
add rule ip kube-proxy filter-output ct state new jump service-endpoints-check
add rule ip kube-proxy filter-output-pre-dnat ct state new jump firewall-check
add rule ip kube-proxy filter-output ct state new jump cluster-ips-check
add rule ip kube-proxy firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips
add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000
add rule ip kube-proxy masquerading mark and 0x4000 == 0 return
add rule ip kube-proxy masquerading mark set mark xor 0x4000
add rule ip kube-proxy masquerading masquerade fully-random
add rule ip kube-proxy nat-output jump services
add rule ip kube-proxy nat-postrouting jump masquerading
add rule ip kube-proxy nat-prerouting jump services
add rule ip kube-proxy nodeport-endpoints-check ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
add rule ip kube-proxy reject-chain reject
add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips
add rule ip kube-proxy services ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
add element ip kube-proxy nodeport-ips { 192.168.0.2 }
add rule ip kube-proxy service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services
"""


def _flat(lines: Any) -> list[str]:
    if isinstance(lines, str):
        return [line for line in lines.splitlines() if line]
    if isinstance(lines, dict):
        return [line for part in lines.values() for line in _flat(part)]
    return [line for part in lines for line in _flat(part)]


def _sorted(lines: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Rules by chain in order; all other lines sorted."""
    rules, others = defaultdict(list), []
    for line in lines:
        words = line.split(" ", 5)
        if words[:2] == ["add", "rule"]:
            rules[words[4]].append(words[5])
        else:
            others.append(line)
    return dict(rules), sorted(others)


def _service_cidrs_case(case: dict[str, Any]) -> None:
    settings = ProxySettings(
        mode="nftables", family=case["ipFamily"], service_cidrs=tuple(Prefix.parse(block) for block in case["cidrs"])
    )
    assert ",".join(map(str, service_cidrs(settings))) == case["serviceCIDRs"]


def run(vector: dict[str, Any]) -> None:
    if "cases" in vector:
        for case in vector["cases"]:
            _service_cidrs_case(case)
        return
    settings = settings_of(vector["proxier"])
    objects = Objects(settings)
    proxier = NftablesProxier(settings, objects.tracker, ProgrammeLibrary())
    for number, step in enumerate(vector.get("steps", [vector])):
        objects.delete(step.get("delete") or [])
        objects.apply(step.get("apply") or [])
        proxier.sync(number * 2_000_000_000)
        beyond = step.get("expected_beyond_base")
        if beyond is None and "expected" not in step:
            continue
        expected = _flat(step["expected"]) if beyond is None else _flat(BASE.replace("\\\n", "")) + _flat(beyond)
        ruleset = proxier.table.ruleset()
        assert _sorted(list(text.lines(ruleset))) == _sorted(expected)
        assert text.parse(text.render(ruleset)) == ruleset
