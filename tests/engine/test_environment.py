"""The clock's own loop does what SimPy's `run` and `step` do."""

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.environment import COMMIT, CONTROL, PACKET, Environment
from svcsim.engine.hop import Hop

PLANS = st.lists(
    st.tuples(st.sampled_from([CONTROL, COMMIT, PACKET]), st.lists(st.integers(0, 5), min_size=1, max_size=4)), max_size=8
)


class Travelling(Hop):
    """A hop that notes when it comes by, as often as it has delays."""

    __slots__ = ("delays", "environment", "name", "rank", "seen")

    def __init__(self, name, rank, delays, environment, seen):
        super().__init__()
        self.name, self.rank, self.delays = name, rank, list(delays)
        self.environment, self.seen = environment, seen

    def come_by(self, _):
        self.seen.append((self.environment.now, self.name))
        self.go()

    def go(self):
        if self.delays:
            self.callbacks = (self.come_by,)
            self.environment.schedule(self, self.rank, self.delays.pop(0))


def sleeper(environment, name, delays, seen):
    for delay in delays:
        yield environment.timeout(delay)
        seen.append((environment.now, name))


def seen_in(environment, plans, run):
    seen = []
    for i, (rank, delays) in enumerate(plans):
        Travelling(f"hop {i}", rank, delays, environment, seen).go()
        environment.process(sleeper(environment, f"process {i}", delays, seen))
    for until in (3, 4, 100):
        run(environment, until)
        seen.append(("until", environment.now))
    return seen


@given(PLANS)
def test_everything_happens_in_the_order_of_simpys_own_loop(plans):
    ours = seen_in(Environment(0), plans, lambda environment, until: environment.run_to(until))
    theirs = seen_in(simpy.Environment(0), plans, lambda environment, until: environment.run(until))
    assert ours == theirs


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_packet_put_on_an_instant_comes_after_those_put_there_before(instants):
    environment = Environment(0)
    seen = []
    for i, instant in enumerate(instants):
        hop = Hop()
        hop.callbacks = (lambda _, i=i: seen.append((environment.now, i)),)
        environment.at(hop, instant)
    environment.run_to(10)
    assert seen == sorted((instant, i) for i, instant in enumerate(instants))


def test_what_is_due_at_the_end_of_a_run_happens_in_the_next():
    environment = Environment(0)
    seen = []
    environment.process(sleeper(environment, "p", [7], seen))
    environment.run_to(7)
    assert (environment.now, seen) == (7, [])
    environment.run_to(8)
    assert seen == [(7, "p")]


def test_an_error_in_a_process_ends_the_run():
    def failing(environment):
        yield environment.timeout(2)
        raise KeyError("lost")

    environment = Environment(0)
    environment.process(failing(environment))
    with pytest.raises(KeyError, match="lost"):
        environment.run_to(5)


def test_the_clock_does_not_run_back():
    environment = Environment(0)
    environment.run_to(5)
    with pytest.raises(ValueError, match="5 ns"):
        environment.run_to(5)
