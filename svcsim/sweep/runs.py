"""Run every variant and replication of a scenario, on as many processes as asked for.

A run depends on its scenario and seed alone, so the results are the same bytes for any number of processes, in the order of
variants and replications.
"""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from svcsim.errors import InputError, UsageError
from svcsim.results.comparison import Comparison
from svcsim.results.result import Result
from svcsim.scenario.expansion import variants
from svcsim.scenario.model import Scenario
from svcsim.scenario.unmeasured import unmeasured_costs
from svcsim.spelling import nearest
from svcsim.sweep.heap import settled
from svcsim.world import build

if TYPE_CHECKING:
    from svcsim.world.recording import CapturePlan

OnProgress = Callable[["Job", int, int], None]
"""Called now and then with a job, the requests that have ended in it, and its simulated time in nanoseconds."""

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a variant of the scenario, by its label, with one seed."""

    number: int
    label: str
    replication: int
    seed: int
    call: str = "svcsim run SCENARIO"
    """The command line that asked for all runs, without what limits it to some."""

    @property
    def name(self) -> str:
        """A name for progress and errors."""
        return f"{self.label} #{self.replication + 1}" if self.replication else self.label

    @property
    def replay(self) -> str:
        """The command line that repeats this run alone."""
        return f"{self.call} --only {shlex.quote(self.label)} --seed {self.seed} --replications 1"


def jobs_of(scenario: Scenario, only: Sequence[str] = (), call: str | None = None) -> list[tuple[Job, Scenario]]:
    """The runs that a scenario asks for, in order; `only` limits them to variants of these labels. UsageError for an unknown one.

    Replication r has the seed `run.seed + r`: a pair of variants shares the seeds, and with them arrivals and service times.
    """
    found: list[tuple[Job, Scenario]] = []
    call = call or f"svcsim run {shlex.quote(scenario.origin.file or 'SCENARIO')}"
    compared = variants(scenario)
    for name in only:
        if not any(label == name or label.startswith(f"{name}/") for label, _ in compared):
            raise UsageError(f"there is no variant {name!r}{nearest(name, [label for label, _ in compared])}")
    for label, variant in compared:
        if only and not any(label == name or label.startswith(f"{name}/") for name in only):
            continue
        for replication in range(scenario.run.replications):
            found.append((Job(len(found), label, replication, scenario.run.seed + replication, call), variant))
    return found


def run_job(
    job: Job, scenario: Scenario, progress: Callable[[int, int], None] | None = None, captures: CapturePlan | None = None
) -> Result:
    """One run, in this process; `captures` says whose packets it writes to which files.

    An error that is no mistake of the user's gets a note: the line that replays the run.
    """
    try:
        world = build(scenario, seed=job.seed, label=job.label, replication=job.replication, captures=captures)
        return world.run(progress)
    except (InputError, UsageError):
        raise
    except Exception as error:
        error.add_note(f"replay with: {job.replay}")
        raise


def run_all(
    scenario: Scenario, *, processes: int | None = None, only: Sequence[str] = (), on_progress: OnProgress | None = None,
    on_end: Callable[[Job, Result], None] | None = None, captures: Mapping[int, CapturePlan] | None = None,
    call: str | None = None,
) -> Comparison:
    """Every run of the scenario; `processes` None takes one a CPU, at most one a run. `captures` are by the number of the job.

    `call` is the command line that asks for them, for the lines that replay one.
    """
    work = jobs_of(scenario, only, call)
    count = min(len(work), processes or os.cpu_count() or 1)
    runner = _here if count <= 1 else _in_processes
    results: dict[int, Result] = {}
    for job, result in runner(work, count, on_progress, captures or {}):
        result.provenance = replace(result.provenance, replay=job.replay)
        results[job.number] = result
        if on_end is not None:
            on_end(job, result)
    count = unmeasured_costs(variant for _, variant in work)
    for result in results.values():
        result.provenance = replace(result.provenance, unmeasured_costs=count)
    return Comparison([results[number] for number in sorted(results)])


def _here(
    work: list[tuple[Job, Scenario]], count: int, on_progress: OnProgress | None, captures: Mapping[int, CapturePlan]
) -> Iterator[tuple[Job, Result]]:
    with settled():
        for job, scenario in work:
            yield job, run_job(
                job, scenario, None if on_progress is None else partial(on_progress, job), captures.get(job.number)
            )


_board: Any = None


def _take_board(board: Any) -> None:
    global _board  # noqa: PLW0603 - how a worker process keeps what its initializer gave it
    _board = board
    # A terminal interrupts the whole group of processes; the one that was called decides, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # as `settled`, to the end of the process


def _work(job: Job, scenario: Scenario, captures: CapturePlan | None) -> Result:
    def report(ended: int, now_ns: int) -> None:
        _board[2 * job.number] = ended
        _board[2 * job.number + 1] = now_ns

    return run_job(job, scenario, report, captures)


def _in_processes(
    work: list[tuple[Job, Scenario]], count: int, on_progress: OnProgress | None, captures: Mapping[int, CapturePlan]
) -> Iterator[tuple[Job, Result]]:
    strangers = multiprocessing.active_children()
    board = multiprocessing.Array("q", 2 * len(work), lock=False)
    pool = concurrent.futures.ProcessPoolExecutor(count, initializer=_take_board, initargs=(board,))
    try:
        pending = {pool.submit(_work, job, scenario, captures.get(job.number)): job for job, scenario in work}
        while pending:
            done, _ = concurrent.futures.wait(
                pending, timeout=_POLL_S, return_when=concurrent.futures.FIRST_COMPLETED
            )
            if on_progress is not None:
                for job in pending.values():
                    if board[2 * job.number + 1]:
                        on_progress(job, board[2 * job.number], board[2 * job.number + 1])
            for future in sorted(done, key=lambda future: pending[future].number):
                yield pending.pop(future), future.result()
    except BaseException:
        # What is under way may take long, and nobody wants it any more.
        for process in multiprocessing.active_children():
            if process not in strangers:
                process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
