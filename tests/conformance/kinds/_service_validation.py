"""Comparing field errors with those of a vector, and reading Services that have empty fields."""

from __future__ import annotations

from pydantic import ValidationError

from svcsim.kube.api.service import Service
from svcsim.kube.defaulting import default_service
from svcsim.kube.validation.field_errors import FieldError
from svcsim.kube.validation.service import validate_service


def check_errors(errors: list[FieldError], expect: dict) -> None:
    told = [str(error) for error in errors]
    assert sorted((error.type, error.field) for error in errors) == sorted(
        (row["type"], row["field"]) for row in expect["errors"]
    ), told
    assert len(errors) == expect["num_errors"], told
    assert (not errors) == expect["accepted"], told


def read_spec(spec: dict) -> dict:
    """The spec without empty strings, which are unset fields for the API."""

    def present(fields: dict) -> dict:
        return {name: value for name, value in fields.items() if value != ""}

    return {**present(spec), **({"ports": [present(port) for port in spec["ports"]]} if "ports" in spec else {})}


def accepted_after_defaults(manifest: dict) -> bool:
    """Whether a Service passes the API server's reading, defaulting and validation (allocation is not considered)."""
    try:
        service = Service.model_validate({**manifest, "spec": read_spec(manifest["spec"])})
    except ValidationError:
        return False
    defaulted = default_service(service).spec.model_dump(by_alias=True, exclude_none=True)
    return not validate_service({"metadata": manifest["metadata"], "spec": defaulted})
