"""Which Kubernetes the cluster runs and how its Service layer is configured."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model, field_validator, model_validator

from svcsim.kube.features import feature_named
from svcsim.kube.timings import Timings, load_timings
from svcsim.scenario.ipvs import Ipvs
from svcsim.scenario.quantities import Cidrs, Count, Duration, Family, Part, Period, PositiveCount, Share, family_of
from svcsim.spelling import nearest
from svcsim.units import S
from svcsim.validation import plain_kind
from svcsim.yamlsource import WrittenFloat

Mode = Literal["userspace", "iptables", "ipvs", "nftables"]
Scheduler = Literal["rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "mh", "lblc", "lblcr"]
Backend = Literal["legacy", "nft"]
Minor = tuple[int, int]

MODES: tuple[Mode, ...] = ("userspace", "iptables", "ipvs", "nftables")
SCHEDULERS: tuple[Scheduler, ...] = ("rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "mh", "lblc", "lblcr")
BACKENDS: tuple[Backend, ...] = ("legacy", "nft")
DEFAULT_SCHEDULER: Scheduler = "rr"

IPTABLES_DEFAULT_SINCE: Minor = (1, 2)
"""iptables is the default mode from here on, userspace before."""

COREDNS_SINCE: Minor = (1, 9)
"""CoreDNS can be cluster DNS from here on (alpha in kubeadm, change log of 1.9)."""
COREDNS_DEFAULT_SINCE: Minor = (1, 13)
"""CoreDNS is the default for every installer from here on (change log of 1.13; kubeadm's from 1.11 on), kube-dns before."""
NODE_LOCAL_SINCE: Minor = (1, 13)
"""NodeLocal DNSCache (KEP-1024) is alpha in this version."""
EXTERNAL_NAME_SINCE: Minor = (1, 7)
"""The release of cluster DNS that answers for ExternalName (Kubernetes documentation, Service)."""

_VERSION = re.compile(r"v?(\d{1,3})\.(\d{1,3})(\.\d{1,4})?([-+][0-9A-Za-z.+-]{1,40})?")


class Proxy(Part):
    """How kube-proxy runs on every node; a bare `ipvs/lc` names mode and scheduler, `iptables/nft` mode and backend."""

    mode: Mode | None = None
    """Default: the version's own, iptables unless `kubernetes.version` is older than 1.2."""
    scheduler: Scheduler | None = None
    """IPVS scheduler; default rr."""
    ipvs: Ipvs | None = None
    """Sysctls and time-outs of IPVS, where they are not as kube-proxy sets them."""
    backend: Backend | None = None
    """Which kernel tables iptables writes; the default is the calibration profile's."""
    min_sync_period_ns: Duration | None = None
    """Least time between two syncs; default 1 s (ipvs: none)."""
    sync_period_ns: Period | None = None
    """Longest time without a sync; default 30 s."""
    masquerade_all: bool = False
    """Masquerade all traffic to cluster IPs, not only what needs it."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"mode": value}
        if isinstance(value, dict) and isinstance(value.get("mode"), str) and "/" in value["mode"]:
            mode, _, detail = value["mode"].partition("/")
            field = {"ipvs": "scheduler", "iptables": "backend"}.get(mode)
            if field is not None:
                return {field: detail, **value, "mode": mode}
        return value

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.scheduler is not None and self.mode not in {None, "ipvs"}:
            raise ValueError(f"a scheduler is IPVS's (mode: ipvs); mode {self.mode} has none")
        if self.ipvs is not None and self.mode not in {None, "ipvs"}:
            raise ValueError(f"'ipvs' is for mode ipvs; mode {self.mode} does not use it")
        if self.backend is not None and self.mode not in {None, "iptables", "ipvs"}:
            raise ValueError(f"the backend is that of iptables; mode {self.mode} does not use it")
        return self


def _dns_version(value: object) -> object:
    text = value.text if isinstance(value, WrittenFloat) else value
    if not isinstance(text, str) or not _VERSION.fullmatch(text):
        raise ValueError(f"a release of cluster DNS is expected, as '1.7', not {plain_kind(value)}")
    return text.removeprefix("v")


class Dns(Part):
    """Cluster DNS: pods behind the Service kube-dns."""

    server: Literal["coredns", "kube-dns"] | None = None
    """Default: that of the Kubernetes version, coredns unless it is older than 1.13."""
    version: Annotated[
        str, BeforeValidator(_dns_version), WithJsonSchema({"type": ["string", "number"]}, mode="validation"),
    ] | None = None
    """Release of cluster DNS, such as `1.7`; default: new enough for what its Kubernetes has (1.7 came with 1.4)."""
    replicas: Annotated[PositiveCount, Field(le=5000)] = 2
    domain: str = Field(default="cluster.local", pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=200)
    ttl_ns: Duration | None = None
    """Life of an answer; default 30 s, as kubeadm configures it."""
    cache_ns: Duration = 30 * S
    """Longest life of an answer in a server's cache (CoreDNS's `cache`); 0 s for no cache."""
    cache_cluster: bool | None = None
    """Whether the cluster's own names are cached; default as kubeadm: by CoreDNS before Kubernetes 1.33, by kube-dns always."""
    autopath: bool = False
    """CoreDNS's `autopath @kubernetes`: the server walks a pod's search path, so that its first question is the last."""
    node_local: bool = False
    """NodeLocal DNSCache on every node, whom pods ask in place of the Service."""


_PERIODS = frozenset({
    "lease_renew_ns", "node_monitor_period_ns", "proxy_full_sync_period_ns", "proxy_graceful_check_ns", "proxy_sync_period_ns",
})
_MAY_BE_NONE = frozenset({"large_cluster_nodes", "proxy_large_cluster"})


def _timing_type(field: dataclasses.Field[Any]) -> Any:
    if field.name in _PERIODS:
        return Period
    if field.name.endswith("_ns"):
        return Duration
    if field.type == "float":
        return Share
    return Count if field.name in _MAY_BE_NONE else PositiveCount


if TYPE_CHECKING:
    TimingOverrides = Part
else:
    TimingOverrides = create_model(
        "TimingOverrides",
        __base__=Part,
        __doc__="Durations and limits of the control plane (svcsim/kube/data/timing.toml says where the defaults come from).",
        **{field.name: (_timing_type(field) | None, None) for field in dataclasses.fields(Timings)},
    )


class Kubernetes(Part):
    """The control plane and its configuration."""

    version: str | None = None
    """Such as `1.31`: that version's default mode, and an error for what it did not have. Without it everything is available."""
    proxy: Proxy = Proxy()
    timings: TimingOverrides = TimingOverrides()
    """Defaults of the control plane to change, by name, as `{nodeMonitorGrace: 20s}`."""
    service_cidr: Cidrs = ("10.96.0.0/12",)
    """Of cluster IPs; a block of each family makes the cluster dual-stack, the first one's family being the Services' default."""
    dns: Dns = Dns()

    @field_validator("version", mode="before")
    @classmethod
    def _version(cls, value: object) -> object:
        if value is None:
            return None
        text = value.text if isinstance(value, WrittenFloat) else value
        if not isinstance(text, str) or not (match := _VERSION.fullmatch(text)):
            raise ValueError(f"a version of Kubernetes is expected, as '1.31' or 'v1.8.0-beta.0', not {plain_kind(value)}")
        if match.group(1) != "1":
            raise ValueError(f"there is no Kubernetes {text}")
        return text.removeprefix("v")

    @field_validator("proxy", mode="before")
    @classmethod
    def _known_mode(cls, value: object) -> object:
        if isinstance(value, str) and value.partition("/")[0] not in MODES:
            raise ValueError(f"{plain_kind(value)} is no proxy mode{nearest(value.partition('/')[0], MODES)}")
        return value

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of Services, the default one first."""
        return tuple(map(family_of, self.service_cidr))

    @property
    def minor(self) -> Minor | None:
        """Major and minor version as numbers, None if any is meant."""
        match = _VERSION.fullmatch(self.version or "")
        return None if match is None else (int(match.group(1)), int(match.group(2)))

    def control_plane_timings(self) -> Timings:
        """The timings of this version, with those of the scenario in their place."""
        given = {name: getattr(self.timings, name) for name in type(self.timings).model_fields}
        return load_timings(self.minor, **{name: value for name, value in given.items() if value is not None})

    @property
    def mode(self) -> Mode:
        """The mode that kube-proxy is asked to run in: that of the scenario or the version's default."""
        if self.proxy.mode is not None:
            return self.proxy.mode
        if self.proxy.scheduler is not None or self.proxy.ipvs is not None:
            return "ipvs"
        return "userspace" if self.minor is not None and self.minor < IPTABLES_DEFAULT_SINCE else "iptables"

    @property
    def dns_server(self) -> Literal["coredns", "kube-dns"]:
        """Which server cluster DNS is."""
        if self.dns.server is not None:
            return self.dns.server
        return "kube-dns" if self.minor is not None and self.minor < COREDNS_DEFAULT_SINCE else "coredns"

    def dns_mistake(self) -> tuple[str, str] | None:
        """The key under `dns` that this version does not have, and why; None if nothing is wrong."""
        if self.dns.autopath and self.dns_server != "coredns":
            return "autopath", f"autopath is a plugin of CoreDNS, and cluster DNS is {self.dns_server} here"
        if self.minor is None:
            return None
        if self.dns.server == "coredns" and self.minor < COREDNS_SINCE:
            return "server", f"CoreDNS is cluster DNS from Kubernetes {_dotted(COREDNS_SINCE)} on, not in {self.version}"
        if self.dns.node_local and self.minor < NODE_LOCAL_SINCE:
            return "nodeLocal", f"NodeLocal DNSCache exists from Kubernetes {_dotted(NODE_LOCAL_SINCE)} on, not in {self.version}"
        return None

    def external_name_mistake(self) -> str | None:
        """Why a Service of type ExternalName has no use with this release of cluster DNS, None if it has."""
        match = _VERSION.fullmatch(self.dns.version or "")
        if match is None or (int(match.group(1)), int(match.group(2))) >= EXTERNAL_NAME_SINCE:
            return None
        return (
            f"type ExternalName needs cluster DNS {_dotted(EXTERNAL_NAME_SINCE)} or later, "
            f"and kubernetes.dns.version is {self.dns.version}"
        )

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of IPVS."""
        return self.proxy.scheduler or DEFAULT_SCHEDULER

    @property
    def label(self) -> str:
        """The mode for tables and figures: `iptables`, `ipvs/rr`, `iptables/nft`."""
        if self.mode == "ipvs":
            return f"ipvs/{self.scheduler}"
        return f"iptables/{self.proxy.backend}" if self.mode == "iptables" and self.proxy.backend else self.mode

    def has(self, feature: str) -> bool:
        """Whether this version has a line of `svcsim.kube.features`, on by default; without a version everything is there."""
        return self.version is None or not feature_named(feature).lack(self.version)

    def version_mistake(self) -> str | None:
        """What is wrong with this mode in this version, None if nothing is."""
        lack = "" if self.version is None else feature_named(f"mode-{self.mode}").lack(self.version)
        return f"mode {self.mode} {lack}" if lack else None


def _dotted(version: Minor) -> str:
    return ".".join(map(str, version))
