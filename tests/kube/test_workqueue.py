"""What a controller's queue promises."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.engine.clock import Clock
from svcsim.kube.client import Client, Switchboard
from svcsim.kube.store import ConflictError, Store, UnavailableError
from svcsim.kube.timings import load_timings
from svcsim.kube.workqueue import Pace, WorkQueue
from svcsim.units import MS, S

PACE = Pace(workers=2, sync_ns=MS, write_ns=4 * MS, backoff_ns=5 * MS, backoff_max_ns=S)


class Bench:
    def __init__(self, writes=1, pace=PACE):
        self.clock = Clock()
        self.store = Store(self.clock)
        self.client = Client(Switchboard(self.store), self.clock, "c", load_timings(), 1)
        self.done = []
        self.fails = {}
        self.writes = writes
        self.queue = WorkQueue(self.client, pace, self.sync)

    def sync(self, key):
        if self.fails.get(key, 0):
            self.fails[key] -= 1
            raise ConflictError(key)
        self.done.append((self.clock.now, key))
        return self.writes


def test_a_key_that_waits_is_worked_on_once_however_often_it_is_added():
    bench = Bench()
    for key in "abccc":
        bench.queue.add(key)
    bench.clock.run(S)
    assert bench.done == [(5 * MS, "a"), (5 * MS, "b"), (10 * MS, "c")]


def test_a_key_added_while_it_is_worked_on_is_worked_on_again_afterwards():
    bench = Bench()
    bench.queue.add("a")
    bench.clock.after(2 * MS, lambda: bench.queue.add("a"))
    bench.clock.run(S)
    assert bench.done == [(5 * MS, "a"), (10 * MS, "a")]


def test_workers_work_side_by_side_and_each_write_takes_its_time():
    bench = Bench(writes=3)
    for key in "abc":
        bench.queue.add(key)
    bench.clock.run(S)
    assert bench.done == [(5 * MS, "a"), (5 * MS, "b"), (18 * MS, "c")]


def test_a_failure_is_tried_again_after_a_growing_delay_that_a_success_forgets():
    bench = Bench()
    bench.fails = {"a": 3}
    bench.queue.add("a")
    bench.clock.run(S)
    assert bench.done == [((5 + 5 + 5 + 10 + 5 + 20 + 5) * MS, "a")]
    bench.fails = {"a": 1}
    bench.queue.add("a")
    bench.clock.run(2 * S)
    assert bench.done[1] == (S + 15 * MS, "a")


def test_of_several_delays_the_first_to_end_counts():
    bench = Bench()
    bench.queue.add_after("a", 300 * MS)
    bench.queue.add_after("a", 100 * MS)
    bench.queue.add_after("a", 200 * MS)
    bench.clock.run(S)
    assert bench.done == [(105 * MS, "a")]


def test_without_the_api_server_keys_wait():
    bench = Bench()
    bench.queue.add("a")
    bench.clock.after(2 * MS, lambda: bench.store.set_available(False))
    bench.clock.after(3 * MS, lambda: bench.queue.add("b"))
    bench.clock.after(10 * S, lambda: bench.store.set_available(True))
    bench.clock.run(9 * S)
    assert bench.done == []
    bench.clock.run(11 * S)
    assert [key for _, key in bench.done] == ["b", "a"]


def test_an_answer_that_fails_to_come_is_no_failure_of_the_key():
    bench = Bench()
    calls = []

    def sync(key):
        calls.append(bench.clock.now)
        if len(calls) == 1:
            raise UnavailableError(key)
        return 0

    queue = WorkQueue(bench.client, PACE, sync)
    queue.add("a")
    bench.clock.run(S)
    assert calls == [5 * MS, 10 * MS]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc")), max_size=30))
def test_each_key_is_worked_on_after_its_last_addition_and_never_twice_at_once(additions):
    bench = Bench()
    last = {}
    for at_ms, key in additions:
        bench.clock.after(at_ms * MS, lambda key=key: bench.queue.add(key))
        last[key] = max(last.get(key, 0), at_ms * MS)
    bench.clock.run(S)
    for key, at_ns in last.items():
        times = [at for at, done in bench.done if done == key]
        assert times[-1] > at_ns
        assert all(later - earlier >= 5 * MS for earlier, later in pairwise(times))
