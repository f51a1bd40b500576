"""Which backend an Ingress sends a request to, by its host and path.

A rule applies when its host and one of its paths match. Of the hosts that match, an exact one comes before a wildcard, and
that before a rule without a host, as controllers build their virtual hosts; within a host the longest path wins, and Exact
before Prefix of the same path. What matches no rule goes to the default backend; without one the answer is 404.

Sources: kubernetes/website concepts/services-networking/ingress.md; k8s.io/api networking/v1 types.go; the Ingress
conformance suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from svcsim.kube.api.ingress import Ingress, IngressBackend, IngressClass, IngressRule, PathType
from svcsim.kube.ingress_annotations import (
    AS_CONTROLLER,
    Hashed,
    Treatment,
    balancing_of,
    canary_weight,
    hashed_by,
    is_canary,
    treatment_of,
    uses_service,
)

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go: a port of a Service, by name or number.

    Endpoints take turns, or the faster one is chosen (`balancing`: round_robin, ewma; empty as the controller does); or a hash of
    the request decides; or kube-proxy, since it is sent to the ClusterIP (`by_service`).
    """

    service: str
    port: int | str = 80
    namespace: str = ""
    by_service: bool = False
    hashed_by: Hashed = ()
    balancing: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """The alternative of a backend, and how many requests out of how many it gets."""

    backend: Backend
    weight: int
    total: int


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of a request."""

    backend: Backend
    treatment: Treatment = AS_CONTROLLER
    canary: Canary | None = None


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path of a rule. ImplementationSpecific is taken as Prefix."""

    path: str
    path_type: PathType
    backend: Backend
    treatment: Treatment = AS_CONTROLLER
    canary: Canary | None = None


@dataclass(frozen=True, slots=True)
class HostRule:
    """The paths of a host; an empty host is every host, `*.` stands for one label."""

    host: str
    paths: tuple[PathRule, ...]


def host_matches(rule_host: str, request_host: str) -> bool:
    """Whether a request's Host (its port and letter case aside) is one of a rule's.

    >>> host_matches("*.foo.com", "bar.foo.com"), host_matches("*.foo.com", "baz.bar.foo.com")
    (True, False)
    """
    return _host_matches(rule_host.lower(), normal_host(request_host))


def normal_host(host: str) -> str:
    """A Host header in lower case, without port and final dot."""
    host = host.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")


def _host_matches(rule: str, host: str) -> bool:
    if not rule:
        return True
    if rule.startswith("*."):
        label, dot, rest = host.partition(".")
        return bool(label and dot) and rest == rule[2:]
    return rule == host


def path_matches(rule_path: str, path_type: PathType, request_path: str) -> bool:
    """Whether a request's path is a rule's: all of it, or element by element as far as the rule's goes.

    >>> path_matches("/aaa/bbb", "Prefix", "/aaa/bbb/ccc"), path_matches("/aaa/bbb", "Prefix", "/aaa/bbbxyz")
    (True, False)
    """
    if path_type == "Exact":
        return rule_path == request_path
    prefix = rule_path.rstrip("/")
    return request_path == prefix or request_path.startswith(f"{prefix}/")


def _rank(rule: PathRule) -> tuple[int, bool]:
    return -len(rule.path), rule.path_type != "Exact"


class IngressRules:
    """The rules of an Ingress (or of several of one class, in order of age), ready to be asked."""

    def __init__(self, rules: Iterable[HostRule], default: Backend | Route | None = None) -> None:
        by_host: dict[str, list[PathRule]] = {}
        for rule in rules:
            by_host.setdefault(rule.host.lower(), []).extend(rule.paths)
        self._by_host = {host: sorted(paths, key=_rank) for host, paths in by_host.items()}
        self._default = Route(default) if isinstance(default, Backend) else default

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Every backend that a request may be sent to, each once."""
        ways: list[PathRule | Route] = [rule for paths in self._by_host.values() for rule in paths]
        if self._default is not None:
            ways.append(self._default)
        found = dict.fromkeys(way.backend for way in ways)
        found |= dict.fromkeys(way.canary.backend for way in ways if way.canary is not None)
        return tuple(found)

    def backend(self, host: str, path: str) -> Backend | None:
        """The backend of a request, None for 404; that of its canary is another one."""
        route = self.route(host, path)
        return None if route is None else route.backend

    def route(self, host: str, path: str) -> Route | None:
        """What becomes of a request, None for 404; a query string is no part of the path."""
        host = normal_host(host)
        path = path.partition("?")[0] or "/"
        _, dot, rest = host.partition(".")
        for rule_host in dict.fromkeys((host, f"*.{rest}" if dot else "", "")):
            for rule in self._by_host.get(rule_host, ()):
                if path_matches(rule.path, rule.path_type, path):
                    return Route(rule.backend, rule.treatment, rule.canary)
        return self._default


def class_of(ingress: Ingress, classes: Iterable[IngressClass]) -> str | None:
    """The class of an Ingress: its own, by field or older annotation, else the default class; None if there is none."""
    named = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if named:
        return named
    for each in classes:
        if each.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true":
            return each.metadata.name
    return None


def is_own(
    ingress: Ingress, classes: Mapping[str, IngressClass], class_name: str, controller: str, *, without_class: bool = False
) -> bool:
    """Whether a controller acts on an Ingress, by its class's name and by what an IngressClass calls its controller.

    The annotation of old is the class itself; an `ingressClassName` must name an IngressClass of this controller; without either
    the default class decides, unless the controller takes Ingresses `without_class`. Source: kubernetes/ingress-nginx
    internal/ingress/controller/ingressclass/ingressclass.go and store/store.go (GetIngressClass).
    """
    annotation = ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if annotation:
        return annotation == class_name
    named = ingress.spec.ingress_class_name
    if named:
        found = classes.get(named)
        return found is not None and found.spec.controller == controller
    if without_class:
        return True
    return any(
        each.spec.controller == controller and each.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"
        for each in classes.values()
    )


def published(ingress: Ingress) -> tuple[str, ...]:
    """The IP addresses that an Ingress shows in its status."""
    balancer = ingress.status.get("loadBalancer")
    points = balancer.get("ingress") if isinstance(balancer, dict) else None
    found = (point.get("ip") for point in points or () if isinstance(point, dict))
    return tuple(each for each in found if isinstance(each, str) and each)


def address_of_host(host: str, ingresses: Iterable[Ingress]) -> tuple[str, ...]:
    """The IP addresses under which a host is found, as a DNS that follows Ingresses has it (external-dns).

    Those of the Ingress whose rule names the host, else of one with a wildcard for it, else of one that takes every host.
    """
    ranked: dict[int, tuple[str, ...]] = {}
    for ingress in ingresses:
        for rule_host in [rule.host for rule in ingress.spec.rules] or [""]:
            if host_matches(rule_host, host) and published(ingress):
                ranked.setdefault(0 if rule_host and not rule_host.startswith("*") else 1 if rule_host else 2, published(ingress))
    return ranked[min(ranked)] if ranked else ()


def _backend(backend: IngressBackend | None, ingress: Ingress) -> Backend | None:
    if backend is None or backend.service is None:
        return None
    port, annotations = backend.service.port, ingress.metadata.annotations
    namespace, by_service = ingress.metadata.namespace, uses_service(annotations)
    chosen = hashed_by(annotations), balancing_of(annotations)
    return Backend(backend.service.name, port.number or port.name, namespace, by_service, *chosen)


def rules_of(ingresses: Iterable[Ingress]) -> IngressRules:
    """The rules of Ingresses, the oldest first; the first default backend is that of all. Resource backends have none.

    An Ingress that is a canary adds itself to the rules of others for the same host and path, the first to each, and is none of
    its own (kubernetes/ingress-nginx controller.go, mergeAlternativeBackends).
    """
    rules: list[HostRule] = []
    default: Route | None = None
    in_order = sorted(ingresses, key=lambda each: (each.metadata.creation_ns, each.metadata.key))
    for ingress in in_order:
        annotations = ingress.metadata.annotations
        if is_canary(annotations):
            continue
        treatment = treatment_of(annotations)
        backend = _backend(ingress.spec.default_backend, ingress)
        default = default or (None if backend is None else Route(backend, treatment))
        rules += [HostRule(rule.host, _paths(rule, ingress, treatment)) for rule in ingress.spec.rules]
    for ingress in in_order:
        if is_canary(ingress.metadata.annotations):
            weight, total = canary_weight(ingress.metadata.annotations)
            for rule in ingress.spec.rules:
                for path in _paths(rule, ingress, AS_CONTROLLER):
                    rules = [_with_canary(each, rule.host, path, Canary(path.backend, weight, total)) for each in rules]
    return IngressRules(rules, default)


def _paths(rule: IngressRule, ingress: Ingress, treatment: Treatment) -> tuple[PathRule, ...]:
    return tuple(
        PathRule(path.path or "/", path.path_type, backend, treatment)
        for path in (rule.http.paths if rule.http else ())
        if (backend := _backend(path.backend, ingress)) is not None
    )


def _with_canary(rule: HostRule, host: str, path: PathRule, canary: Canary) -> HostRule:
    """The rule with a canary beside the backend of that path, whose way to endpoints (`service-upstream`) it takes over."""
    if rule.host != host:
        return rule
    return HostRule(host, tuple(
        replace(each, canary=replace(canary, backend=replace(canary.backend, by_service=each.backend.by_service)))
        if each.canary is None and (each.path, each.path_type) == (path.path, path.path_type) and each.backend != path.backend
        else each
        for each in rule.paths
    ))
