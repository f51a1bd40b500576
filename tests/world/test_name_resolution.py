"""Look-ups as traffic: the race of A and AAAA, resolvers' options, caches of servers and nodes, and what versions have."""

import pytest

from svcsim.errors import InputError
from svcsim.kube.api.service import Service
from svcsim.report.name_lookup import look_up
from svcsim.results.records import Outcome
from svcsim.scenario.loader import load, loads
from svcsim.sweep.runs import jobs_of, run_job
from svcsim.units import S
from svcsim.world import build
from tests.world.shipped import FOLDER


def run_all(name, **overrides):
    scenario = load(FOLDER / "discovery" / f"{name}.yaml", overrides)
    return {job.label: run_job(job, variant) for job, variant in jobs_of(scenario)}


@pytest.fixture(scope="module")
def race():
    return run_all("dns-race", **{"run.duration": "45s"})


def of_workload(result, workload):
    """The requests of a workload, by name."""
    return result.requests.select(result.requests.workload == result.names.workloads.index(workload))


def dns_waits_s(result, workload):
    """How long each look-up of a workload took, in whole tenths of a second."""
    return [round(int(each) / S, 1) for each in of_workload(result, workload).dns_ns]


def test_glibc_waits_five_seconds_for_one_lookup_in_twenty_on_an_old_kernel(race):
    """Issue kubernetes#56903: delays of 5 s; AKS#1657: about 1 in 20 look-ups."""
    waits = dns_waits_s(race["linux-4.19/kube-dns"], "glibc")
    assert set(waits) == {0.0, 5.0}
    assert waits.count(5.0) / len(waits) == pytest.approx(1 / 20, abs=0.02)


def test_musl_asks_again_after_half_its_time(race):
    """AKS#1657: multiples of 2.5 s."""
    waits = dns_waits_s(race["linux-4.19/kube-dns"], "musl")
    assert set(waits) == {0.0, 2.5}
    assert waits.count(2.5) / len(waits) == pytest.approx(1 / 20, abs=0.025)


@pytest.mark.parametrize(
    ("variant", "workload"),
    [
        ("linux-4.19/kube-dns", "glibc-reopen"), ("linux-4.19/node-local", "glibc"), ("linux-4.19/node-local", "musl"),
        ("linux-6.18/kube-dns", "glibc"), ("linux-6.18/kube-dns", "musl"),
    ],
)
def test_nobody_waits_who_asks_in_turn_or_the_node_or_has_a_new_kernel(race, variant, workload):
    assert set(dns_waits_s(race[variant], workload)) == {0.0}


def test_a_kept_glibc_process_learns_from_one_time_out():
    results = run_all(
        "dns-race",
        **{"run.duration": "45s", "workloads[0].resolver.process": "kept", "compare": {"kubernetes.dns.nodeLocal": [False]},
           "calibration.overrides": {"kernel.clash_resolution": 0}},
    )
    result = of_workload(next(iter(results.values())), "glibc")
    waited = result.start_ns[result.dns_ns > S]
    assert len(waited) > 0
    assert max(waited) - min(waited) < 25 * S, "each of three clients has learned when its first time-out is over"


@pytest.fixture(scope="module")
def outage():
    return run_all("node-local-cache")


def failures(result, workload, start_s, end_s):
    requests = of_workload(result, workload)
    within = (requests.start_ns >= start_s * S) & (requests.start_ns < end_s * S)
    return [Outcome(int(each)) for each in requests.outcome[within] if each != Outcome.OK]


def test_a_node_answers_what_it_knows_while_cluster_dns_is_away(outage):
    away = failures(outage["kube-dns"], "inside", 40, 55)
    assert len(away) > 500
    assert set(away) == {Outcome.DNS_FAILURE}
    assert failures(outage["node-local"], "inside", 40, 59) == []
    assert set(failures(outage["node-local"], "inside", 61, 65)) == {Outcome.DNS_FAILURE}, "answers are kept for 30 s"


def test_names_outside_the_cluster_need_no_cluster_dns_with_a_server_on_the_node(outage):
    assert failures(outage["node-local"], "outside", 5, 100) == []
    assert failures(outage["kube-dns"], "outside", 40, 55)


OUTSIDE = """
kubernetes: {proxy: iptables, dns: {replicas: 1}}
cluster: {nodes: 1, outside: [{name: api.example.com, address: 203.0.113.10, rtt: 20ms}]}
manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {containers: [{name: a}]}}
workloads: [{from: pod/client, to: http://web:80, arrivals: 1/s, resolve: never}]
run: {duration: 60s}
"""


def world_of(text, **overrides):
    return build(loads(text, "test.yaml", overrides=overrides), discovery=True)


def took_ms(world, name):
    found = look_up(world, name)
    assert found.status == "ok"
    return max(each.took_ns for each in found.asked) / 1e6


def test_a_server_asks_its_upstream_once_and_keeps_the_answer():
    world = world_of(OUTSIDE)
    assert took_ms(world, "api.example.com.") > 10
    assert took_ms(world, "api.example.com.") < 2
    world.clock.run(world.clock.now + 31 * S)
    assert took_ms(world, "api.example.com.") > 10


def test_without_a_cache_every_question_goes_to_the_upstream():
    world = world_of(OUTSIDE, **{"kubernetes.dns.cache": "0s"})
    assert took_ms(world, "api.example.com.") > 10
    assert took_ms(world, "api.example.com.") > 10


def test_with_autopath_the_first_question_gets_the_answer():
    assert len(look_up(world_of(OUTSIDE), "api.example.com").asked) == 8
    found = look_up(world_of(OUTSIDE, **{"kubernetes.dns.autopath": True}), "api.example.com")
    assert len(found.asked) == 2
    assert [record.type for record in found.answer.answer] == ["CNAME", "A"]
    assert found.question == "api.example.com.default.svc.cluster.local."


@pytest.mark.parametrize(
    ("settings", "cached"),
    [
        ({}, False), ({"kubernetes.version": "1.32"}, True), ({"kubernetes.version": "1.33"}, False),
        ({"kubernetes.dns.server": "kube-dns"}, True), ({"kubernetes.dns.cacheCluster": True}, True),
        ({"kubernetes.version": "1.32", "kubernetes.dns.cacheCluster": False}, False),
    ],
)
def test_the_clusters_own_names_are_cached_as_the_version_configures_it(settings, cached):
    world = world_of(OUTSIDE, **settings)
    assert look_up(world, "web").answer.answer
    service = world.store.get(Service, "default/web")
    world.store.delete(Service, service.metadata.key)
    world.clock.run(world.clock.now + 2 * S)
    assert bool(look_up(world, "web.default.svc.cluster.local.").answer.answer) == cached
    world.clock.run(world.clock.now + 31 * S)
    assert not look_up(world, "web.default.svc.cluster.local.").answer.answer


EXTERNAL = """
kubernetes: {dns: {version: "1.6"}}
manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}
  - {apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: ExternalName, externalName: db.example.com}}
workloads: [{from: {clients: 1}, to: "http://web:80", arrivals: 1/s}]
"""


def test_an_external_name_needs_cluster_dns_of_its_release():
    with pytest.raises(InputError) as caught:
        loads(EXTERNAL, "test.yaml")
    assert "test.yaml:5:" in str(caught.value)
    assert "type ExternalName needs cluster DNS 1.7 or later" in str(caught.value)
    loads(EXTERNAL, "test.yaml", overrides={"kubernetes.dns.version": "1.7"})
    loads(EXTERNAL, "test.yaml", overrides={"kubernetes.dns.version": "1.14.13"})


@pytest.mark.parametrize(("version", "server"), [("1.12", "kube-dns"), ("1.13", "coredns"), (None, "coredns")])
def test_coredns_is_the_default_from_its_version_on(version, server):
    settings = {} if version is None else {"kubernetes.version": version}
    assert loads(OUTSIDE, "test.yaml", overrides=settings).kubernetes.dns_server == server


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kubernetes.version": "1.8", "kubernetes.dns.server": "coredns"}, "CoreDNS"),
        ({"kubernetes.version": "1.12", "kubernetes.dns.nodeLocal": True}, "NodeLocal DNSCache"),
        ({"kubernetes.dns": {"server": "kube-dns", "autopath": True}}, "autopath is a plugin of CoreDNS"),
        ({"workloads[0].resolver": {"options": ["single-requst"]}}, "did you mean 'single-request'?"),
    ],
)
def test_what_a_version_or_a_resolver_does_not_have_is_a_mistake(settings, message):
    with pytest.raises(InputError) as caught:
        loads(OUTSIDE, "test.yaml", overrides=settings)
    assert message in str(caught.value)


def test_a_pods_dns_config_and_policy_are_its_resolvers():
    text = OUTSIDE.replace("spec: {containers: [{name: a}]}", (
        "spec: {dnsPolicy: None, dnsConfig: {nameservers: [10.96.0.10], searches: [svc.cluster.local], "
        "options: [{name: ndots, value: '1'}, {name: single-request-reopen}]}, containers: [{name: a}]}"
    ))
    found = look_up(world_of(text), "web.default")
    assert (found.conf.searches, found.conf.options) == (("svc.cluster.local",), ("ndots:1", "single-request-reopen"))
    assert [each.name for each in found.asked][:2] == ["web.default.", "web.default."]
    assert found.asked[1].at_ns > 0, "one question after the other"
