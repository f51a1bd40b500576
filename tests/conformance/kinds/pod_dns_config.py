"""Kind `pod-dns-config`: the kubelet's resolv.conf for a pod, and the parts it is made of."""

from __future__ import annotations

from svcsim.kube.dns.pod_dns import (
    NAMESERVERS_MAX,
    SEARCH_LIMITS_BEFORE_1_22,
    DnsPolicyError,
    KubeletDns,
    PodDnsConfig,
    SearchLimits,
    dns_source,
    pod_resolv_conf,
)
from svcsim.kube.dns.resolv_conf import ResolvConf, ResolvConfError, merge_options, parse_resolv_conf

KIND = "pod-dns-config"


def _source(row: dict) -> str:
    try:
        return dns_source(row["dnsPolicy"], row["hostNetwork"])
    except DnsPolicyError:
        return "error"


def _check_parse(row: dict) -> None:
    try:
        conf = parse_resolv_conf(row["text"])
    except ResolvConfError:
        assert row["error"], f"{row['text']!r} must be readable"
        return
    assert not row["error"], f"{row['text']!r} must not be readable"
    assert list(conf.nameservers) == row["nameservers"], repr(row["text"])
    assert list(conf.searches) == row["searches"], repr(row["text"])
    assert sorted(conf.options) == sorted(row["options"]), repr(row["text"])


def _check_limits(limits: dict) -> None:
    now = SearchLimits()
    assert limits["nameservers"] == NAMESERVERS_MAX
    assert (limits["searches_now"], limits["search_chars_now"]) == (now.domains, now.characters)
    before = SEARCH_LIMITS_BEFORE_1_22
    assert (limits["searches_before_1_22"], limits["search_chars_before_1_22"]) == (
        before.domains,
        before.characters,
    )


def _check_without_host_file(row: dict) -> None:
    for ips, servers in ((("10.0.0.1",), "nameservers_ipv4_node"), (("fd00::1",), "nameservers_ipv6_node")):
        conf = pod_resolv_conf(KubeletDns(node_ips=ips), "default", row["dnsPolicy"]).conf
        assert (list(conf.nameservers), list(conf.searches)) == (row[servers], row["searches"])


def _check_merge(kubelet: KubeletDns, namespace: str, case: dict) -> None:
    config = case["dnsConfig"]
    added = config and PodDnsConfig(*(tuple(config.get(name, ())) for name in ("nameservers", "searches", "options")))
    made = pod_resolv_conf(kubelet, namespace, case["dnsPolicy"], added, case.get("hostNetwork", False))
    expected = case["expect"]
    assert list(made.conf.nameservers) == expected["nameservers"], case["name"]
    assert list(made.conf.searches) == expected["searches"], case["name"]
    assert sorted(made.conf.options) == sorted(expected["options"]), case["name"]


def run(vector: dict) -> None:
    for row in vector.get("dns_type", ()):
        assert _source(row) == row["uses"], row
    for row in vector.get("option_merge", ()):
        merged = merge_options(tuple(row["existing"]), tuple(row["add"]))
        assert sorted(merged) == sorted(row["expect"])
    for row in vector.get("resolv_conf_parse", ()):
        _check_parse(row)
    if "limits" in vector:
        _check_limits(vector["limits"])
    if "no_resolv_conf" in vector:
        _check_without_host_file(vector["no_resolv_conf"])
    given = vector["kubelet"]
    host = given["host_resolv_conf"]
    host_conf = ResolvConf(tuple(host["nameservers"]), tuple(host["search"]), tuple(host.get("options", ())))
    kubelet = KubeletDns(tuple(given["clusterDNS"]), given["clusterDomain"], host_conf)
    missing = pod_resolv_conf(KubeletDns((), given["clusterDomain"], host_conf), given["pod_namespace"])
    assert missing.conf == host_conf
    assert missing.warnings[0].startswith("MissingClusterDNS")
    assert dns_source(None, False) == dns_source(vector["default_policy"].split()[0], False)
    for case in vector["merge_cases"]:
        _check_merge(kubelet, given["pod_namespace"], case)
