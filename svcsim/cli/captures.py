"""`svcsim run --pcap NODE.pcapng`: which files a run writes packets to, by the name of the node and of the variant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.scenario.model import Scenario
    from svcsim.sweep.runs import Job
    from svcsim.world.recording import CapturePlan

SUFFIX = ".pcapng"


def captures_of(scenario: Scenario, jobs: Sequence[Job], paths: Sequence[Path], during: str | None) -> dict[int, CapturePlan]:
    """The captures of each run, by its number; UsageError for a file that is named after no node or can't be written.

    Of several runs each has its own file: the variant's label and, from the second on, the number of the replication stand before
    the suffix.
    """
    from svcsim.cli.writing import check_place
    from svcsim.scenario.expect import parse_window
    from svcsim.spelling import nearest
    from svcsim.units import duration_text
    from svcsim.world.recording import CapturePlan

    if not paths:
        raise UsageError("--pcap-during limits a capture; add --pcap NODE.pcapng")
    hosts = [*scenario.node_names, *(host.name for host in scenario.cluster.outside)]
    for path in paths:
        if path.suffix != SUFFIX:
            raise UsageError(f"--pcap takes NODE{SUFFIX}, a file named after the node (got {str(path)!r})")
        if path.stem not in hosts:
            raise UsageError(f"--pcap {path}: there is no node {path.stem!r}{nearest(path.stem, hosts)}")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise UsageError(f"--pcap names node {twice[0]} more than once")
    try:
        start_ns, end_ns = (None, None) if during is None else scenario.window_ns(parse_window(during))
    except ValueError as error:
        raise UsageError(f"--pcap-during: {error}") from None
    if start_ns is not None and start_ns >= scenario.run.duration_ns:
        over = duration_text(scenario.run.duration_ns)
        raise UsageError(f"--pcap-during: the window begins at {duration_text(start_ns)}, when the run of {over} is over")
    found = {}
    for job in jobs:
        files = tuple((path.stem, _path(path, job, jobs)) for path in paths)
        for _, file in files:
            check_place(file)
        found[job.number] = CapturePlan(files, start_ns or 0, end_ns)
    return found


def _path(path: Path, job: Job, jobs: Sequence[Job]) -> Path:
    """`worker-1.pcapng`, or of several runs `worker-1.ipvs-rr.pcapng`, `worker-1.ipvs-rr.2.pcapng`."""
    parts = [path.stem]
    if len({each.label for each in jobs}) > 1:
        parts.append(re.sub(r"[^\w.=-]+", "-", job.label))
    if job.replication:
        parts.append(str(job.replication + 1))
    return path.with_name(".".join(parts) + path.suffix)
