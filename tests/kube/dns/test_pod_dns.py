"""The kubelet's resolv.conf keeps within its limits and says what it left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.dns.pod_dns import (
    SEARCH_LIMITS_BEFORE_1_22,
    DnsPolicyError,
    KubeletDns,
    PodDnsConfig,
    SearchLimits,
    dns_source,
    pod_resolv_conf,
)
from svcsim.kube.dns.resolv_conf import ResolvConf, ResolverOptions, parse_resolv_conf

KUBELET = KubeletDns(("10.96.0.10",), "cluster.local", ResolvConf(("8.8.8.8",), ("corp.example",)))


def test_a_cluster_first_pod_searches_its_namespace_then_the_cluster_then_the_hosts_domains() -> None:
    conf = pod_resolv_conf(KUBELET, "shop").conf
    assert str(conf) == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_an_unknown_policy_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(DnsPolicyError, match="ClusterFirstWithHostNet"):
        dns_source("clusterFirst", False)


@pytest.mark.parametrize("limits", [SearchLimits(), SEARCH_LIMITS_BEFORE_1_22])
def test_searches_and_name_servers_are_cut_to_the_limits_with_a_warning(limits: SearchLimits) -> None:
    many = PodDnsConfig(
        tuple(f"10.0.0.{number}" for number in range(5)), tuple(f"domain{number}.{'x' * 80}" for number in range(40))
    )
    kubelet = KubeletDns(("10.96.0.10",), "cluster.local", KUBELET.host, limits=limits)
    made = pod_resolv_conf(kubelet, "shop", dns_config=many)
    assert len(made.conf.nameservers) == 3
    assert len(made.conf.searches) <= limits.domains
    assert len(" ".join(made.conf.searches)) <= limits.characters
    assert [warning.partition(":")[0] for warning in made.warnings] == ["DNSConfigForming"] * 2


words = st.text(alphabet="abz.-19", min_size=1, max_size=12).filter(lambda text: text.strip("."))
domains = words.map(lambda text: text.removesuffix("."))


@given(st.lists(words, max_size=4), st.lists(domains, max_size=4))
def test_what_is_written_is_read_back(nameservers: list[str], searches: list[str]) -> None:
    conf = ResolvConf(tuple(nameservers), tuple(s for s in searches if not s.endswith(".")), ("ndots:5",))
    assert parse_resolv_conf(str(conf)) == conf


def test_resolver_options_keep_within_the_c_librarys_limits() -> None:
    options = ResolverOptions.parse(("ndots:99", "timeout:99", "attempts:99", "rotate", "unknown", "ndots:x"))
    assert (options.ndots, options.timeout_s, options.attempts, options.rotate) == (15, 30, 5, True)
    assert not ResolverOptions.parse(("rotate",), "musl").rotate
