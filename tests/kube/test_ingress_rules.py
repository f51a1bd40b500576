"""An Ingress chooses a backend by host, then by the longest path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.ingress_rules import Backend, HostRule, IngressRules, PathRule, host_matches, path_matches


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
