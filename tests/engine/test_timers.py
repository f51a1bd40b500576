"""Timers of one duration: one armed event, exact expiry, cancelling by a mark."""

from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.timers import TimerFifo


class Item:
    def __init__(self, name):
        self.name = name
        self.deadline_ns = 0


def test_a_timer_expires_after_its_duration_and_a_cancelled_one_never():
    clock = Clock()
    expired = []
    timers = TimerFifo(clock, 100, lambda item: expired.append((item.name, clock.now)))
    first, second = Item("first"), Item("second")
    timers.set(first)
    clock.after(10, lambda: timers.set(second), PACKET)
    clock.after(50, lambda: setattr(first, "deadline_ns", 0), PACKET)
    clock.run(1000)
    assert expired == [("second", 110)]


def test_a_timer_that_is_set_when_another_expires_does_not_hold_up_those_between():
    clock = Clock()
    expired = []

    def expire(item):
        expired.append((item.name, clock.now))
        if item.name == "first":
            timers.set(Item("again"))

    timers = TimerFifo(clock, 100, expire)
    timers.set(Item("first"))
    clock.after(40, lambda: timers.set(Item("second")), PACKET)
    clock.run(1000)
    assert expired == [("first", 100), ("second", 140), ("again", 200)]


@given(st.lists(st.tuples(st.integers(0, 500), st.booleans(), st.integers(0, 99)), max_size=40))
def test_what_is_not_cancelled_expires_exactly_when_due(plan):
    clock = Clock()
    expired = {}
    timers = TimerFifo(clock, 100, lambda item: expired.__setitem__(item.name, clock.now))
    due = {}
    for i, (at, cancelled, after) in enumerate(plan):
        item = Item(i)
        clock.after(at, lambda item=item: timers.set(item), PACKET)
        if cancelled:
            clock.after(at + after, lambda item=item: setattr(item, "deadline_ns", 0), PACKET + 1)
        else:
            due[i] = at + 100
    clock.run(10_000)
    assert expired == due
    assert not timers.pending()


def test_the_fifo_is_as_short_as_what_is_under_way():
    clock = Clock()
    timers = TimerFifo(clock, 10**9, lambda item: None)
    for i in range(1000):
        item = Item(i)
        timers.set(item)
        item.deadline_ns = 0
    assert len(timers) == 1
