"""Many runs of which only figures are kept, on any `concurrent.futures` executor.

A task is a pure function of its scenario and seed, so where it runs, how many run at a time, and how often one is begun again
after a worker was lost make no difference to what comes back.
"""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass

from svcsim.errors import SimulationError
from svcsim.results.measured import Figure, Measured, measured
from svcsim.scenario.model import Scenario
from svcsim.sweep.heap import settled
from svcsim.sweep.runs import Job, run_job

MOST_LOSSES = 5
"""So often may all workers be lost before a task is blamed for it."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run and what is asked of it."""

    number: int
    job: Job
    scenario: Scenario
    figures: tuple[Figure, ...]
    whole: bool = False
    """Whether the run's result comes back too, not its figures alone."""


def perform(task: Task) -> Measured:
    """Run a task, here."""
    return measured(run_job(task.job, task.scenario), task.figures, whole=task.whole)


def perform_all(
    tasks: Sequence[Task], *, processes: int | None = None, on_end: Callable[[Task, Measured], None] | None = None,
    open_executor: Callable[[], Executor] | None = None,
) -> list[Measured]:
    """What every task gives, in their order; `processes` None takes one a CPU. `open_executor` gives another kind of executor.

    A worker that is lost costs no task: those that had not ended are begun again. SimulationError if workers are lost again and
    again.
    """
    count = min(len(tasks), processes or os.cpu_count() or 1)
    done: dict[int, Measured] = {}

    def keep(task: Task, found: Measured) -> None:
        done[task.number] = found
        if on_end is not None:
            on_end(task, found)

    if open_executor is None and count <= 1:
        with settled():
            for task in tasks:
                keep(task, perform(task))
    else:
        opened = open_executor or (lambda: concurrent.futures.ProcessPoolExecutor(count, initializer=_leave_interrupts))
        _perform_elsewhere(tasks, opened, done, keep)
    return [done[task.number] for task in tasks]


def _leave_interrupts() -> None:
    # A terminal interrupts the whole group of processes; the one that was called decides, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # as `settled`, to the end of the process


def _perform_elsewhere(
    tasks: Sequence[Task], opened: Callable[[], Executor], done: dict[int, Measured], keep: Callable[[Task, Measured], None]
) -> None:
    losses = 0
    while pending := [task for task in tasks if task.number not in done]:
        strangers = multiprocessing.active_children()
        executor = opened()
        futures: dict[Future[Measured], Task] = {}
        try:
            futures = {executor.submit(perform, task): task for task in pending}
            for future in concurrent.futures.as_completed(futures):
                keep(futures[future], future.result())
        except BrokenExecutor as error:
            losses += 1
            if losses > MOST_LOSSES:
                raise SimulationError(f"worker processes were lost {losses} times ({error}); too little memory?") from None
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in strangers:
                    process.terminate()
            raise
        finally:
            if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
                # Its own thread cancels: it would stumble over what is cancelled here when it finds its workers gone.
                executor.shutdown(wait=True, cancel_futures=True)
            else:
                for future in futures:
                    future.cancel()
                executor.shutdown(wait=True)
