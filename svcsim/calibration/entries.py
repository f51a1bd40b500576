"""Names and dimensions of a profile's entries: what a profile has to say, and in which units it may say it.

Path of an entry: `group.name`, in modes `modes.<mode>.<name>`. Groups `path`, `sockets`, `units`, `kernel` and `userspace` hold
once for a kernel; the entries of `modes` once for each way of kube-proxy to program it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from svcsim.units import MS, NS, US, S

Units = Mapping[str, int]
"""The units of one dimension, each with its size in the base unit (ns, bytes, 1)."""

TIME: Units = {"ns": NS, "us": US, "ms": MS, "s": S}
SIZE: Units = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
NUMBER: Units = {"1": 1}

MODES = ("iptables", "iptables-without-comments", "iptables-nft", "nftables", "ipvs", "userspace")
"""Modes that every profile prices. `iptables` is the legacy back end with comments, which kube-proxy uses by default."""

COMMON: dict[str, Units] = {
    "path.forward": TIME,
    "path.conntrack_new": TIME,
    "path.conntrack_established": TIME,
    "path.reject": TIME,
    "sockets.send_tcp": TIME,
    "sockets.receive_tcp": TIME,
    "sockets.send_udp": TIME,
    "sockets.receive_udp": TIME,
    "sockets.fresh_udp_send": TIME,
    "sockets.fresh_udp_reply": TIME,
    "sockets.handshake_send": TIME,
    "sockets.handshake_receive": TIME,
    "sockets.wakeup": TIME,
    "sockets.accept": TIME,
    "sockets.copy_per_kib": TIME,
    "units.bytes": SIZE,
    "units.extra_sockets": TIME,
    "kernel.neighbour_timeout": TIME,
    "kernel.icmp_burst": NUMBER,
    "kernel.icmp_interval": TIME,
    "kernel.syn_initial": TIME,
    "kernel.syn_linear": NUMBER,
    "kernel.syn_retries": NUMBER,
    "kernel.data_floor": TIME,
    "kernel.data_ceiling": TIME,
    "kernel.data_retries": NUMBER,
    "kernel.clash_resolution": NUMBER,
    "kernel.datagram_migration": NUMBER,
    "userspace.accept": TIME,
    "userspace.dial": TIME,
    "userspace.copy": TIME,
    "userspace.copy_per_kib": TIME,
    "userspace.extra_unit": TIME,
}

PER_MODE: dict[str, Units] = {
    "first_packet": TIME,
    "first_packet_miss": TIME,
    "established_nat": TIME,
    "established_tracked": TIME,
    "service_rule_tcp": TIME,
    "service_rule_udp": TIME,
    "service_rule_knee": NUMBER,
    "service_rule_tcp_beyond": TIME,
    "service_rule_udp_beyond": TIME,
    "same_vip_rule_tcp": TIME,
    "same_vip_rule_udp": TIME,
    "statistic_rule_tcp": TIME,
    "statistic_rule_udp": TIME,
    "cold_endpoint": TIME,
    "masquerade": TIME,
    "masquerade_packet": TIME,
    "programming_full_base": TIME,
    "programming_full_per_service": TIME,
    "programming_full_power": TIME,
    "programming_full_exponent": NUMBER,
    "programming_partial_base": TIME,
    "programming_partial_per_service": TIME,
    "programming_partial_power": TIME,
    "programming_partial_exponent": NUMBER,
    "programming_per_changed": TIME,
    "programming_per_changed_per_service": TIME,
    "programming_save_base": TIME,
    "programming_save_per_service": TIME,
    "programming_rules_per_service": NUMBER,
}

LARGEST_VALUE = 1e9
"""No entry may exceed this number, in whatever unit it is given."""

WHOLE_NUMBERS = frozenset({
    "kernel.icmp_burst", "kernel.syn_linear", "kernel.syn_retries", "kernel.data_retries", "kernel.clash_resolution",
    "units.bytes",
})
"""Entries that count things."""

POSITIVE = frozenset({
    "units.bytes", "kernel.neighbour_timeout", "kernel.icmp_burst", "kernel.icmp_interval", "kernel.syn_initial",
    "kernel.data_floor", "kernel.data_ceiling", "programming_rules_per_service",
})
"""Entries that cannot be zero."""


def units_of(path: str) -> Units:
    """The units in which the entry at a path may be given; none if there is no such entry."""
    group, _, name = path.rpartition(".")
    if group.startswith("modes."):
        return PER_MODE.get(name, {})
    return COMMON.get(path, {})


Basis = Literal["measured", "derived", "published", "assumed"]
"""How an entry is known: read off a measurement, computed from measurements by a stated rule, quoted, or a judgement."""

BASES: tuple[Basis, ...] = get_args(Basis)


@dataclass(frozen=True, slots=True)
class Entry:
    """One primitive cost. `spread` is the interval in which it may well lie, in the same unit; None if it is exact."""

    path: str
    value: float
    unit: str
    spread: tuple[float, float] | None
    basis: Basis
    source: str
    inferred: str

    @property
    def base_value(self) -> float:
        """The value in nanoseconds, bytes or as a number."""
        return self.value * units_of(self.path)[self.unit]


def value_mistake(path: str, value: object) -> str:
    """What is wrong with a value for the entry at this path; empty if nothing is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number is expected"
    if not math.isfinite(value) or value < 0:
        return f"a finite number, not below zero, is expected (got {value})"
    if value > LARGEST_VALUE:
        return f"{value:g} is above the limit of {LARGEST_VALUE:g}"
    if value == 0 and (path in POSITIVE or path.rpartition(".")[2] in POSITIVE):
        return "a number above zero is expected"
    if path in WHOLE_NUMBERS and value != int(value):
        return f"a whole number is expected (got {value})"
    return ""
