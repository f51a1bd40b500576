"""The congestion window of one direction of a TCP connection, in segments: slow start, CUBIC, loss and idleness.

Pure arithmetic over whole windows: the caller says what was acknowledged, how long the round trip took and how far apart the
first and the last acknowledgement were. Sources: Linux net/ipv4/tcp_input.c (is_cwnd_limited, fast recovery), tcp_output.c
(tcp_cwnd_restart), tcp_timer.c (tcp_enter_loss), tcp_cubic.c (window curve, HyStart); RFC 6928, RFC 9438.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.linux.tcp import INITIAL_WINDOW_SEGMENTS, SEGMENT_BYTES
from svcsim.units import MS, S

LARGEST_WINDOW_BYTES = 3 * 2**20
"""What fits half of net.ipv4.tcp_rmem's greatest default, 6 MiB (tcp_adv_win_scale 1: the other half is overhead; tcp_init)."""
UNLIMITED = 1 << 30
"""The slow start threshold of a connection that has lost nothing (TCP_INFINITE_SSTHRESH)."""

_DECREASE = 717 / 1024  # tcp_cubic.c: beta
_SCALE = 0.4  # RFC 9438, C
_RENO_SHARE = 3 * (1 - _DECREASE) / (1 + _DECREASE)
_LEAST_AFTER_LOSS = 2
_HYSTART_FROM_SEGMENTS = 16  # hystart_low_window
_HYSTART_ACK_GAP_NS = 2 * MS  # hystart_ack_delta_us
_HYSTART_DELAY_NS = (4 * MS, 16 * MS)  # HYSTART_DELAY_MIN, HYSTART_DELAY_MAX
_HYSTART_SAMPLES = 8  # HYSTART_MIN_SAMPLES
_HYSTART_CUSHION_NS = 1 * MS  # hystart_ack_delay
_LARGEST_UNIT_BYTES = 65536
_SEGMENTS_AN_ACK = 2  # delayed acknowledgements


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """`largest_bytes` caps a window, as the buffers of both ends do; `restarts_after_idle` is tcp_slow_start_after_idle."""

    largest_bytes: int = LARGEST_WINDOW_BYTES
    restarts_after_idle: bool = True

    @property
    def largest_segments(self) -> int:
        """The cap in segments, at least one."""
        return max(1, self.largest_bytes // SEGMENT_BYTES)


class CongestionWindow:
    """`segments` may be under way at a time. `threshold` ends slow start; `rtt_ns` is the smoothed round trip, 0 before the first
    sample, `least_rtt_ns` the shortest one; `used_ns` is when data was last sent, `reduced_ns` when a loss last made it smaller.
    """

    __slots__ = (
        "_epoch_ns", "_growth", "_limits", "_plateau", "_reno", "_rise_s", "_summit", "least_rtt_ns", "reduced_ns", "rtt_ns",
        "segments", "threshold", "used_ns",
    )

    def __init__(self, limits: WindowLimits) -> None:
        self._limits = limits
        self.segments = min(INITIAL_WINDOW_SEGMENTS, limits.largest_segments)
        self.threshold = UNLIMITED
        self.rtt_ns = self.least_rtt_ns = self.used_ns = 0
        self.reduced_ns = -1
        self._growth = 0.0
        self._plateau = 0.0
        self._forget_curve()

    def _forget_curve(self) -> None:
        self._epoch_ns = -1
        self._summit = self._rise_s = self._reno = 0.0

    @property
    def slow_start(self) -> bool:
        """Whether it doubles each round trip."""
        return self.segments < self.threshold

    def resume(self, now_ns: int, timeout_ns: int) -> None:
        """Data is to be sent and nothing is under way: a window that rested halves with each time-out that has passed.

        It does not fall below the initial window (tcp_slow_start_after_idle_check, tcp_cwnd_restart), and its curve does not
        climb meanwhile (cubictcp_cwnd_event).
        """
        idle_ns = now_ns - self.used_ns
        if self._epoch_ns >= 0:
            self._epoch_ns += idle_ns
        if not self._limits.restarts_after_idle or not self.rtt_ns or idle_ns <= timeout_ns:
            return
        self.threshold = max(self.threshold, self.segments * 3 // 4)
        least = min(INITIAL_WINDOW_SEGMENTS, self.segments)
        idle_ns -= timeout_ns
        while idle_ns > 0 and self.segments > least:
            self.segments //= 2
            idle_ns -= timeout_ns
        self.segments = max(self.segments, least)

    def acknowledged(self, segments: int, under_way: int, rtt_ns: int, spread_ns: int, now_ns: int) -> None:
        """A train of so many segments was acknowledged: the first after `rtt_ns`, the last `spread_ns` behind it.

        `under_way` is the most that was under way with it: a window that was not full does not grow (tcp_is_cwnd_limited).
        """
        self.rtt_ns = rtt_ns if not self.rtt_ns else (7 * self.rtt_ns + rtt_ns) // 8
        if not self.least_rtt_ns or rtt_ns < self.least_rtt_ns:
            self.least_rtt_ns = rtt_ns
        if self.slow_start:
            if self.segments >= 2 * under_way:
                return
            segments = self._start_slowly(segments, rtt_ns, spread_ns)
        elif under_way < self.segments:
            return
        if segments:
            self._climb(segments, now_ns)
        self.segments = min(self.segments, self._limits.largest_segments)

    def _start_slowly(self, segments: int, rtt_ns: int, spread_ns: int) -> int:
        """One segment more for each that arrived, until HyStart or the threshold ends it; returns those left over."""
        grown = min(segments, self.threshold - self.segments)
        room = self._hystart(segments, rtt_ns, spread_ns)
        if room is not None and room < grown:
            grown = room
            self.threshold = self.segments + grown
        self.segments += grown
        return segments - grown

    def _hystart(self, segments: int, rtt_ns: int, spread_ns: int) -> int | None:
        """After how many segments of the train slow start has seen enough: a long train of acknowledgements, or a long delay."""
        if self.segments + segments < _HYSTART_FROM_SEGMENTS:
            return None
        floor = max(0, _HYSTART_FROM_SEGMENTS - self.segments)
        found: int | None = None
        if spread_ns and spread_ns * _SEGMENTS_AN_ACK <= segments * _HYSTART_ACK_GAP_NS:
            drain_ns = 2 * _LARGEST_UNIT_BYTES * self.rtt_ns // (self.segments * SEGMENT_BYTES)  # four units at the pacing rate
            long_ns = (self.least_rtt_ns + min(_HYSTART_CUSHION_NS, drain_ns)) // 2
            if spread_ns > long_ns:
                found = max(floor, segments * long_ns // spread_ns)
        least_ns, most_ns = _HYSTART_DELAY_NS
        if rtt_ns > self.least_rtt_ns + min(max(self.least_rtt_ns // 8, least_ns), most_ns):
            early = max(floor, min(segments, _HYSTART_SAMPLES * _SEGMENTS_AN_ACK))
            found = early if found is None else min(found, early)
        return found

    def _climb(self, segments: int, now_ns: int) -> None:
        """Congestion avoidance: the cubic curve, or Reno's line where that is higher (RFC 9438, 4.2 and 4.3)."""
        size = float(self.segments)
        if self._epoch_ns < 0:
            self._epoch_ns = now_ns
            self._reno = size
            below = max(0.0, self._plateau - size)
            self._rise_s = (below / _SCALE) ** (1 / 3)
            self._summit = max(self._plateau, size)
        self._reno += _RENO_SHARE * segments / size
        after_s = (now_ns - self._epoch_ns + self.least_rtt_ns) / S - self._rise_s
        aim = max(self._summit + _SCALE * after_s**3, self._reno)
        self._growth += min(segments / 2, max(0.0, aim - size) * segments / size)
        whole = int(self._growth)
        self._growth -= whole
        self.segments += whole

    def lost(self, sent_ns: int, now_ns: int) -> None:
        """Acknowledgements tell that some of a train sent at `sent_ns` are lost: the window falls to 0.7 of it, once a round."""
        if sent_ns < self.reduced_ns:
            return
        self.reduced_ns = now_ns
        self._remember()
        self.segments = min(self.threshold, self._limits.largest_segments)

    def timed_out(self, sent_ns: int, now_ns: int, left: int = 1) -> None:
        """Nothing was acknowledged of a train sent at `sent_ns`: slow start begins anew with so many segments."""
        if sent_ns >= self.reduced_ns:
            self._remember()
        self.reduced_ns = now_ns
        self.segments = min(self.segments, left)
        self._plateau = 0.0

    def _remember(self) -> None:
        """Note how high the window was before a loss (fast convergence), and halve the threshold, nearly."""
        size = self.segments
        self._plateau = size * (1 + _DECREASE) / 2 if size < self._plateau else float(size)
        self.threshold = max(int(size * _DECREASE), _LEAST_AFTER_LOSS)
        self._growth = 0.0
        self._forget_curve()
