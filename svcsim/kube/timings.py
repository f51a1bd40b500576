"""How long each part of the control plane waits: defaults from `data/timing.toml`, which says where each comes from.

>>> load_timings().node_monitor_grace_ns, load_timings((1, 30)).node_monitor_grace_ns
(50000000000, 40000000000)
>>> load_timings(kubelet_relist_ns=5).kubelet_relist_ns
5
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from svcsim.units import duration_ns

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations (nanoseconds) and limits of the control plane; what each means stands in `data/timing.toml`."""

    api_write_ns: int
    watch_latency_ns: int
    watch_jitter_ns: int
    watch_backoff_ns: int
    watch_backoff_max_ns: int
    controller_sync_ns: int
    controller_workers: int
    controller_backoff_ns: int
    controller_backoff_max_ns: int
    endpoints_batch_period_ns: int
    slice_change_min_sync_delay_ns: int
    slice_backoff_ns: int
    slice_backoff_max_ns: int
    max_endpoints_per_slice: int
    max_endpoints_capacity: int
    mirroring_max_endpoints_per_subset: int
    scheduling_ns: int
    kubelet_sync_ns: int
    kubelet_relist_ns: int
    kubelet_status_sync_ns: int
    kubelet_exec_probe_ns: int
    kubelet_pod_cleanup_ns: int
    container_start_ns: int
    container_restart_ns: int
    sandbox_retry_ns: int
    restart_backoff_ns: int
    restart_backoff_max_ns: int
    minimum_grace_ns: int
    node_status_update_ns: int
    lease_renew_ns: int
    node_boot_ns: int
    node_monitor_period_ns: int
    node_monitor_grace_ns: int
    node_startup_grace_ns: int
    node_toleration_ns: int
    node_eviction_interval_ns: int
    node_secondary_eviction_interval_ns: int
    large_cluster_nodes: int
    unhealthy_zone_share: float
    proxy_sync_period_ns: int
    proxy_min_sync_iptables_ns: int
    proxy_min_sync_nftables_ns: int
    proxy_min_sync_ipvs_ns: int
    proxy_min_sync_userspace_ns: int
    proxy_full_sync_period_ns: int
    proxy_burst: int
    proxy_graceful_check_ns: int
    proxy_large_cluster: int
    proxy_dial_ns: int
    proxy_udp_idle_ns: int
    proxy_start_ns: int
    dns_service_ns: int
    dns_workers: int
    dns_node_cache_ns: int
    dns_node_cache_denial_ns: int
    dns_upstream_ns: int

    def proxy_min_sync_ns(self, mode: str) -> int:
        """The shortest time between two syncs of a proxy mode, by default."""
        values = {
            "iptables": self.proxy_min_sync_iptables_ns,
            "nftables": self.proxy_min_sync_nftables_ns,
            "ipvs": self.proxy_min_sync_ipvs_ns,
            "userspace": self.proxy_min_sync_userspace_ns,
        }
        return values[mode]


@dataclass(frozen=True, slots=True)
class TimingSource:
    """One entry of the data file: its name there, value as written, and where it comes from."""

    name: str
    value: str
    basis: str
    source: str


@functools.cache
def _entries() -> dict[str, dict[str, Any]]:
    text = files("svcsim.kube").joinpath("data/timing.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def timing_sources() -> tuple[TimingSource, ...]:
    """Every default with its provenance."""
    return tuple(
        TimingSource(name, str(entry["value"]), entry["basis"], entry["source"]) for name, entry in _entries().items()
    )


def parse_version(text: str) -> Version:
    """(major, minor) of `1.32`, `v1.32.1`; ValueError otherwise."""
    parts = text.removeprefix("v").split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise ValueError(f"not a Kubernetes version: {text!r} (write '1.32')")
    return int(parts[0]), int(parts[1])


def _value(entry: dict[str, Any], version: Version | None) -> Any:
    if version is not None:
        for before, value in entry.get("by_version", ()):
            if version < parse_version(before):
                return value
    return entry["value"]


def load_timings(version: Version | None = None, **overrides: Any) -> Timings:
    """The defaults of a Kubernetes version (None: the newest known), with fields given by keyword in their place."""
    entries = _entries()
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Timings):
        if field.name.endswith("_ns"):
            values[field.name] = duration_ns(_value(entries[field.name.removesuffix("_ns")], version))
        else:
            values[field.name] = _value(entries[field.name], version)
    return Timings(**{**values, **overrides})
