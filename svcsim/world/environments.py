"""The environment that each container was started with: it names the Services that its kubelet knew then, and never changes.

What a run starts with has been running for long, after the Services of the manifests; containers that start later see what their
kubelet has been told of by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network

from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client
from svcsim.kube.environment import MASTER_NAMESPACE, MASTER_SERVICES, EnvVar, expand, pod_environment, visible_services
from svcsim.kube.store import Change, Event
from svcsim.scenario.model import Scenario

LINKS_OPTIONAL_SINCE = (1, 13)
"""`enableServiceLinks` exists from here on (change log of 1.13); before, every pod has the variables."""
_REFERENCE = re.compile(r"\$\(\w+\)")


def reads_variables(scenario: Scenario) -> bool:
    """Whether any workload finds its target by a variable."""
    return any(workload.target is not None and workload.target.is_variable for workload in scenario.workloads)


class Environments:
    """What kubelets know of Services, and what each running container was given; of use only where somebody asks (`asked`)."""

    def __init__(self, scenario: Scenario, *, asked: bool = False) -> None:
        self.asked = asked or reads_variables(scenario)
        minor = scenario.kubernetes.minor
        self._links_optional = minor is None or minor >= LINKS_OPTIONAL_SINCE
        self._api_server = api_server_service(scenario.kubernetes.service_cidr)
        self._services: dict[str, Service] = {}
        self._given: dict[str, tuple[Pod, tuple[Service, ...]]] = {}
        self._made: dict[str, dict[str, str]] = {}

    def follow(self, client: Client) -> None:
        """Know what the API server holds, and hear of changes as a kubelet's watch delivers them."""
        if not self.asked:
            return
        for service in client.store.each(Service):
            self._services[service.metadata.key] = service
        for pod, _ in list(self._given.values()):
            self.started(pod)
        client.watch((Service,), self._changed)

    def _changed(self, event: Event) -> None:
        service = event.obj
        if not isinstance(service, Service):
            return
        if event.change is Change.DELETED:
            self._services.pop(service.metadata.key, None)
        else:
            self._services[service.metadata.key] = service

    def started(self, pod: Pod) -> None:
        """A container of the pod starts now: its environment is made."""
        if not self.asked:
            return
        key, namespace = pod.metadata.key, pod.metadata.namespace
        links = pod.spec.enable_service_links or not self._links_optional
        self._given[key] = pod, tuple(visible_services(self._known(), namespace, links))
        self._made.pop(key, None)

    def _known(self) -> Iterable[Service]:
        """The API server's own Service first, also where the manifests leave it out."""
        if f"{MASTER_NAMESPACE}/{MASTER_SERVICES[0]}" not in self._services:
            yield self._api_server
        yield from self._services.values()

    def has(self, pod: str) -> bool:
        """Whether a container of the pod `namespace/name` has been started."""
        return pod in self._given

    def pod(self, key: str) -> Pod:
        """The pod as it was when its container was started."""
        return self._given[key][0]

    def of(self, pod: str, container: str = "") -> list[EnvVar]:
        """The variables of a container (by default the first) of the pod `namespace/name`, which has been started."""
        found, services = self._given[pod]
        return pod_environment(found, services, container)

    def expanded(self, pod: str, text: str) -> str | None:
        """The text with its `$(NAME)` replaced as the pod's first container has them; None if one of them is not set."""
        known = self._made.get(pod)
        if known is None:
            if pod not in self._given:
                return None
            known = self._made[pod] = {variable.name: variable.value for variable in self.of(pod)}
        made = expand(text, known)
        return None if _REFERENCE.search(made) else made


def api_server_service(cidrs: tuple[str, ...]) -> Service:
    """The Service `default/kubernetes`, which has the service CIDR's first address (pkg/controlplane, APIServerServiceIP)."""
    return Service.model_validate(
        {
            "metadata": {"name": MASTER_SERVICES[0], "namespace": MASTER_NAMESPACE},
            "spec": {
                "clusterIP": str(ip_network(cidrs[0]).network_address + 1),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
        }
    )
