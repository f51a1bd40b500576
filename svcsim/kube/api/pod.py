"""Pod, core/v1, as far as it bears on Services: containers' ports and probes, life-cycle, placement, names, readiness.

Source: staging/src/k8s.io/api/core/v1/types.go; defaults of probes from pkg/apis/core/v1/defaults.go (a zero means the default).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from svcsim.kube.api.base import Lenient, NoneAsEmpty, ObjectMeta, StrMap
from svcsim.kube.api.service import Protocol

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
READY = "Ready"
CONTAINERS_READY = "ContainersReady"


def _zero_is(default: int) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value is None or value == 0 else value)


class ContainerPort(Lenient):
    """A port that a container names or announces."""

    name: str = ""
    container_port: int
    protocol: Protocol = "TCP"
    host_port: int = 0
    host_ip: str = Field(default="", alias="hostIP")


class ObjectFieldSelector(Lenient):
    """A field of the pod itself, such as `metadata.name` or `status.podIP`."""

    field_path: str = ""


class EnvironmentVariableSource(Lenient):
    """Where a variable's value comes from; a ConfigMap's, a Secret's or a resource's reads as empty."""

    field_ref: ObjectFieldSelector | None = None


class EnvironmentVariable(Lenient):
    """A variable of a container."""

    name: str
    value: str = ""
    value_from: EnvironmentVariableSource | None = None


class HttpGetAction(Lenient):
    """A GET request; the port is a number or a container port's name."""

    path: str = "/"
    port: int | str
    host: str = ""
    scheme: str = "HTTP"


class TcpSocketAction(Lenient):
    """A connection that is opened and closed."""

    port: int | str
    host: str = ""


class ExecAction(Lenient):
    """A command in the container."""

    command: Annotated[tuple[str, ...], NoneAsEmpty] = ()


class GrpcAction(Lenient):
    """A call of the gRPC health service."""

    port: int
    service: str | None = None


class SleepAction(Lenient):
    """A pause (preStop.sleep, Kubernetes 1.29)."""

    seconds: int


class Probe(Lenient):
    """A readiness, liveness or startup probe."""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    exec: ExecAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: Annotated[int, _zero_is(10)] = 10
    timeout_seconds: Annotated[int, _zero_is(1)] = 1
    success_threshold: Annotated[int, _zero_is(1)] = 1
    failure_threshold: Annotated[int, _zero_is(3)] = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Lenient):
    """What the kubelet does before it stops a container."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Lenient):
    """Hooks of a container."""

    pre_stop: LifecycleHandler | None = None
    post_start: LifecycleHandler | None = None


class Container(Lenient):
    """A container; `restart_policy: Always` on an init container makes it a sidecar."""

    name: str = ""
    image: str = ""
    command: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    args: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    ports: Annotated[tuple[ContainerPort, ...], NoneAsEmpty] = ()
    env: Annotated[tuple[EnvironmentVariable, ...], NoneAsEmpty] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    restart_policy: str | None = None


class Toleration(Lenient):
    """A taint that a pod bears; an empty key with Exists bears all."""

    key: str = ""
    operator: Literal["Exists", "Equal", ""] = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class PodDnsOption(Lenient):
    """An option of resolv.conf."""

    name: str = ""
    value: str | None = None


class PodDnsParameters(Lenient):
    """`dnsConfig`: what is added to the pod's resolv.conf."""

    nameservers: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    searches: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    options: Annotated[tuple[PodDnsOption, ...], NoneAsEmpty] = ()


class PodReadinessGate(Lenient):
    """A condition that must be True for the pod to be Ready."""

    condition_type: str


class PodSpec(Lenient):
    """What a pod is meant to be."""

    containers: Annotated[tuple[Container, ...], NoneAsEmpty] = ()
    init_containers: Annotated[tuple[Container, ...], NoneAsEmpty] = ()
    node_name: str = ""
    node_selector: StrMap = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], NoneAsEmpty] = ()
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    dns_policy: str = "ClusterFirst"
    dns_config: PodDnsParameters | None = None
    enable_service_links: bool = True
    readiness_gates: Annotated[tuple[PodReadinessGate, ...], NoneAsEmpty] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int = 30


class PodCondition(Lenient):
    """One condition; `since_ns` is when its status last changed (simulated nanoseconds)."""

    type: str
    status: Literal["True", "False", "Unknown"] = "Unknown"
    reason: str = ""
    since_ns: int = 0


class ContainerWaiting(Lenient):
    """What a container waits for."""

    reason: str = ""


class ContainerRunning(Lenient):
    """A container that runs."""


class ContainerTerminated(Lenient):
    """How a container ended, and when (simulated nanoseconds)."""

    exit_code: int = 0
    reason: str = ""
    finished_ns: int = 0


class ContainerState(Lenient):
    """One of the three."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


class ContainerStatus(Lenient):
    """How a container is, and how it ended before."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodIP(Lenient):
    """One address of a pod."""

    ip: str = ""


class PodStatus(Lenient):
    """How a pod is, as its kubelet (or the node life-cycle controller) last wrote."""

    phase: PodPhase = "Pending"
    reason: str = ""
    conditions: Annotated[tuple[PodCondition, ...], NoneAsEmpty] = ()
    pod_ip: str = Field(default="", alias="podIP")
    pod_ips: Annotated[tuple[PodIP, ...], NoneAsEmpty] = Field(default=(), alias="podIPs")
    host_ip: str = Field(default="", alias="hostIP")
    init_container_statuses: Annotated[tuple[ContainerStatus, ...], NoneAsEmpty] = ()
    container_statuses: Annotated[tuple[ContainerStatus, ...], NoneAsEmpty] = ()

    def condition(self, kind: str) -> PodCondition | None:
        """The condition of a type, None when it is missing."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class Pod(Lenient):
    """A pod."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Pod"] = "Pod"
    metadata: ObjectMeta
    spec: PodSpec = Field(default_factory=PodSpec)
    status: PodStatus = Field(default_factory=PodStatus)

    @property
    def is_ready(self) -> bool:
        """Whether the Ready condition is True."""
        condition = self.status.condition(READY)
        return condition is not None and condition.status == "True"

    @property
    def is_terminating(self) -> bool:
        """Whether a deletion has been asked for."""
        return self.metadata.deletion_ns is not None

    @property
    def is_finished(self) -> bool:
        """Whether all its containers have ended for good."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses, the primary one first."""
        if self.status.pod_ips:
            return tuple(address.ip for address in self.status.pod_ips if address.ip)
        return (self.status.pod_ip,) if self.status.pod_ip else ()


class PodTemplate(Lenient):
    """The pod that a workload makes copies of."""

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: PodSpec = Field(default_factory=PodSpec)
