"""What an administrator sets for IPVS as a whole: sysctls of `net.ipv4.vs` and the time-outs of `ipvsadm --set`.

Sources: Linux Documentation/networking/ipvs-sysctl.rst; the default time-outs of ip_vs_proto_tcp.c and ip_vs_proto_udp.c;
kube-proxy's sysctls pkg/proxy/ipvs/proxier.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.units import MS, S

Version = tuple[int, int]
"""Major and minor version, of the kernel or of Kubernetes."""

NEWEST_KERNEL: Version = (6, 1)
"""The kernel that is meant where none is given; the one whose traces the tables were compared with."""
REUSE_KNOWN: Version = (4, 1)
REUSE_WITHOUT_DELAY: Version = (5, 9)
DRAINS_WITHOUT_REUSE: Version = (5, 16)
TURNS_REUSE_OFF: Version = (1, 13)
LEAVES_REUSE_MODE: Version = (1, 20)


@dataclass(frozen=True, slots=True)
class IpvsSysctls:
    """The sysctls that decide what happens to a packet; the defaults are the kernel's.

    `tick_ns` is the kernel's timer tick (1/HZ): what IPVS does "at once" to an entry happens at the next tick, here a whole
    tick later.
    """

    conntrack: bool = False
    conn_reuse_mode: int = 1
    expire_nodest_conn: bool = False
    expire_quiescent_template: bool = False
    tick_ns: int = 4 * MS

    @classmethod
    def of_kube_proxy(cls, kernel: Version = NEWEST_KERNEL, kubernetes: Version | None = None) -> IpvsSysctls:
        """What kube-proxy of a version (None for the newest) leaves behind on a node with a kernel.

        Up to 1.12 it doesn't know conn_reuse_mode; from 1.13 on it turns it off; from 1.20 on it leaves it alone where the kernel
        is 5.9 or newer (kubernetes pull requests 71114, 102122 and its cherry-picks; issues 81775 and 93297). Kernels before
        4.1 know no reuse of ports, which is what mode 0 means.
        """
        turns_off = kernel < REUSE_WITHOUT_DELAY
        if kubernetes is not None and kubernetes < LEAVES_REUSE_MODE:
            turns_off = kubernetes >= TURNS_REUSE_OFF
        return cls(
            conntrack=True,
            conn_reuse_mode=0 if turns_off or kernel < REUSE_KNOWN else 1,
            expire_nodest_conn=True,
            expire_quiescent_template=True,
        )


@dataclass(frozen=True, slots=True)
class IpvsKernel:
    """What kernels do differently; the defaults are those of Linux 6.1.

    `drops_syn_of_tracked_flow`: with `conntrack` on, the SYN that is to be scheduled although it meets an old entry is dropped,
    and the client's retransmission is scheduled a second later. So it was until 5.8 (ip_vs_core.c asked whether the flow is
    tracked at all, since 5.9 whether its conntrack entry is an old one).
    `flushes_deleted_servers`: with `expire_nodest_conn`, entries of a deleted server go at once, since 5.9; before, the next
    packet of each is dropped and takes the entry with it.
    `drains_without_reuse_mode`: with `expire_nodest_conn`, a SYN that meets an entry of a server of weight 0 is scheduled anew
    even in `conn_reuse_mode` 0, since 5.16.
    """

    drops_syn_of_tracked_flow: bool = False
    flushes_deleted_servers: bool = True
    drains_without_reuse_mode: bool = True

    @classmethod
    def of(cls, version: Version) -> IpvsKernel:
        """The kernel of that version."""
        old = version < REUSE_WITHOUT_DELAY
        return cls(old, not old, version >= DRAINS_WITHOUT_REUSE)


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
