"""TCP timers and sizes as far as Services need them; windows are in `svcsim.linux.congestion`.

Sources: Linux net/ipv4/tcp_timer.c, tcp_output.c, Documentation/networking/ip-sysctl.rst (tcp_syn_retries,
tcp_syn_linear_timeouts), RFC 6298, RFC 6928.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.units import MS, S

SEGMENT_BYTES = 1448
INITIAL_WINDOW_SEGMENTS = 10
INITIAL_WINDOW_BYTES = INITIAL_WINDOW_SEGMENTS * SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class TcpTimers:
    """Retransmission timers of a kernel; `syn_linear` is tcp_syn_linear_timeouts (4 from Linux 6.5, 0 before)."""

    syn_initial_ns: int = S
    syn_retries: int = 6
    syn_linear: int = 4
    data_floor_ns: int = 200 * MS
    data_ceiling_ns: int = 120 * S
    data_retries: int = 15

    def syn_wait_ns(self, attempt: int) -> int:
        """Time between SYN number `attempt` (0 is the first) and the next one.

        >>> [TcpTimers().syn_wait_ns(i) // S for i in range(7)], [TcpTimers(syn_linear=0).syn_wait_ns(i) // S for i in range(4)]
        ([1, 1, 1, 1, 1, 2, 4], [1, 2, 4, 8])
        """
        return self.syn_initial_ns << max(0, attempt - self.syn_linear)

    def last_syn(self) -> int:
        """Number of the last SYN that is sent before ETIMEDOUT (linear ones come on top of tcp_syn_retries)."""
        return self.syn_retries + self.syn_linear

    def data_wait_ns(self, attempt: int) -> int:
        """Time between transmission number `attempt` of a segment and the next: 200 ms, doubling to 120 s."""
        return min(self.data_floor_ns << attempt, self.data_ceiling_ns)
