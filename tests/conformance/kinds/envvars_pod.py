"""Kind `envvars-pod`: the whole environment of a container, as a set."""

from __future__ import annotations

import pytest

from svcsim.kube.environment import EnvironmentNotReadyError, EnvVar, container_environment
from tests.conformance.kinds._environment import service

KIND = "envvars-pod"


def run(vector: dict) -> None:
    case = vector["case"]

    def environment() -> list[EnvVar]:
        return container_environment(
            [service(row) for row in vector["services"]],
            case["namespace"],
            [EnvVar(row["name"], row["value"]) for row in case["container_env"]],
            case["enableServiceLinks"],
            services_synced=case.get("services_synced", True),
            static_pod=case.get("static_pod", False),
            master_namespace=vector.get("master_namespace", "default"),
        )

    if case["expect"] == "error":
        with pytest.raises((EnvironmentNotReadyError, ValueError)):
            environment()
        return
    made = sorted((each.name, each.value) for each in environment())
    assert made == sorted((row["name"], row["value"]) for row in case["expect"])
