"""Kind `ingress-paths`: whether paths match a request's, and which of several wins."""

from __future__ import annotations

from svcsim.kube.ingress_rules import Backend, HostRule, IngressRules, PathRule, path_matches

KIND = "ingress-paths"


def run(vector: dict) -> None:
    case = vector["case"]
    paths = tuple(PathRule(row["path"], row["pathType"], Backend(str(number))) for number, row in enumerate(case["paths"]))
    rules = IngressRules([HostRule("", paths)])
    for request in case["requests"]:
        assert any(path_matches(each.path, each.path_type, request) for each in paths) == case["match"], request
        backend = rules.backend("any", request)
        assert (backend is not None) == case["match"], request
        if "winner" in case:
            assert backend == Backend(str(case["winner"])), request
