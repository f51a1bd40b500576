"""`kubernetes.version` refuses what that version did not have, or had off by default, where it stands in the file."""

from __future__ import annotations

import re

import pytest

import svcsim
from svcsim.errors import InputError
from svcsim.kube.features import KubernetesVersion, features
from svcsim.scenario.kubernetes import Kubernetes

SCENARIO = """
kubernetes:
  version: {version}
{kubernetes}
cluster:
  nodes: {{list: [{{name: worker-1{node}}}]}}
{cluster}
manifests:
  - apiVersion: v1
    kind: Service
    metadata:
      name: web
{metadata}
    spec:
      selector: {{app: web}}
      ports: [{{port: 80, targetPort: 8080{port}}}]
{spec}
{more}
workloads: []
"""
SLICE = """
  - apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
    addressType: IPv4
    endpoints: []
    ports: []
"""
ENDPOINTS = """
  - apiVersion: v1
    kind: Endpoints
    metadata: {name: db}
    subsets: []
"""
INGRESS = """
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: web}
    spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
"""
INGRESS_CLASS = """
  - apiVersion: networking.k8s.io/v1
    kind: IngressClass
    metadata: {name: nginx}
    spec: {controller: example.com/nginx}
"""
READINESS_GATES = """
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web}], readinessGates: [{conditionType: example.com/ready}]}
"""
SLEEP = """
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web, lifecycle: {preStop: {sleep: {seconds: 3}}}}]}
"""
NODE = """
  - apiVersion: v1
    kind: Node
    metadata: {name: worker-1, labels: {node.kubernetes.io/exclude-from-external-load-balancers: "true"}}
"""
PATH_TYPE = """
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: web}
    spec:
      rules:
        - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""
CLASS_NAME = """
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: web}
    spec: {ingressClassName: nginx, defaultBackend: {service: {name: web, port: {number: 80}}}}
"""
CLASS_ANNOTATION = """
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: web, annotations: {kubernetes.io/ingress.class: nginx}}
    spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
"""
MIXED = """
  - apiVersion: v1
    kind: Service
    metadata: {name: dns}
    spec: {type: LoadBalancer, selector: {app: dns}, ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53}]}
"""
EXCLUDED = ', labels: {node.kubernetes.io/exclude-from-external-load-balancers: "true"}'
INGRESS_STATUS = "    status: {loadBalancer: {ingress: [{ip: 198.51.100.2, ipMode: Proxy}]}}"


def spec(*lines):
    return {"spec": "\n".join(f"      {line}" for line in lines)}


def annotation(line):
    return {"metadata": f"      annotations: {{{line}}}"}


WRITTEN = [feature for feature in features() if "behaviour" not in feature.kinds]
BALANCER = "type: LoadBalancer"
USES = {
    "mode-userspace": {"kubernetes": "  proxy: userspace"},
    "mode-iptables": {"kubernetes": "  proxy: iptables"},
    "mode-ipvs": {"kubernetes": "  proxy: ipvs"},
    "mode-nftables": {"kubernetes": "  proxy: nftables"},
    "ingress": {"more": INGRESS},
    "ingress-class": {"more": INGRESS_CLASS},
    "ingress-class-name": {"more": CLASS_NAME},
    "ingress-class-annotation": {"more": CLASS_ANNOTATION},
    "ingress-path-type": {"more": PATH_TYPE},
    "external-ips": spec("externalIPs: [198.51.100.80]"),
    "load-balancer-ip": spec(BALANCER, "loadBalancerIP: 198.51.100.9"),
    "endpoints": {"more": ENDPOINTS},
    "load-balancer-source-ranges": spec(BALANCER, "loadBalancerSourceRanges: [203.0.113.0/24]"),
    "external-name": {**spec("type: ExternalName", "externalName: db.example.com"), "kubernetes": "  dns: {version: 1.7}"},
    "external-traffic-annotation": {
        **annotation("service.beta.kubernetes.io/external-traffic: OnlyLocal"), **spec("type: NodePort"),
    },
    "external-traffic-policy": spec("type: NodePort", "externalTrafficPolicy: Local"),
    "health-check-node-port": spec(BALANCER, "externalTrafficPolicy: Local", "healthCheckNodePort: 31000"),
    "session-affinity-timeout": spec("sessionAffinity: ClientIP", "sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}"),
    "publish-not-ready-addresses": spec("publishNotReadyAddresses: true"),
    "pod-readiness-gates": {"more": READINESS_GATES},
    "mixed-protocol-balancer": {"more": MIXED},
    "sctp": {"port": ", protocol: SCTP"},
    "node-exclusion": {"more": NODE},
    "node-exclusion-by-scenario": {"node": EXCLUDED},
    "endpoint-slices": {"more": SLICE},
    "dual-stack-policy": spec("ipFamilyPolicy: PreferDualStack"),
    "dual-stack-cluster": {"kubernetes": '  serviceCIDR: [10.96.0.0/16, "fd00:10:96::/112"]'},
    "allocate-node-ports": spec(BALANCER, "allocateLoadBalancerNodePorts: false"),
    "load-balancer-class": spec(BALANCER, "loadBalancerClass: example.com/internal"),
    "internal-traffic-policy": spec("internalTrafficPolicy: Local"),
    "topology-aware-hints": annotation("service.kubernetes.io/topology-aware-hints: auto"),
    "topology-mode": annotation("service.kubernetes.io/topology-mode: Auto"),
    "load-balancer-ip-mode": {"cluster": "  cloud: {ipMode: Proxy}"},
    "load-balancer-ip-mode-of-a-dump": {"spec": f"      {BALANCER}\n{INGRESS_STATUS}"},
    "pod-lifecycle-sleep": {"more": SLEEP},
    "traffic-distribution": spec("trafficDistribution: PreferClose"),
    "prefer-close-traffic-distribution": spec("trafficDistribution: PreferClose"),
    "prefer-same-traffic-distribution": spec("trafficDistribution: PreferSameNode"),
}


def problems(version, **parts):
    blank = dict.fromkeys(("kubernetes", "cluster", "metadata", "spec", "more", "port", "node"), "")
    text = SCENARIO.format(**{"version": version, **blank, **parts})
    try:
        svcsim.loads(text)
    except InputError as error:
        return text.splitlines(), error.problems
    return text.splitlines(), []


def before(text):
    return f"1.{KubernetesVersion.parse(text).minor[1] - 1}"


def test_every_line_of_the_table_has_a_use_here_and_a_source():
    assert set(USES) == {feature.name for feature in WRITTEN}


SOURCE = r"gates/\w+\.md|keps/|(PR|issue) \d+"


@pytest.mark.parametrize("feature", features(), ids=lambda feature: feature.name)
def test_every_line_cites_the_pages_and_pull_requests_that_it_was_checked_against(feature):
    assert re.search(SOURCE, feature.source)
    assert not feature.gate or f"gates/{feature.gate}.md" in feature.source or feature.name == "topology-mode"
    for stage in filter(None, (feature.alpha, feature.since, feature.deprecated)):
        assert stage == "1.0" or stage in feature.source


def test_ports_of_one_protocol_are_no_mixed_balancer_and_neither_are_those_of_another_type():
    alike = MIXED.replace(", protocol: UDP", "").replace("tcp, port: 53", "tcp, port: 54")
    assert not problems("1.19", more=alike)[1]
    assert not problems("1.19", more=MIXED.replace("type: LoadBalancer", "type: NodePort"))[1]


@pytest.mark.parametrize(
    ("feature", "without", "with_it"),
    [
        ("ipvs-graceful-termination", "1.12.1", "1.12.2"), ("iptables-monitor", "1.16", "1.17"),
        ("ipvs-unsorted", "1.29", "1.30"), ("endpoint-slices", "1.18", "1.19"), ("pace-from-completion", "1.33", "1.34"),
    ],
)
def test_a_version_is_asked_for_what_it_does(feature, without, with_it):
    assert not Kubernetes(version=without).has(feature)
    assert Kubernetes(version=with_it).has(feature)
    assert Kubernetes().has(feature)


@pytest.mark.parametrize("feature", WRITTEN, ids=lambda feature: feature.name)
def test_what_a_version_has_is_accepted_and_what_it_has_not_is_refused_at_its_place(feature):
    first = feature.since
    assert not problems(first, **USES[feature.name])[1]
    assert not problems("1.25" if feature.until else "1.36", **USES[feature.name])[1]
    if feature.until:
        _, [problem] = problems(feature.until, **USES[feature.name])
        assert f"was removed in Kubernetes {feature.until}" in problem.message
    if first == "1.0":
        return
    lines, found = problems(before(first), **USES[feature.name])
    told = f"is off by default in {before(first)}" if feature.alpha else f"from Kubernetes {first} on, not in {before(first)}"
    last = [step for steps in feature.paths for step in steps if step != "[]"][-1:]
    assert any(told in problem.message and all(step in lines[problem.line - 1] for step in last) for problem in found)


@pytest.mark.parametrize("feature", [each for each in WRITTEN if each.alpha], ids=lambda feature: feature.name)
def test_a_version_that_did_not_know_it_at_all_says_since_when_it_exists(feature):
    _, found = problems(before(feature.alpha), **USES[feature.name])
    assert f"exists from Kubernetes {feature.alpha} on" in found[0].message


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("1.8.0-alpha.3", False), ("1.8.0-beta.0", True), ("1.8.0-beta.1", True), ("1.8", True), ("1.7.9", False)],
)
def test_ipvs_came_with_a_beta(version, accepted):
    assert (Kubernetes(version=version, proxy={"mode": "ipvs"}).version_mistake() is None) is accepted


@pytest.mark.parametrize(
    ("version", "mode"), [("1.0", "userspace"), ("1.1", "userspace"), ("1.2", "iptables"), ("1.36", "iptables")]
)
def test_the_default_mode_is_the_versions_own(version, mode):
    assert Kubernetes(version=version).mode == mode


def test_without_a_version_everything_is_available():
    for parts in USES.values():
        assert not problems("", **parts)[1]


@pytest.mark.parametrize("feature", [each for each in WRITTEN if each.deprecated], ids=lambda feature: feature.name)
def test_what_a_version_advises_against_is_noted_from_then_on(feature):
    def notes(version):
        blank = dict.fromkeys(("kubernetes", "cluster", "metadata", "spec", "more", "port", "node"), "")
        return svcsim.loads(SCENARIO.format(**{"version": version, **blank, **USES[feature.name]})).notes

    sentence = f"is deprecated from Kubernetes {feature.deprecated} on"
    assert any(sentence in note for note in notes(feature.deprecated))
    assert not any("deprecated" in note for note in notes(before(feature.deprecated)))


def test_defaults_that_are_written_out_are_no_use_of_a_feature():
    parts = spec("type: NodePort", "externalTrafficPolicy: Cluster", "internalTrafficPolicy: Cluster")
    assert not problems("1.2", **parts)[1]


def test_a_mistake_is_told_once_with_the_older_of_two_features():
    _, found = problems("1.29", **USES["prefer-same-traffic-distribution"])
    assert [problem.message for problem in found] == ["spec.trafficDistribution exists from Kubernetes 1.30 on, not in 1.29"]


def test_what_a_fault_applies_and_what_a_comparison_sets_is_asked_too():
    applied = """
kubernetes: {version: 1.20}
manifests: [{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}]
workloads: []
faults:
  - at: 1s
    apply: {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}], internalTrafficPolicy: Local}}
"""
    with pytest.raises(InputError, match=r"<scenario>:7:\d+: .*spec.internalTrafficPolicy: Local exists from Kubernetes 1.21 on"):
        svcsim.loads(applied)
    compare = "compare: {kubernetes.version: [1.20, 1.36], kubernetes.proxy: [iptables, nftables]}"
    compared = applied.partition("faults:")[0] + compare
    with pytest.raises(InputError, match=r"mode nftables exists from Kubernetes 1.29 on, not in 1.20"):
        svcsim.loads(compared)
