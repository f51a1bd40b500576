"""The costs of one proxy mode as plain numbers for the hot path: nanoseconds, each rounded once when it becomes a delay.

A packet's way over one node, the topology of the measurements and of two pods on one node, costs

    socket work of the sender + the node + socket work of the receiver (+ a wake-up where a process slept)

where the node charges `first_packet_ns(...)` for the packet that opens a flow, `nat_packet_ns` for later packets of a flow
that it translates, `plain_packet_ns` for later ones that it only tracks. A TCP connect() is a SYN, a SYN-ACK and the sending
of an ACK, the first of them a first packet. Every node on the way charges; sockets do once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from svcsim.calibration.profile import Profile

UDP = 17
SyncKind = Literal["full", "partial"]


@dataclass(frozen=True, slots=True)
class KernelTimes:
    """Times and limits that the kernel keeps by itself, whatever the mode."""

    neighbour_timeout_ns: int
    icmp_burst: int
    icmp_interval_ns: int
    syn_initial_ns: int
    syn_linear: int
    syn_retries: int
    data_floor_ns: int
    data_ceiling_ns: int
    data_retries: int
    clash_resolution: bool
    datagram_migration: float


@dataclass(frozen=True, slots=True)
class UserspaceCosts:
    """What the userspace proxy's process spends beyond the two legs of a connection, each of which is priced as any other.

    `sockets_ns` is the CPU time that a message costs the process at its own two sockets, its wake-up included: as a *delay* that
    belongs to the legs.
    """

    accept_ns: int
    dial_ns: int
    copy_ns: int
    copy_ns_per_kib: float
    extra_unit_ns: int
    sockets_ns: int


@dataclass(frozen=True, slots=True)
class Programming:
    """What one sync costs: `base + slope N + power (N/1000)^exponent`, and what each changed Service adds."""

    full: tuple[float, float, float, float]
    partial: tuple[float, float, float, float]
    per_changed_ns: float
    per_changed_per_service_ns: float
    save_base_ns: float
    save_per_service_ns: float
    rules_per_service: float

    def duration_ns(
        self, kind: SyncKind, services_total: int, services_changed: int, rules: int = 0, *, saved: bool = False
    ) -> int:
        """How long a sync takes to write what it has to, kube-proxy's own work left out.

        `rules` is the number of rules (IPVS: objects) in all; a table with more rules a Service than the measured one counts as
        one of so many more Services. `saved`: the table is listed at the end (iptables outside large-cluster mode).
        """
        services = max(float(services_total), rules / self.rules_per_service)
        base, slope, power, exponent = self.full if kind == "full" else self.partial
        cost = base + slope * services + power * math.pow(services / 1000, exponent)
        if kind == "partial":
            cost += services_changed * (self.per_changed_ns + self.per_changed_per_service_ns * services)
        if saved:
            cost += self.save_base_ns + self.save_per_service_ns * services
        return round(cost)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one mode costs on one kernel. Floats are slopes: they are multiplied before they are rounded."""

    mode_key: str
    forward_ns: int
    first_ns: int
    first_miss_ns: int
    nat_packet_ns: int
    plain_packet_ns: int
    reject_ns: int
    masquerade_ns: int
    masquerade_packet_ns: int
    service_rule_tcp_ns: float
    service_rule_udp_ns: float
    service_rule_knee: int
    service_rule_tcp_beyond_ns: float
    service_rule_udp_beyond_ns: float
    same_vip_rule_tcp_ns: float
    same_vip_rule_udp_ns: float
    statistic_rule_tcp_ns: float
    statistic_rule_udp_ns: float
    cold_endpoint_ns: float
    send_tcp_ns: int
    receive_tcp_ns: int
    send_udp_ns: int
    receive_udp_ns: int
    fresh_udp_send_ns: int
    fresh_udp_reply_ns: int
    handshake_send_ns: int
    handshake_receive_ns: int
    wakeup_ns: int
    accept_ns: int
    copy_ns_per_kib: float
    unit_bytes: int
    extra_unit_ns: int
    extra_unit_sockets_ns: int
    kernel: KernelTimes
    userspace: UserspaceCosts
    programming: Programming

    def service_rules_ns(self, rules: int, protocol: int) -> float:
        """Walking so many rules of the Service list that belong to other addresses."""
        if protocol == UDP:
            near, beyond = self.service_rule_udp_ns, self.service_rule_udp_beyond_ns
        else:
            near, beyond = self.service_rule_tcp_ns, self.service_rule_tcp_beyond_ns
        knee = self.service_rule_knee
        return rules * near if rules <= knee else knee * near + (rules - knee) * beyond

    def first_packet_ns(
        self, service_rules: int, statistic_rules: int, masquerade: bool, protocol: int, *, matched: bool = True,
        same_vip_rules: int = 0, endpoints: int = 1,
    ) -> int:
        """What a node spends on the packet that opens a flow, forwarding included.

        `matched` is false for a flow to no Service's address. `same_vip_rules` are rules examined that share the packet's address
        and protocol and fail on the port. `endpoints` of the Service say how cold the picked one's rules are in the cache.
        """
        cost = (self.first_ns if matched else self.first_miss_ns) + self.service_rules_ns(service_rules, protocol)
        if statistic_rules:
            cost += statistic_rules * (self.statistic_rule_udp_ns if protocol == UDP else self.statistic_rule_tcp_ns)
        if same_vip_rules:
            cost += same_vip_rules * (self.same_vip_rule_udp_ns if protocol == UDP else self.same_vip_rule_tcp_ns)
        if endpoints > 1:
            cost += self.cold_endpoint_ns * (endpoints - 1) / (endpoints + 100)
        if masquerade:
            cost += self.masquerade_ns
        return round(cost)

    def units(self, size_bytes: int) -> int:
        """How many units a node sees of a message: super-packets on veth, at least one."""
        return max(1, -(-size_bytes // self.unit_bytes))

    def socket_copy_ns(self, size_bytes: int) -> int:
        """Copying a message in and out of the kernel at its two ends, beyond what a message of one byte costs."""
        extra = self.units(size_bytes) - 1
        within = size_bytes - extra * self.unit_bytes
        return round(extra * self.extra_unit_sockets_ns + self.copy_ns_per_kib * within / 1024)

    def programming_ns(
        self, kind: SyncKind, services_total: int, services_changed: int, rules: int = 0, *, saved: bool = False
    ) -> int:
        """How long a sync takes; see `Programming.duration_ns`."""
        return self.programming.duration_ns(kind, services_total, services_changed, rules, saved=saved)


def costs_of(profile: Profile, mode: str, backend: str | None = None, *, comments: bool = True) -> Costs:
    """The costs of a proxy mode; `backend` (legacy, nft) and `comments` matter for iptables alone."""
    key = profile.mode_key(mode, backend, comments=comments)

    def common(path: str) -> float:
        return profile.entry(path).base_value

    def of_mode(name: str) -> float:
        return profile.entry(f"modes.{key}.{name}").base_value

    forward = common("path.forward")
    established = of_mode("established_nat")
    return Costs(
        mode_key=key,
        forward_ns=round(forward),
        first_ns=round(forward + of_mode("first_packet")),
        first_miss_ns=round(forward + of_mode("first_packet_miss")),
        nat_packet_ns=round(forward + established),
        plain_packet_ns=round(forward + of_mode("established_tracked")),
        reject_ns=round(common("path.reject")),
        masquerade_ns=round(of_mode("masquerade")),
        masquerade_packet_ns=round(of_mode("masquerade_packet")),
        service_rule_tcp_ns=of_mode("service_rule_tcp"),
        service_rule_udp_ns=of_mode("service_rule_udp"),
        service_rule_knee=round(of_mode("service_rule_knee")),
        service_rule_tcp_beyond_ns=of_mode("service_rule_tcp_beyond"),
        service_rule_udp_beyond_ns=of_mode("service_rule_udp_beyond"),
        same_vip_rule_tcp_ns=of_mode("same_vip_rule_tcp"),
        same_vip_rule_udp_ns=of_mode("same_vip_rule_udp"),
        statistic_rule_tcp_ns=of_mode("statistic_rule_tcp"),
        statistic_rule_udp_ns=of_mode("statistic_rule_udp"),
        cold_endpoint_ns=of_mode("cold_endpoint"),
        send_tcp_ns=round(common("sockets.send_tcp")),
        receive_tcp_ns=round(common("sockets.receive_tcp")),
        send_udp_ns=round(common("sockets.send_udp")),
        receive_udp_ns=round(common("sockets.receive_udp")),
        fresh_udp_send_ns=round(common("sockets.fresh_udp_send")),
        fresh_udp_reply_ns=round(common("sockets.fresh_udp_reply")),
        handshake_send_ns=round(common("sockets.handshake_send")),
        handshake_receive_ns=round(common("sockets.handshake_receive")),
        wakeup_ns=round(common("sockets.wakeup")),
        accept_ns=round(common("sockets.accept")),
        copy_ns_per_kib=common("sockets.copy_per_kib"),
        unit_bytes=round(common("units.bytes")),
        extra_unit_ns=round(forward + established),
        extra_unit_sockets_ns=round(common("units.extra_sockets")),
        kernel=_kernel_times(common),
        userspace=_userspace_costs(common),
        programming=_programming(of_mode),
    )


def _kernel_times(common: Callable[[str], float]) -> KernelTimes:
    return KernelTimes(
        neighbour_timeout_ns=round(common("kernel.neighbour_timeout")),
        icmp_burst=round(common("kernel.icmp_burst")),
        icmp_interval_ns=round(common("kernel.icmp_interval")),
        syn_initial_ns=round(common("kernel.syn_initial")),
        syn_linear=round(common("kernel.syn_linear")),
        syn_retries=round(common("kernel.syn_retries")),
        data_floor_ns=round(common("kernel.data_floor")),
        data_ceiling_ns=round(common("kernel.data_ceiling")),
        data_retries=round(common("kernel.data_retries")),
        clash_resolution=common("kernel.clash_resolution") >= 1,
        datagram_migration=common("kernel.datagram_migration"),
    )


def _userspace_costs(common: Callable[[str], float]) -> UserspaceCosts:
    return UserspaceCosts(
        accept_ns=round(common("userspace.accept")),
        dial_ns=round(common("userspace.dial")),
        copy_ns=round(common("userspace.copy")),
        copy_ns_per_kib=common("userspace.copy_per_kib"),
        extra_unit_ns=round(common("userspace.extra_unit")),
        sockets_ns=round(common("sockets.receive_tcp") + common("sockets.wakeup") + common("sockets.send_tcp")),
    )


def _programming(of_mode: Callable[[str], float]) -> Programming:
    def sync(kind: str) -> tuple[float, float, float, float]:
        base, slope, power, exponent = (
            of_mode(f"programming_{kind}_{part}") for part in ("base", "per_service", "power", "exponent")
        )
        return base, slope, power, exponent

    return Programming(
        full=sync("full"),
        partial=sync("partial"),
        per_changed_ns=of_mode("programming_per_changed"),
        per_changed_per_service_ns=of_mode("programming_per_changed_per_service"),
        save_base_ns=of_mode("programming_save_base"),
        save_per_service_ns=of_mode("programming_save_per_service"),
        rules_per_service=of_mode("programming_rules_per_service"),
    )
