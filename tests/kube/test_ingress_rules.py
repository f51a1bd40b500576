"""An Ingress chooses a backend by host, then by the longest path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.ingress_rules import (
    Backend,
    HostRule,
    IngressRules,
    PathRule,
    class_of,
    host_matches,
    path_matches,
    rules_of,
)


def rule(host: str, path: str, backend: str, path_type: str = "Prefix") -> HostRule:
    return HostRule(host, (PathRule(path, path_type, Backend(backend)),))


def test_an_exact_host_comes_before_a_wildcard_and_that_before_any() -> None:
    rules = IngressRules([rule("", "/", "any"), rule("*.foo.com", "/", "wild"), rule("a.foo.com", "/a", "exact")])
    assert rules.backend("A.foo.com:80", "/a/b?c=/d") == Backend("exact")
    assert rules.backend("a.foo.com", "/b") == Backend("wild")
    assert rules.backend("foo.com", "/a") == Backend("any")


def test_rules_of_one_host_are_one() -> None:
    rules = IngressRules([rule("h", "/", "root"), rule("H", "/a/b", "long"), rule("h", "/a", "exact", "Exact")])
    assert [rules.backend("h", path).service for path in ("/a/b", "/a", "/a/")] == ["long", "exact", "root"]


def test_without_a_rule_the_default_backend_answers_or_nobody() -> None:
    assert IngressRules([], Backend("default")).backend("h", "/x") == Backend("default")
    assert IngressRules([HostRule("h", ())]).backend("h", "/x") is None


def ingress(name: str, spec: dict, **metadata: object) -> Ingress:
    return Ingress.model_validate({"metadata": {"name": name, "namespace": "shop", **metadata}, "spec": spec})


def test_an_older_ingress_comes_first_and_backends_are_of_its_namespace() -> None:
    def spec(service: str) -> dict:
        backend = {"service": {"name": service, "port": {"name": "http"}}}
        return {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}

    rules = rules_of([ingress("a", spec("young"), creationNs=2), ingress("b", spec("old"), creationNs=1)])
    assert rules.backend("any", "/x") == Backend("old", "http", "shop")


def test_the_beta_form_and_a_rule_without_paths_fall_to_the_default_backend() -> None:
    beta = {"backend": {"serviceName": "web", "servicePort": 80}, "rules": [{"host": "h"}]}
    assert rules_of([ingress("a", beta)]).backend("h", "/") == Backend("web", 80, "shop")


def test_an_ingress_without_a_class_has_the_default_one() -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    default = IngressClass.model_validate({"metadata": {"name": "nginx", "annotations": annotations}})
    assert class_of(ingress("a", {}), [default]) == "nginx"
    assert class_of(ingress("a", {}), []) is None
    assert class_of(ingress("a", {"ingressClassName": "other"}), [default]) == "other"
    old = ingress("a", {}, annotations={"kubernetes.io/ingress.class": "old"})
    assert class_of(old, [default]) == "old"


segments = st.lists(st.sampled_from(["a", "b", "aa"]), max_size=4)


@given(segments, segments)
def test_a_prefix_matches_element_by_element(prefix: list[str], path: list[str]) -> None:
    expected = path[: len(prefix)] == prefix
    for rule_slash in ("", "/"):
        for slash in ("", "/"):
            rule_path, request = f"/{'/'.join(prefix)}{rule_slash}", f"/{'/'.join(path)}{slash}"
            assert path_matches(rule_path, "Prefix", request) == expected


@given(segments.filter(bool))
def test_a_wildcard_stands_for_exactly_one_label(labels: list[str]) -> None:
    host = ".".join(labels)
    assert host_matches("*.foo.com", f"{host}.foo.com") == (len(labels) == 1)
