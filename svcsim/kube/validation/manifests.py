"""What the API server would refuse of a manifest: validation after defaulting, with paths into the manifest.

What only the API server fills in (the health-check node port) is not missed.
"""

from __future__ import annotations

import re
from typing import Any

from svcsim.kube.api.service import Service, ServiceSpec
from svcsim.kube.defaulting import default_service
from svcsim.kube.validation.field_errors import FieldError
from svcsim.kube.validation.service import validate_service, validate_service_update

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_ALLOCATED = ("Required", "spec.healthCheckNodePort")


def _manifest(service: Service, spec: ServiceSpec) -> dict[str, Any]:
    metadata = service.metadata
    fields = spec.model_dump(by_alias=True, exclude_none=True)
    if fields.get("clusterIP") and not fields["clusterIPs"]:
        fields["clusterIPs"] = [fields["clusterIP"]]
    return {
        "metadata": {
            "name": metadata.name or "generated",
            "generateName": metadata.generate_name,
            "namespace": metadata.namespace or "default",
            "labels": metadata.labels,
            "annotations": metadata.annotations,
            "resourceVersion": "1",
        },
        "spec": fields,
    }


def service_errors(service: Service) -> list[FieldError]:
    """The errors of a Service as a client sends it."""
    errors = validate_service(_manifest(service, default_service(service).spec))
    return [error for error in errors if (error.type, error.field) != _ALLOCATED]


def service_update_errors(new: Service, old: Service) -> list[FieldError]:
    """The errors of a change of a stored Service, after defaulting and allocation."""
    if new.spec == old.spec and new.metadata == old.metadata:
        return []
    return validate_service_update(_manifest(new, new.spec), _manifest(old, old.spec))


def manifest_path(field: str) -> tuple[str | int, ...]:
    """The steps of an error's field in a manifest.

    >>> manifest_path("spec.ports[0].name"), manifest_path("metadata.annotations[a.b/c]")
    (('spec', 'ports', 0, 'name'), ('metadata', 'annotations', 'a.b/c'))
    """
    steps: list[str | int] = []
    for name, key in _STEP.findall(field):
        if name:
            steps.append(f"{name[0].lower()}{name[1:]}")
        else:
            steps.append(int(key) if key.isdecimal() else key)
    return tuple(steps)
