"""Services of the `envvars-*` kinds as API objects."""

from __future__ import annotations

from svcsim.kube.api.service import Service


def service(row: dict) -> Service:
    metadata = {"name": row["name"], "namespace": row["namespace"]}
    return Service.model_validate({"metadata": metadata, "spec": {"clusterIP": row["clusterIP"], "ports": row["ports"]}})
