"""What the API server would refuse of a manifest: validation after defaulting, with paths into the manifest.

What only the API server fills in (the health-check node port) is not missed.
"""

from __future__ import annotations

import re

from svcsim.kube.api.service import Service
from svcsim.kube.defaulting import default_service
from svcsim.kube.validation.field_errors import FieldError
from svcsim.kube.validation.service import validate_service

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_ALLOCATED = ("Required", "spec.healthCheckNodePort")


def service_errors(service: Service) -> list[FieldError]:
    """The errors of a Service as a client sends it."""
    metadata = service.metadata
    spec = default_service(service).spec.model_dump(by_alias=True, exclude_none=True)
    if spec.get("clusterIP") and not spec["clusterIPs"]:
        spec["clusterIPs"] = [spec["clusterIP"]]
    manifest = {
        "metadata": {
            "name": metadata.name or metadata.generate_name,
            "generateName": metadata.generate_name,
            "namespace": metadata.namespace or "default",
            "labels": metadata.labels,
            "annotations": metadata.annotations,
        },
        "spec": spec,
    }
    if not metadata.name and metadata.generate_name:
        manifest["metadata"]["name"] = "generated"
    return [error for error in validate_service(manifest) if (error.type, error.field) != _ALLOCATED]


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
