"""What an administrator sets for IPVS as a whole: sysctls of `net.ipv4.vs` and the time-outs of `ipvsadm --set`.

Sources: Linux Documentation/networking/ipvs-sysctl.rst; the default time-outs of ip_vs_proto_tcp.c and ip_vs_proto_udp.c;
kube-proxy's sysctls pkg/proxy/ipvs/proxier.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.units import MS, S


@dataclass(frozen=True, slots=True)
class IpvsSysctls:
    """The sysctls that decide what happens to a packet; the defaults are the kernel's.

    `tick_ns` is the kernel's timer tick (1/HZ): what IPVS does "at once" to an entry happens at the next tick, here a whole
    tick later.
    `drops_syn_of_tracked_flow` is how kernels before 5.9 treat a reused port when `conntrack` is on: the SYN that meets the
    old entry is dropped, and the client's retransmission is scheduled.
    """

    conntrack: bool = False
    conn_reuse_mode: int = 1
    expire_nodest_conn: bool = False
    expire_quiescent_template: bool = False
    drops_syn_of_tracked_flow: bool = False
    tick_ns: int = 4 * MS

    @classmethod
    def of_kube_proxy(cls, kernel: tuple[int, int] = (6, 1)) -> IpvsSysctls:
        """What kube-proxy sets: from Linux 4.1 to 5.8 it turns conn_reuse_mode off (kubernetes issues 81775 and 93297)."""
        return cls(
            conntrack=True,
            conn_reuse_mode=0 if (4, 1) <= kernel < (5, 9) else 1,
            expire_nodest_conn=True,
            expire_quiescent_template=True,
            drops_syn_of_tracked_flow=kernel < (5, 9),
        )


@dataclass(frozen=True, slots=True)
class IpvsTimeouts:
    """Life of an entry after its last packet. `ipvsadm --set` reaches the first three; the rest is fixed in the kernel."""

    tcp_ns: int = 900 * S
    tcp_fin_ns: int = 120 * S
    udp_ns: int = 300 * S
    none_ns: int = 2 * S
    syn_sent_ns: int = 120 * S
    syn_recv_ns: int = 60 * S
    time_wait_ns: int = 120 * S
    close_ns: int = 10 * S
    close_wait_ns: int = 60 * S

    def by_state(self) -> tuple[int, ...]:
        """The same, indexed by `svcsim.linux.ipvs.states.State`."""
        return (
            self.none_ns,
            self.tcp_ns,
            self.syn_sent_ns,
            self.syn_recv_ns,
            self.tcp_fin_ns,
            self.time_wait_ns,
            self.close_ns,
            self.close_wait_ns,
            self.udp_ns,
        )


HELD_TEMPLATE_NS = 60 * S
"""A persistence template whose time is up while it controls entries gets this much more (ip_vs_conn.c, ip_vs_conn_expire)."""

TRASH_NS = 120 * S
"""A deleted server without entries is remembered at least this long (ip_vs_ctl.c, IP_VS_DEST_TRASH_PERIOD)."""
