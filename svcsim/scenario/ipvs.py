"""IPVS on the nodes, where it differs from what kube-proxy sets and the kernel has."""

from __future__ import annotations

from typing import Literal

from svcsim.scenario.quantities import Part, PositiveDuration


class Ipvs(Part):
    """Sysctls of `net.ipv4.vs` in place of those that kube-proxy sets, and its time-outs (`--ipvs-tcp-timeout` and so on)."""

    conn_reuse_mode: Literal[0, 1, 2, 3] | None = None
    """What a SYN from a port that still has an entry meets: 0 that entry, 1 a new choice of server once the old connection is
    over. Default as kube-proxy leaves it: 0 on kernels before 5.9."""
    expire_nodest_conn: bool = True
    """Whether entries of a deleted real server go, instead of dropping packets until their time."""
    expire_quiescent_template: bool = True
    """Whether session affinity leaves a real server of weight 0."""
    tcp_timeout_ns: PositiveDuration | None = None
    """Life of an idle TCP entry; default 15 min."""
    tcp_fin_timeout_ns: PositiveDuration | None = None
    """Life of an entry after the server's FIN; default 2 min."""
    udp_timeout_ns: PositiveDuration | None = None
    """Life of an idle UDP entry; default 5 min."""
