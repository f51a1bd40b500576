"""Kind `envvars-timing`: whether a container has a Service's variables, by what happened before it started."""

from __future__ import annotations

import re

from svcsim.kube.api.service import Service
from svcsim.kube.environment import container_environment, variable_name
from tests.conformance.kinds._environment import service

KIND = "envvars-timing"

FORMS = (
    ("replace", r"delete and re-create (?:service )?(?P<key>\S+/\S+)"),
    ("create", r"(?:re-)?create service (?P<key>\S+/\S+)"),
    ("delete", r"delete service (?P<key>\S+/\S+)"),
    ("start", r"start pod (?P<key>\S+/\S+)"),
    ("restart", r"restart container (?P<key>\S+)"),
)


class Node:
    """A kubelet that sees each Service at once, and the one container it runs."""

    def __init__(self) -> None:
        port = [{"name": "https", "port": 443, "protocol": "TCP"}]
        master = {"name": "kubernetes", "namespace": "default", "clusterIP": "10.96.0.1", "ports": port}
        self.services: dict[str, Service] = {"default/kubernetes": service(master)}
        self.namespace = ""
        self.links = True
        self.environment: dict[str, str] = {}
        self.watched: str | None = None

    def apply(self, text: str) -> None:
        action, key = next(((action, found["key"]) for action, form in FORMS if (found := re.match(form, text))), ("", ""))
        assert action, f"unknown event: {text!r}"
        namespace, _, name = key.partition("/")
        if action in ("create", "replace"):
            ip = re.search(r"clusterIP ([^\s)]+)", text)
            row = {"name": name, "namespace": namespace, "clusterIP": ip[1] if ip else "10.0.0.99"}
            self.services[key] = service({**row, "ports": [{"name": "", "port": 80, "protocol": "TCP"}]})
            self.watched = self.watched or name
        elif action == "delete":
            self.services.pop(key, None)
        else:
            if action == "start":
                self.namespace = namespace
                self.links = "enableServiceLinks false" not in text
            made = container_environment(self.services.values(), self.namespace, (), self.links)
            self.environment = {variable.name: variable.value for variable in made}


def run(vector: dict) -> None:
    case = vector["case"]
    node = Node()
    for _, text in sorted(case["events"], key=lambda event: event[0]):
        node.apply(text)
    assert node.watched, "no event creates a Service"
    host = f"{variable_name(node.watched)}_SERVICE_HOST"
    assert (host in node.environment) == case["has_service_vars"]
    if "host" in case:
        assert node.environment[host] == case["host"]
    if "has_master_vars" in case:
        assert ("KUBERNETES_SERVICE_HOST" in node.environment) == case["has_master_vars"]
