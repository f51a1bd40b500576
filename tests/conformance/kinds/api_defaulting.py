"""Kind `api-defaulting`: the fields of a Service after defaulting."""

from __future__ import annotations

from svcsim.kube.api.service import Service
from svcsim.kube.defaulting import default_service
from tests.conformance.kinds._service_validation import read_spec

KIND = "api-defaulting"


def run(vector: dict) -> None:
    case = vector["case"]
    service = Service.model_validate({"metadata": {"name": "web", "namespace": "default"}, "spec": read_spec(case["spec"])})
    made = default_service(service).spec.model_dump(by_alias=True)
    for field, expected in case["expect"].items():
        actual = made[field]
        if field == "ports":
            actual = [{name: port[name] for name in row} for row, port in zip(expected, made["ports"], strict=True)]
        assert actual == expected, field
