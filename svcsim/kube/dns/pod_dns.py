"""The resolv.conf that the kubelet gives a pod, from its dnsPolicy and dnsConfig, the cluster's and the host's own.

Sources: kubernetes pkg/kubelet/network/dns/dns.go; limits from pkg/apis/core/validation (32 searches of 2048
characters since 1.22, 6 of 256 before).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from svcsim.kube.dns.resolv_conf import ResolvConf, merge_options
from svcsim.linux.address import is_ipv6, parse_address

DnsPolicy = Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]
DnsSource = Literal["cluster", "host", "none"]

DEFAULT_OPTIONS = ("ndots:5",)
NAMESERVERS_MAX = 3


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """How many search domains a pod may have, and characters in all, with a blank between two."""

    domains: int = 32
    characters: int = 2048


SEARCH_LIMITS_BEFORE_1_22 = SearchLimits(6, 256)


class DnsPolicyError(ValueError):
    """A dnsPolicy that there is not."""


@dataclass(frozen=True, slots=True)
class PodDnsConfig:
    """`spec.dnsConfig` of a pod: lists that add to those of its policy. Options are `name` or `name:value`."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KubeletDns:
    """The kubelet's settings: clusterDNS, clusterDomain, the host's resolv.conf (None: resolvConf is empty)."""

    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = ""
    host: ResolvConf | None = None
    node_ips: tuple[str, ...] = ()
    limits: SearchLimits = field(default_factory=SearchLimits)


@dataclass(frozen=True, slots=True)
class PodResolvConf:
    """The pod's resolv.conf and the reasons of the warning events on the way (`DNSConfigForming`, …)."""

    conf: ResolvConf
    warnings: tuple[str, ...] = ()


def dns_source(policy: str | None, host_network: bool) -> DnsSource:
    """Where a pod's lists come from; an empty policy is ClusterFirst. DnsPolicyError for an unknown policy."""
    policy = policy or "ClusterFirst"
    if policy not in get_args(DnsPolicy):
        raise DnsPolicyError(f"no such dnsPolicy: {policy} (there are {', '.join(get_args(DnsPolicy))})")
    if policy == "None":
        return "none"
    if policy == "Default" or (policy == "ClusterFirst" and host_network):
        return "host"
    return "cluster"


def _distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for item in items if item))


def _host_conf(kubelet: KubeletDns) -> ResolvConf:
    if kubelet.host is not None:
        return kubelet.host
    families = [is_ipv6(parse_address(address)) for address in kubelet.node_ips] or [False]
    return ResolvConf(tuple(dict.fromkeys("::1" if ipv6 else "127.0.0.1" for ipv6 in families)), (".",))


def _within_limits(conf: ResolvConf, limits: SearchLimits) -> tuple[ResolvConf, tuple[str, ...]]:
    warnings = []
    searches = conf.searches
    if len(searches) > limits.domains:
        warnings.append("DNSConfigForming: search line limits were exceeded, some search paths have been omitted")
        searches = searches[: limits.domains]
    if len(" ".join(searches)) > limits.characters:
        warnings.append("DNSConfigForming: search line limits were exceeded, some search paths have been omitted")
        while searches and len(" ".join(searches)) > limits.characters:
            searches = searches[:-1]
    nameservers = conf.nameservers
    if len(nameservers) > NAMESERVERS_MAX:
        warnings.append("DNSConfigForming: nameserver limits were exceeded, some nameservers have been omitted")
        nameservers = nameservers[:NAMESERVERS_MAX]
    return ResolvConf(nameservers, searches, conf.options), tuple(dict.fromkeys(warnings))


def pod_resolv_conf(
    kubelet: KubeletDns,
    namespace: str,
    policy: str | None = "ClusterFirst",
    dns_config: PodDnsConfig | None = None,
    host_network: bool = False,
) -> PodResolvConf:
    """The resolv.conf of a pod.

    ClusterFirst without a cluster DNS falls back to the host's, with the warning MissingClusterDNS.
    """
    source = dns_source(policy, host_network)
    host = _host_conf(kubelet)
    warnings: tuple[str, ...] = ()
    if source == "cluster" and not kubelet.cluster_dns:
        warnings = ("MissingClusterDNS: kubelet has no cluster DNS, falling back to policy Default",)
        source = "host"
    if source == "cluster":
        domain = kubelet.cluster_domain
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
        conf = ResolvConf(kubelet.cluster_dns, own + host.searches, DEFAULT_OPTIONS)
        conf = ResolvConf(conf.nameservers, _distinct(conf.searches), conf.options)
    elif source == "host":
        conf = host
    else:
        conf = ResolvConf()
    if dns_config is not None:
        conf = ResolvConf(
            _distinct(conf.nameservers + dns_config.nameservers),
            _distinct(conf.searches + dns_config.searches),
            merge_options(conf.options, dns_config.options),
        )
    conf, limit_warnings = _within_limits(conf, kubelet.limits)
    return PodResolvConf(conf, warnings + limit_warnings)
