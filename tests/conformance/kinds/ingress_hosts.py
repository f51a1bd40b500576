"""Kind `ingress-hosts`: whether a request's host is a rule's."""

from __future__ import annotations

from svcsim.kube.ingress_rules import Backend, HostRule, IngressRules, PathRule, host_matches

KIND = "ingress-hosts"


def run(vector: dict) -> None:
    case = vector["case"]
    rule_host, host = case["rule_host"], case["request_host"]
    assert host_matches(rule_host, host) == case["match"]
    rules = IngressRules([HostRule(rule_host, (PathRule("/", "Prefix", Backend("web")),))])
    assert (rules.backend(host, "/") is not None) == case["match"]
