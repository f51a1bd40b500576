"""What annotations of ingress-nginx say of requests, which Ingresses are canaries, and what is told to have no effect."""

from __future__ import annotations

from typing import Any

import pytest

from svcsim.kube.api.ingress import Ingress
from svcsim.kube.ingress_annotations import PREFIX, Treatment, canary_weight, hashed_by, treatment_of, without_effect
from svcsim.kube.ingress_rules import Backend, Canary, rules_of


def own(**annotations: str) -> dict[str, str]:
    """Annotations of ingress-nginx, an underscore for each hyphen."""
    return {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}


def ingress(name: str, service: str, *, host: str = "shop.example", path: str = "/", **annotations: str) -> Ingress:
    """An Ingress with one path."""
    rule: dict[str, Any] = {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    return Ingress.model_validate({
        "metadata": {"name": name, "namespace": "default", "annotations": own(**annotations)},
        "spec": {"rules": [{"host": host, "http": {"paths": [rule]}}]},
    })


@pytest.mark.parametrize(("annotations", "treatment"), [
    ({}, Treatment()),
    ({"proxy_connect_timeout": "1", "proxy_read_timeout": "120"}, Treatment(1_000_000_000, 120_000_000_000)),
    ({"proxy_next_upstream": "error http_502 http_503 non_idempotent"}, Treatment(next_on=frozenset({"error", "http_503"}))),
    ({"proxy_next_upstream": "error off"}, Treatment(next_on=frozenset())),
    ({"proxy_next_upstream_tries": "0", "proxy_next_upstream_timeout": "2"}, Treatment(tries=0, next_timeout_ns=2_000_000_000)),
    ({"proxy_connect_timeout": "1s", "proxy_read_timeout": "-1", "proxy_next_upstream_tries": "many"}, Treatment()),
])
def test_time_outs_and_further_tries_are_whole_seconds_and_counts_and_anything_else_is_as_if_not_there(annotations, treatment):
    assert treatment_of(own(**annotations)) == treatment


@pytest.mark.parametrize(("text", "parts"), [
    ("$request_uri$host", (("uri", ""), ("host", ""))), ("${remote_addr}-x", (("address", ""), ("text", "-x"))),
    ("$http_x_user", ()), ("", ()),
])
def test_a_hash_is_of_texts_and_of_those_variables_that_requests_have(text, parts):
    assert hashed_by(own(upstream_hash_by=text)) == parts


@pytest.mark.parametrize(("annotations", "weight"), [
    ({}, (0, 100)), ({"canary_weight": "30"}, (30, 100)), ({"canary_weight": "30", "canary_weight_total": "1000"}, (30, 1000)),
    ({"canary_weight": "30", "canary_weight_total": "50"}, (30, 100)),
])
def test_a_canary_gets_its_weight_out_of_a_hundred_or_more(annotations, weight):
    assert canary_weight(own(**annotations)) == weight


def test_a_canary_joins_the_rule_for_its_host_and_path_and_is_no_rule_of_its_own():
    canary = {"canary": "true", "canary_weight": "10"}
    rules = rules_of([
        ingress("shop", "web"), ingress("new", "web-2", **canary), ingress("newer", "web-3", **canary),
        ingress("elsewhere", "web-4", path="/other", **canary),
    ])
    route = rules.route("shop.example", "/other")
    assert route is not None
    assert route.backend == Backend("web", 80, "default")
    assert route.canary == Canary(Backend("web-2", 80, "default"), 10, 100)
    assert [backend.service for backend in rules.backends] == ["web", "web-2"]


@pytest.mark.parametrize(("text", "balancing"), [("ewma", "ewma"), ("round_robin", "round_robin"), ("ip_hash", "round_robin")])
def test_an_unknown_way_of_balancing_falls_back_to_turns(text, balancing):
    assert [backend.balancing for backend in rules_of([ingress("shop", "web", load_balance=text)]).backends] == [balancing]
    assert [backend.balancing for backend in rules_of([ingress("shop", "web")]).backends] == [""]


def test_a_canary_takes_over_how_the_other_reaches_its_endpoints():
    rules = rules_of([ingress("shop", "web", service_upstream="true"), ingress("new", "web-2", canary="true", canary_weight="1")])
    assert [backend.by_service for backend in rules.backends] == [True, True]


@pytest.mark.parametrize(("annotations", "told"), [
    ({"proxy_body_size": "8m", "enable_cors": "true", "ssl_ciphers": "x", "proxy_buffering": "on"}, []),
    ({"proxy_connect_timeout": "1s"}, ["proxy-connect-timeout '1s' is no number"]),
    ({"proxy_next_upstream": "error http_5xx"}, ["proxy-next-upstream: nginx has no condition 'http_5xx'"]),
    ({"load_balance": "ip_hash"}, ["load-balance 'ip_hash': nginx falls back to round_robin"]), ({"load_balance": "ewma"}, []),
    ({"upstream_hash_by": "$cookie_user"}, ["upstream-hash-by '$cookie_user': requests have no such variable here"]),
    ({"affinity": "cookie", "session_cookie_name": "route"}, [
        "affinity 'cookie': clients keep no cookies here, so that each request is a new session's"]),
    ({"limit_rps": "5"}, ["limit-rps"]), ({"canary_by_header": "x"}, ["canary-by-header"]),
    ({"service_upstream": "yes"}, ["service-upstream 'yes' is neither 'true' nor 'false'"]),
    ({"proxy_conect_timeout": "1"}, ["proxy-conect-timeout (did you mean 'proxy-connect-timeout'?)"]),
])
def test_what_bears_on_traffic_and_is_not_acted_on_is_told(annotations, told):
    assert list(without_effect({**own(**annotations), "example.com/other": "x"})) == told
