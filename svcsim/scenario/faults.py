"""What goes wrong in a scenario, and when: one model a kind of fault, told apart by its verb.

    {at: 30s, kill: 'deployment/web[1]'}
    {at: 60s, down: node/worker-2, for: 90s}

Where `for` is left out, a fault that can be lifted lasts to the end of the run.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from svcsim.kube.kinds import KubeObject
from svcsim.kube.manifests import read_documents
from svcsim.kube.validation.objects import MOST_PODS
from svcsim.scenario.quantities import Count, Duration, Factor, Name, Part, PositiveCount, PositiveDuration, Share, spelling
from svcsim.scenario.target import OneTarget, Target, Targets
from svcsim.spelling import nearest
from svcsim.yamlsource import Document

PODS = "pods"
NODES = "nodes"
ENDS = "nodes or hosts outside"


class Fault(Part):
    """What all faults share."""

    verb: ClassVar[str]
    """Name of the field that says what goes wrong."""
    aims_at: ClassVar[str | None] = None
    """What kind of targets the fault takes."""
    aim: ClassVar[str | None] = None
    """Name of the field with the targets, where that is not the verb."""

    at_ns: Duration
    """When, counted from the start of the run."""
    name: Name | None = None
    """A name for tables and for `expect`."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the fault is aimed at."""
        name = self.aim or next(name for name in type(self).model_fields if spelling(name) == self.verb)
        value = getattr(self, name)
        return tuple(item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Target))

    @property
    def ends_ns(self) -> int | None:
        """When the fault is lifted, None if it isn't."""
        for_ns: int | None = getattr(self, "for_ns", None)
        return None if for_ns is None else self.at_ns + for_ns

    @property
    def text(self) -> str:
        """The fault in a few words: `deployment/web[1] killed`."""
        return f"{', '.join(map(str, self.targets))} {self.words}" if self.targets else self.words

    words: ClassVar[str] = ""

    @model_validator(mode="after")
    def _aimed(self) -> Self:
        wanted = self.aims_at
        for target in self.targets:
            fits = {
                PODS: target.is_pods, NODES: target.is_nodes, ENDS: target.is_nodes or target.kind == "outside",
            }.get(wanted or "", True)
            if not fits:
                raise ValueError(f"{self.verb} is aimed at {wanted}, and {target} is none of them")
        return self


class _Lasting(Fault):
    for_ns: PositiveDuration | None = Field(default=None, alias="for")
    """How long it lasts; default: to the end of the run."""


class Kill(Fault):
    """The container exits at once (a crash, SIGKILL) and is started again by the kubelet, with back-off."""

    verb: ClassVar[str] = "kill"
    aims_at: ClassVar[str | None] = PODS
    words: ClassVar[str] = "killed"
    kill: Targets


class Delete(Fault):
    """`kubectl delete`: pods end gracefully and their controller replaces them; other objects are removed."""

    verb: ClassVar[str] = "delete"
    words: ClassVar[str] = "deleted"
    delete: Targets
    grace_ns: Duration | None = None
    """Instead of the pod's own terminationGracePeriodSeconds."""


class Hang(_Lasting):
    """The process does nothing; the kernel still accepts connections for it."""

    verb: ClassVar[str] = "hang"
    aims_at: ClassVar[str | None] = PODS
    words: ClassVar[str] = "hung"
    hang: Targets


class Slow(_Lasting):
    """Each service takes a factor longer."""

    verb: ClassVar[str] = "slow"
    aims_at: ClassVar[str | None] = PODS
    slow: Targets
    factor: Factor = 10.0

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{', '.join(map(str, self.targets))} {self.factor:g} times slower"


class ClosePort(_Lasting):
    """The process lives, but its socket is closed: connections are refused."""

    verb: ClassVar[str] = "closePort"
    aims_at: ClassVar[str | None] = PODS
    words: ClassVar[str] = "closed its port"
    close_port: Targets


class FailReadiness(_Lasting):
    """Readiness probes fail, while requests are served as before."""

    verb: ClassVar[str] = "failReadiness"
    aims_at: ClassVar[str | None] = PODS
    words: ClassVar[str] = "fails its readiness probe"
    fail_readiness: Targets


class Scale(Fault):
    """`kubectl scale`."""

    verb: ClassVar[str] = "scale"
    scale: OneTarget
    replicas: Annotated[Count, Field(le=MOST_PODS)]

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{self.scale} scaled to {self.replicas}"

    @model_validator(mode="after")
    def _scalable(self) -> Self:
        if self.scale.kind not in {"deployment", "statefulset", "replicaset", "replicationcontroller"}:
            raise ValueError(f"a Deployment, StatefulSet, ReplicaSet or ReplicationController is scaled, not {self.scale}")
        return self


class Rollout(Fault):
    """`kubectl rollout restart`: every pod is replaced by the controller's rules."""

    verb: ClassVar[str] = "rollout"
    words: ClassVar[str] = "rolled out"
    rollout: Targets

    @model_validator(mode="after")
    def _rolled(self) -> Self:
        for target in self.rollout:
            if target.kind not in {"deployment", "statefulset", "daemonset"}:
                raise ValueError(f"a Deployment, StatefulSet or DaemonSet is rolled out, not {target}")
        return self


class Down(_Lasting):
    """Power-off: the node is gone, and comes back after `for` with empty tables."""

    verb: ClassVar[str] = "down"
    aims_at: ClassVar[str | None] = NODES
    words: ClassVar[str] = "down"
    down: Targets


class Cordon(_Lasting):
    """`kubectl cordon`: no new pods on the nodes; `kubectl uncordon` after `for`."""

    verb: ClassVar[str] = "cordon"
    aims_at: ClassVar[str | None] = NODES
    words: ClassVar[str] = "cordoned"
    cordon: Targets


class Drain(_Lasting):
    """`kubectl drain`: nodes are cordoned, and their pods evicted as their PodDisruptionBudgets allow; uncordoned after `for`."""

    verb: ClassVar[str] = "drain"
    aims_at: ClassVar[str | None] = NODES
    words: ClassVar[str] = "drained"
    drain: Targets
    grace_ns: Duration | None = None
    """Instead of the pods' own terminationGracePeriodSeconds."""


class SetCondition(Fault):
    """A condition of pods is set, as the controller behind a readiness gate does."""

    verb: ClassVar[str] = "condition"
    aims_at: ClassVar[str | None] = PODS
    condition: Targets
    type: Annotated[str, Field(min_length=1, max_length=317)]
    status: Annotated[
        Literal["True", "False", "Unknown"], BeforeValidator(lambda v: str(v) if isinstance(v, bool) else v),
        WithJsonSchema({"enum": ["True", "False", "Unknown", True, False]}, mode="validation"),
    ]

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{', '.join(map(str, self.condition))} {self.type} is {self.status}"


class Partition(_Lasting):
    """The nodes are cut off from all others and from the API server; they keep their state and their pods run on."""

    verb: ClassVar[str] = "partition"
    aims_at: ClassVar[str | None] = NODES
    words: ClassVar[str] = "cut off"
    partition: Targets


class Loss(_Lasting):
    """Packets are lost on the links of nodes, or between two ends."""

    verb: ClassVar[str] = "loss"
    aims_at: ClassVar[str | None] = ENDS
    aim: ClassVar[str | None] = "on"
    loss: Share
    on: Targets
    """Every link of these."""
    to: Targets | None = None
    """Only their links to these."""

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{self.loss:.3%} loss on {_between(self.on, self.to)}".replace(".000%", "%")


class Delay(_Lasting):
    """Packets take longer on the links of nodes, or between two ends."""

    verb: ClassVar[str] = "delay"
    aims_at: ClassVar[str | None] = ENDS
    aim: ClassVar[str | None] = "on"
    delay_ns: PositiveDuration
    """Added in each direction."""
    jitter_ns: Duration = 0
    on: Targets
    """Every link of these."""
    to: Targets | None = None
    """Only their links to these."""

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{self.delay_ns / 1e6:g} ms delay on {_between(self.on, self.to)}"


class StopProxy(_Lasting):
    """kube-proxy stops: rules stay as they are (in userspace mode its connections end), and with `for` it starts again."""

    verb: ClassVar[str] = "stopProxy"
    aims_at: ClassVar[str | None] = NODES
    stop_proxy: Targets

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"kube-proxy stopped on {', '.join(map(str, self.targets))}"


class ApiServer(_Lasting):
    """The API server is away: nothing is written, no watch delivers."""

    verb: ClassVar[str] = "apiServer"
    words: ClassVar[str] = "API server away"
    api_server: Literal["down"]


class DnsDown(_Lasting):
    """No pod of cluster DNS answers."""

    verb: ClassVar[str] = "dns"
    words: ClassVar[str] = "cluster DNS down"
    dns: Literal["down"]


class ConntrackMax(_Lasting):
    """The limit of connection tracking is lowered on nodes."""

    verb: ClassVar[str] = "conntrackMax"
    aims_at: ClassVar[str | None] = NODES
    aim: ClassVar[str | None] = "on"
    conntrack_max: PositiveCount
    on: Targets

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"conntrack limited to {self.conntrack_max} on {', '.join(map(str, self.on))}"


class IpvsModules(Fault):
    """The kernel modules of IPVS are missing: a kube-proxy that starts from then on falls back to iptables and says so."""

    verb: ClassVar[str] = "ipvsModules"
    aims_at: ClassVar[str | None] = NODES
    aim: ClassVar[str | None] = "on"
    ipvs_modules: Literal["missing"]
    on: Targets

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"IPVS modules missing on {', '.join(map(str, self.on))}"


class Apply(Fault):
    """`kubectl apply`: objects are created or changed."""

    verb: ClassVar[str] = "apply"
    apply: dict[str, Any] | tuple[dict[str, Any], ...]
    """A manifest, a list of them, or `{file: manifests/web-v2.yaml}`."""

    @property
    def objects(self) -> tuple[dict[str, Any], ...]:
        """The manifests."""
        return (self.apply,) if isinstance(self.apply, dict) else self.apply

    def parsed(self) -> list[KubeObject]:
        """The objects that are created or changed. InputError if the manifests are invalid (a loaded scenario's are not)."""
        return read_documents(Document("apply", item, (1, 1), {}) for item in self.objects).objects

    @property
    def text(self) -> str:
        """The fault in a few words."""
        return f"{', '.join(f'{obj.kind.lower()}/{obj.metadata.name}' for obj in self.parsed())} applied"


KINDS: tuple[type[Fault], ...] = (
    Kill, Delete, Hang, Slow, ClosePort, FailReadiness, SetCondition, Scale, Rollout, Cordon, Drain, Down, Partition, Loss, Delay,
    StopProxy, ApiServer, DnsDown, ConntrackMax, IpvsModules, Apply,
)
VERBS: dict[str, type[Fault]] = {kind.verb: kind for kind in KINDS}
_SHARED = {"at", "name", "for", *(spelling(name) for kind in KINDS for name in kind.model_fields)} - set(VERBS)


def _between(on: tuple[Target, ...], to: tuple[Target, ...] | None) -> str:
    text = ", ".join(map(str, on))
    return text if to is None else f"{text} to {', '.join(map(str, to))}"


def _kind_of(value: Any) -> str | None:
    if isinstance(value, Fault):
        return type(value).__name__
    return next((VERBS[key].__name__ for key in value if key in VERBS), None) if isinstance(value, dict) else None


def _names_a_fault(value: Any) -> Any:
    if isinstance(value, Fault):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("fault", "a fault is a mapping, as {at: 30s, kill: 'deployment/web[1]'}")
    verbs = [key for key in value if key in VERBS]
    if len(verbs) > 1:
        # PydanticCustomError formats its text, so what the user wrote goes in as context.
        raise PydanticCustomError("fault", "one fault at a time: both {first} and {second} stand here",
                                  {"first": verbs[0], "second": verbs[1]})
    if not verbs:
        odd = next((key for key in value if isinstance(key, str) and key not in _SHARED), None)
        if odd is None:
            raise PydanticCustomError("fault", "nothing goes wrong here; name one of {verbs}", {"verbs": ", ".join(VERBS)})
        context = {"odd": repr(odd[:60]), "hint": nearest(odd, VERBS, listed=20)}
        raise PydanticCustomError("fault", "unknown fault {odd}{hint}", context)
    return value


AnyFault = Annotated[
    Annotated[Kill, Tag("Kill")] | Annotated[Delete, Tag("Delete")] | Annotated[Hang, Tag("Hang")] | Annotated[Slow, Tag("Slow")]
    | Annotated[Cordon, Tag("Cordon")] | Annotated[Drain, Tag("Drain")] | Annotated[SetCondition, Tag("SetCondition")]
    | Annotated[ClosePort, Tag("ClosePort")] | Annotated[FailReadiness, Tag("FailReadiness")] | Annotated[Scale, Tag("Scale")]
    | Annotated[Rollout, Tag("Rollout")] | Annotated[Down, Tag("Down")] | Annotated[Partition, Tag("Partition")]
    | Annotated[Loss, Tag("Loss")] | Annotated[Delay, Tag("Delay")] | Annotated[StopProxy, Tag("StopProxy")]
    | Annotated[ApiServer, Tag("ApiServer")] | Annotated[DnsDown, Tag("DnsDown")] | Annotated[ConntrackMax, Tag("ConntrackMax")]
    | Annotated[IpvsModules, Tag("IpvsModules")] | Annotated[Apply, Tag("Apply")],
    Discriminator(_kind_of),
    BeforeValidator(_names_a_fault),
]
"""One of the faults, told apart by its verb."""
