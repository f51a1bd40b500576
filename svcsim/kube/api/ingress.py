"""Ingress, networking.k8s.io/v1, and its beta forms (extensions/v1beta1, networking.k8s.io/v1beta1): hosts and paths to Services.

The beta form names its backend by `serviceName` and `servicePort`; both read as the same values here.
Source: staging/src/k8s.io/api/networking/v1/types.go and v1beta1/types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from svcsim.kube.api.base import Lenient, NoneAsEmpty, ObjectMeta, Strict

PathType = Literal["Exact", "Prefix", "ImplementationSpecific"]


class ServiceBackendPort(Strict):
    """A port of a Service, by name or by number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Strict):
    """A Service's port."""

    name: str
    port: ServiceBackendPort = Field(default_factory=ServiceBackendPort)


class TypedLocalObjectReference(Strict):
    """Another object of the namespace."""

    api_group: str | None = None
    kind: str
    name: str


class IngressBackend(Strict):
    """Where requests go: a Service's port, or a resource."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_beta(cls, data: object) -> object:
        if isinstance(data, dict) and "serviceName" in data:
            port = data.get("servicePort", 0)
            rest = {key: value for key, value in data.items() if key not in ("serviceName", "servicePort")}
            by = "number" if isinstance(port, int) else "name"
            return {**rest, "service": {"name": data["serviceName"], "port": {by: port}}}
        return data


class HTTPIngressPath(Strict):
    """A path and its backend."""

    path: str = ""
    path_type: PathType = "ImplementationSpecific"
    backend: IngressBackend


class HTTPIngressRuleValue(Strict):
    """The paths of a rule."""

    paths: Annotated[tuple[HTTPIngressPath, ...], NoneAsEmpty] = ()


class IngressRule(Strict):
    """A host (empty: every host) and its paths."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Strict):
    """Hosts served over TLS."""

    hosts: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    secret_name: str = ""


class IngressSpec(Strict):
    """The rules of an Ingress."""

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = Field(
        default=None, validation_alias=AliasChoices("defaultBackend", "default_backend", "backend"), alias="defaultBackend"
    )
    tls: Annotated[tuple[IngressTLS, ...], NoneAsEmpty] = ()
    rules: Annotated[tuple[IngressRule, ...], NoneAsEmpty] = ()


class Ingress(Strict):
    """An Ingress."""

    api_version: Literal["networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"] = "networking.k8s.io/v1"
    kind: Literal["Ingress"] = "Ingress"
    metadata: ObjectMeta
    spec: IngressSpec = Field(default_factory=IngressSpec)
    status: dict[str, object] = Field(default_factory=dict)


class IngressClassSpec(Lenient):
    """Which controller serves a class."""

    controller: str = ""


class IngressClass(Lenient):
    """A class of Ingresses."""

    api_version: str = "networking.k8s.io/v1"
    kind: Literal["IngressClass"] = "IngressClass"
    metadata: ObjectMeta
    spec: IngressClassSpec = Field(default_factory=IngressClassSpec)
