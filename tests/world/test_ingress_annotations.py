"""Requests through an ingress controller whose Ingress is annotated: time-outs, tries, hashes, ClusterIPs, canaries."""

from __future__ import annotations

from typing import Any

import pytest

from svcsim.kube.ingress_annotations import PREFIX
from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, S
from svcsim.world import build
from tests.world.small import Seen, see, small
from tests.world.test_ingress import DOWN, FLAGS, KILL, LONG, TEXT, through

ANNOTATIONS = "manifests[ingress/shop].metadata.annotations"
SLOW = {"servers[1].serviceTime": "20ms"}
CANARY = """
  - apiVersion: v1
    kind: Service
    metadata: {name: web-2}
    spec: {selector: {app: web-2}, ports: [{port: 80, targetPort: 8080}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web-2}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web-2}}
      template: {metadata: {labels: {app: web-2}}, spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}}
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata:
      name: next
      annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "25"}
    spec:
      ingressClassName: nginx
      rules:
        - host: shop.example
          http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-2, port: {number: 80}}}}]}
"""


def annotated(**annotations: str) -> dict[str, Any]:
    """Annotations of the Ingress, an underscore for each hyphen."""
    return {ANNOTATIONS: {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}}


def test_an_ingress_says_for_itself_when_and_how_often_another_endpoint_is_tried():
    once = through(KILL, **SLOW, **annotated(proxy_next_upstream="off"))
    assert set(once.outcomes()) == {Outcome.OK, Outcome.BAD_GATEWAY}
    assert once.outcomes() == through(KILL, **SLOW, **{f"{FLAGS}.nextUpstream": "off"}).outcomes()
    single = through(KILL, **SLOW, **annotated(proxy_next_upstream_tries="1"))
    assert single.outcomes()[Outcome.BAD_GATEWAY] == once.outcomes()[Outcome.BAD_GATEWAY]


def test_an_ingress_has_time_outs_of_its_own():
    never = {f"{FLAGS}.keepaliveConnections": 0, f"{FLAGS}.connectTimeout": "200ms"}
    seen = through(DOWN, **LONG, **never, **annotated(proxy_connect_timeout="1"))
    late = seen.between(1.1, 4).requests
    assert {round(each / S) for each in late.retry_ns[late.succeeded].tolist()} == {0, 1, 2}
    hang = {"at": "1s", "hang": "deployment/web[1]"}
    read = through(hang, **LONG, **annotated(proxy_read_timeout="1", proxy_next_upstream="error"))
    failed = read.result.requests.outcome == Outcome.GATEWAY_TIMEOUT
    assert failed.any()
    assert (read.result.requests.latency_ns[failed] < 1100 * MS).all()


def test_no_further_try_begins_after_the_time_for_them():
    never = {f"{FLAGS}.keepaliveConnections": 0, f"{FLAGS}.connectTimeout": "500ms", f"{FLAGS}.nextUpstreamTries": 10}
    seen = through(DOWN, **LONG, **never, **{f"{FLAGS}.nextUpstreamTimeout": "400ms"})
    requests = seen.between(1.1, 4).requests
    failed = requests.outcome == Outcome.GATEWAY_TIMEOUT
    assert failed.mean() == pytest.approx(1 / 3, abs=0.04)
    assert (requests.retry_ns[~failed] < 400 * MS).all()


def test_a_busy_pods_503_goes_to_the_next_endpoint_where_that_is_asked_for():
    slow = {"at": "1s", "slow": "deployment/web[1]", "factor": 800}
    busy = {"servers[1].workers": 1, "servers[1].queueLimit": 0, "servers[1].probes": "separate", "workloads[0].timeout": "5s"}
    plain, tried = through(slow, **busy), through(slow, **busy, **annotated(proxy_next_upstream="error timeout http_503"))
    assert plain.outcomes(1)[Outcome.SERVER_BUSY] > 80
    assert set(tried.outcomes()) == {Outcome.OK}
    assert tried.flagged(Flag.REDIALED) > 80


def test_to_the_cluster_ip_kube_proxy_chooses_and_a_service_without_endpoints_is_refused():
    by_service = annotated(service_upstream="true")
    seen = through(**{f"{FLAGS}.keepaliveConnections": 0}, **by_service)
    counts = seen.answered()
    assert len(counts) == 3
    assert max(counts.values()) - min(counts.values()) > 5  # draws, not turns
    nobody = {"workloads[0].to": "http://shop.example/nobody", "run__duration": "1s"}
    assert set(through(**nobody).outcomes()) == {Outcome.SERVICE_UNAVAILABLE}
    refused = through(**nobody, **by_service).outcomes()  # some wait for a SYN again: the node limits its ICMP errors
    assert set(refused) <= {Outcome.BAD_GATEWAY, Outcome.REQUEST_TIMEOUT}
    assert refused[Outcome.BAD_GATEWAY] > 0


def test_through_the_cluster_ip_a_dead_pod_is_met_until_the_node_has_synced_and_a_further_try_may_meet_it_again():
    never = {f"{FLAGS}.keepaliveConnections": 0, "kubernetes.timings.proxyMinSyncIptables": "2s"}
    direct, by_service = (
        through(KILL, **LONG, **never, **more) for more in ({}, annotated(service_upstream="true"))
    )
    assert direct.failed() == 0
    assert by_service.outcomes()[Outcome.BAD_GATEWAY] > 0


def test_a_hash_keeps_a_path_at_one_pod_and_so_do_its_further_tries():
    hashed = annotated(upstream_hash_by="$request_uri")
    seen = through(**hashed)
    assert len(seen.answered()) == 1
    [pod] = seen.answered()
    place = pod.removeprefix("default/")
    struck = through({"at": "1s", "kill": f"pod/{place}"}, **SLOW, **hashed)
    assert struck.outcomes()[Outcome.BAD_GATEWAY] > 0
    assert len(struck.answered()) == 2  # until it is no endpoint any more: then its keys are another one's


def with_canary(weight: int = 25) -> str:
    """The small cluster with a second version of its pods that gets some of the requests."""
    return TEXT.replace("workloads:", CANARY.lstrip("\n") + "workloads:").replace('weight: "25"', f'weight: "{weight}"')


@pytest.mark.parametrize("weight", [0, 25, 100])
def test_a_canary_gets_its_share_of_requests(weight):
    seen = see(text=with_canary(weight), run__duration="4s")
    counts = seen.answered()
    share = sum(count for pod, count in counts.items() if pod.startswith("default/web-2-")) / sum(counts.values())
    assert share == pytest.approx(weight / 100, abs=0.08)
    assert seen.failed() == 0


def changed(name: str, service: str, **annotations: str) -> dict[str, Any]:
    """A fault that applies an Ingress for the shop's pages with these annotations."""
    metadata = {"name": name, "annotations": {PREFIX + key.replace("_", "-"): value for key, value in annotations.items()}}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    spec = {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": [path]}}]}
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}
    return {"at": "1s", "apply": ingress}


@pytest.mark.parametrize(("change", "reloads"), [
    (changed("next", "web-2", canary="true", canary_weight="100"), False), (changed("shop", "web", proxy_read_timeout="9"), True),
])
def test_another_weight_is_taken_up_by_running_workers_and_another_time_out_by_a_reload(change, reloads):
    world = build(small(change, text=with_canary(), run__duration="8s"))
    result = world.run()
    assert [event.reason for event in world.store.events.entries] == ["Sync", *(["RELOAD"] if reloads else [])]
    late = Seen(result).between(6, 8).answered_by()
    share = sum(count for pod, count in late.items() if pod.startswith("default/web-2-")) / sum(late.values())
    assert share == pytest.approx(0.25 if reloads else 1, abs=0.1)


def test_an_external_name_leads_to_a_host_outside_or_to_another_service():
    external = {"manifests[service/nobody].spec": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}}
    to = {"workloads[0].to": "http://shop.example/nobody", "run__duration": "1s"}
    seen = through(**external, **to)
    assert set(seen.outcomes()) == {Outcome.OK}
    gone = {"manifests[service/nobody].spec": {"type": "ExternalName", "externalName": "nowhere.example"}}
    assert set(through(**gone, **to).outcomes()) == {Outcome.SERVICE_UNAVAILABLE}


def test_what_an_annotation_does_not_do_here_is_noted():
    notes = small(text=TEXT, **annotated(limit_rps="5", proxy_body_size="8m")).notes
    assert [note for note in notes if "Ingress default/shop" in note] == [
        "annotations of Ingress default/shop have no effect: limit-rps"
    ]


def test_by_moving_averages_a_slow_pod_is_avoided_and_one_that_fails_at_once_is_not():
    slow = {"at": "1s", "slow": "deployment/web[1]", "factor": 50}
    often = {"workloads[0].arrivals": {"poisson": "200/s"}}
    turns, faster = through(slow, **often), through(slow, **often, **annotated(load_balance="ewma"))
    [pod] = faster.pods_of_fault()
    assert faster.answered(1.5)[pod] < 0.25 * turns.answered(1.5)[pod]
    closed = {"at": "1s", "closePort": "deployment/web[1]"}
    never = {f"{FLAGS}.keepaliveConnections": 0}
    refused = through(closed, **often, **never, **{f"{FLAGS}.loadBalance": "ewma"})
    assert refused.flagged(Flag.REDIALED, 1.5, 3) > 0.25 * len(refused.between(1.5, 3).requests)
