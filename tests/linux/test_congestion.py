"""The congestion window as a kernel moves it, held against numbers that can be worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.linux.congestion import LARGEST_WINDOW_BYTES, CongestionWindow, WindowLimits
from svcsim.linux.tcp import SEGMENT_BYTES
from svcsim.units import MS, S

RTT_NS = 20 * MS
TIMEOUT_NS = 200 * MS + RTT_NS


def window(segments: int = 10, limits: WindowLimits | None = None) -> CongestionWindow:
    """A window of so many segments that has seen one round trip."""
    found = CongestionWindow(limits or WindowLimits())
    found.segments = segments
    found.rtt_ns = found.least_rtt_ns = RTT_NS
    return found


def rounds(found: CongestionWindow, count: int, *, rtt_ns: int = RTT_NS, spread_ns: int = 0, now_ns: int = 0) -> list[int]:
    """The window after each of so many round trips in which all of it was used."""
    seen = []
    for number in range(count):
        size = found.segments
        found.acknowledged(size, size, rtt_ns, spread_ns, now_ns + (number + 1) * RTT_NS)
        seen.append(found.segments)
    return seen


def test_it_doubles_each_round_trip_up_to_its_cap() -> None:
    assert rounds(CongestionWindow(WindowLimits()), 9) == [20, 40, 80, 160, 320, 640, 1280, 2172, 2172]
    assert LARGEST_WINDOW_BYTES // SEGMENT_BYTES == 2172
    assert rounds(CongestionWindow(WindowLimits(65535)), 4) == [20, 40, 45, 45]


def test_a_window_that_is_not_used_does_not_grow() -> None:
    half_full = window(40)
    half_full.acknowledged(20, 20, RTT_NS, 0, RTT_NS)
    assert half_full.segments == 40
    more = window(40)
    more.acknowledged(21, 21, RTT_NS, 0, RTT_NS)
    assert more.segments == 61


@pytest.mark.parametrize(
    ("idle_ns", "segments"),
    [(TIMEOUT_NS, 640), (TIMEOUT_NS + 1, 320), (2 * TIMEOUT_NS, 320), (2 * TIMEOUT_NS + 1, 160), (5 * TIMEOUT_NS, 40),
     (20 * TIMEOUT_NS, 10)],
)  # fmt: skip
def test_a_window_that_rests_halves_with_each_time_out_down_to_ten(idle_ns: int, segments: int) -> None:
    rested = window(640)
    rested.used_ns = 1 * S
    rested.resume(1 * S + idle_ns, TIMEOUT_NS)
    assert rested.segments == segments


def test_a_small_window_does_not_grow_by_resting() -> None:
    small = window(4)
    small.resume(60 * S, TIMEOUT_NS)
    assert small.segments == 4


def test_a_window_rests_unharmed_where_slow_start_after_idle_is_off() -> None:
    rested = window(640, WindowLimits(restarts_after_idle=False))
    rested.resume(3600 * S, TIMEOUT_NS)
    assert rested.segments == 640


def test_a_rested_window_remembers_three_quarters_of_where_it_was() -> None:
    rested = window(100)
    rested.threshold = 50
    rested.resume(3600 * S, TIMEOUT_NS)
    assert (rested.segments, rested.threshold) == (10, 75)


def test_a_loss_takes_three_tenths_once_a_round_trip() -> None:
    lossy = window(100)
    lossy.lost(sent_ns=0, now_ns=RTT_NS)
    assert (lossy.segments, lossy.threshold, lossy.slow_start) == (70, 70, False)
    lossy.lost(sent_ns=RTT_NS // 2, now_ns=RTT_NS + RTT_NS // 2)
    assert lossy.segments == 70
    lossy.lost(sent_ns=RTT_NS, now_ns=2 * RTT_NS)
    assert lossy.segments == 49


def test_a_time_out_begins_anew_and_doubles_up_to_seven_tenths() -> None:
    silent = window(100)
    silent.timed_out(0, 220 * MS)
    assert silent.segments == 1
    assert rounds(silent, 7)[:6] == [2, 4, 8, 16, 32, 64]
    assert silent.threshold == 70


def test_after_a_loss_it_climbs_by_half_a_segment_a_round_trip_where_that_is_more_than_the_cubic_curve() -> None:
    short_ns = MS
    lossy = window(100)
    lossy.rtt_ns = lossy.least_rtt_ns = short_ns
    lossy.lost(0, short_ns)
    for number in range(100):
        size = lossy.segments
        lossy.acknowledged(size, size, short_ns, 0, (number + 2) * short_ns)
    assert lossy.segments == pytest.approx(70 + 0.53 * 100, abs=2)  # 3 (1 - 0.7) / (1 + 0.7)


def test_the_cubic_curve_is_back_where_the_loss_was_after_its_time_and_beyond_it_later() -> None:
    lossy = window(1000)
    lossy.rtt_ns = lossy.least_rtt_ns = RTT_NS
    lossy.lost(0, RTT_NS)
    back_s = (0.3 * 1000 / 0.4) ** (1 / 3)  # RFC 9438: K
    steps = round(back_s * S / RTT_NS)
    climbing = rounds(lossy, steps)
    assert climbing[-1] == pytest.approx(1000, rel=0.02)
    assert climbing[steps // 2] == pytest.approx(1000 - 0.4 * (back_s / 2) ** 3, rel=0.02)
    assert rounds(lossy, 250, now_ns=steps * RTT_NS)[-1] > 1040


def test_the_curve_does_not_climb_while_nothing_is_sent() -> None:
    climbed = []
    for idle_ns in (0, 100 * MS, 100 * S):
        lossy = window(1000, WindowLimits(restarts_after_idle=False))
        lossy.lost(0, RTT_NS)
        rounds(lossy, 50)
        lossy.used_ns = 50 * RTT_NS
        lossy.resume(50 * RTT_NS + idle_ns, TIMEOUT_NS)
        climbed.append(rounds(lossy, 50, now_ns=50 * RTT_NS + idle_ns)[-1])
    assert climbed[0] == climbed[1] == climbed[2]


def test_hystart_ends_slow_start_when_acknowledgements_last_longer_than_half_a_round_trip() -> None:
    bound = window(80)
    bound.least_rtt_ns = RTT_NS
    bound.acknowledged(80, 80, RTT_NS, RTT_NS // 4, RTT_NS)
    assert bound.slow_start
    bound.acknowledged(160, 160, RTT_NS, RTT_NS - 1, 2 * RTT_NS)
    # The cushion of a millisecond makes it 10.5 ms: so many of 160 had come by then.
    assert bound.threshold == 160 + 160 * 10_500_000 // (RTT_NS - 1)
    assert not bound.slow_start


def test_hystart_ends_slow_start_when_the_round_trip_is_longer_by_four_milliseconds() -> None:
    delayed = window(80)
    delayed.acknowledged(80, 80, RTT_NS + 4 * MS, 0, RTT_NS)
    assert delayed.slow_start
    delayed.acknowledged(160, 160, RTT_NS + 4 * MS + 1, 0, 2 * RTT_NS)
    assert delayed.threshold == 160 + 16


def test_hystart_leaves_windows_below_sixteen_segments_alone() -> None:
    small = window(5)
    small.acknowledged(5, 5, 10 * RTT_NS, RTT_NS, RTT_NS)
    assert (small.segments, small.slow_start) == (10, True)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("acknowledged"), st.integers(1, 3000), st.integers(1, 100 * MS), st.integers(0, 100 * MS)),
            st.tuples(st.just("lost"), st.just(0), st.just(0), st.just(0)),
            st.tuples(st.just("timed out"), st.just(0), st.just(0), st.just(0)),
            st.tuples(st.just("rested"), st.just(0), st.integers(1, 10 * S), st.just(0)),
        ),
        max_size=60,
    ),
    st.integers(1, 200),
)
def test_whatever_happens_it_holds_a_segment_and_stays_within_its_cap(
    events: list[tuple[str, int, int, int]], largest: int
) -> None:
    found = CongestionWindow(WindowLimits(largest * SEGMENT_BYTES))
    now_ns = 0
    for what, segments, one_ns, other_ns in events:
        sent_ns = now_ns
        now_ns += max(one_ns, 1)
        before = found.segments
        if what == "acknowledged":
            used = min(segments, before)
            found.acknowledged(used, used, one_ns, other_ns, now_ns)
            assert found.segments >= before
        elif what == "lost":
            found.lost(sent_ns, now_ns)
            assert found.segments <= max(before, 2)
        elif what == "timed out":
            found.timed_out(sent_ns, now_ns)
            assert found.segments == 1
        else:
            found.resume(now_ns, TIMEOUT_NS)
            assert found.segments <= before
        assert 1 <= found.segments <= largest
