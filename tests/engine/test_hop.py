"""What the hot path reads into SimPy: `step()` looks at `callbacks` and `_ok` of an event and at nothing else."""

import pytest
import simpy

from svcsim.engine.clock import COMMIT, CONTROL, PACKET, Clock
from svcsim.engine.hop import Hop


class Note(Hop):
    __slots__ = ("name",)

    def __init__(self, name):
        super().__init__()
        self.name = name


def test_a_hop_is_scheduled_like_an_event_and_may_schedule_itself_again():
    clock = Clock()
    times = []

    def step(hop):
        assert hop.callbacks is None
        times.append(clock.now)
        if len(times) < 3:
            hop.callbacks = (step,)
            clock.environment.schedule(hop, PACKET, 5)

    hop = Note("n")
    hop.callbacks = (step,)
    clock.environment.schedule(hop, PACKET, 1)
    clock.run(100)
    assert times == [1, 6, 11]


def test_simpy_is_of_the_version_whose_step_was_read():
    assert simpy.__version__.startswith("4.1")


def test_events_of_one_instant_run_control_plane_first_then_commits_then_packets():
    clock = Clock()
    order = []
    for rank, name in ((PACKET, "packet"), (COMMIT, "commit"), (CONTROL, "control")):
        clock.after(7, lambda name=name: order.append(name), rank)
    clock.run(8)
    assert order == ["control", "commit", "packet"]


def test_the_clock_stays_an_int():
    clock = Clock()
    seen = []

    def process():
        for _ in range(3):
            yield clock.sleep(10)
            seen.append(clock.now)

    clock.process(process())
    clock.run(100)
    assert seen == [10, 20, 30]
    assert all(type(value) is int for value in [*seen, clock.now])


@pytest.mark.parametrize("rank", [CONTROL, COMMIT, PACKET])
def test_events_of_one_rank_run_in_the_order_in_which_they_were_scheduled(rank):
    clock = Clock()
    order = []
    for i in range(5):
        clock.after(3, lambda i=i: order.append(i), rank)
    clock.run(4)
    assert order == [0, 1, 2, 3, 4]
