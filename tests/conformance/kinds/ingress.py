"""Kind `ingress`: the backend of a request to an Ingress."""

from __future__ import annotations

from svcsim.kube.ingress_rules import Backend, HostRule, IngressRules, PathRule

KIND = "ingress"


def rules(ingress: dict) -> IngressRules:
    hosts = [
        HostRule(
            rule.get("host", ""),
            tuple(PathRule(row["path"], row["pathType"], Backend(row["backend"])) for row in rule["paths"]),
        )
        for rule in ingress["rules"]
    ]
    default = ingress.get("defaultBackend")
    return IngressRules(hosts, Backend(default) if default else None)


def run(vector: dict) -> None:
    case = vector["case"]
    backend = rules(vector["ingresses"][case["ingress"]]).backend(case["host"], case["path"])
    assert (backend.service if backend else None) == case["backend"]
    assert (200 if backend else 404) == case["status"]
