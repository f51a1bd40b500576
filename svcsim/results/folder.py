"""A folder of results: written whole or not at all, and read back.

    runs/failover-1/
      summary.json              figures with stable keys (svcsim.results.summary)
      timeline.json             the journal and rates over time
      scenario.resolved.yaml    what alone reproduces the run
      requests/iptables.npz     the records of one run each; `iptables.2.npz` is its second replication
      figures/…                 whatever the caller adds before the folder gets its name

All of it goes into a hidden sibling first, which is renamed when it is complete. An interrupt leaves nothing.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from svcsim.engine.journal import Detail, Entry, Happening, Journal
from svcsim.errors import UsageError
from svcsim.results.columnar import read_npz, read_parquet, write_npz, write_parquet
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Verdict
from svcsim.results.result import Counters, Provenance, Result
from svcsim.results.summary import SUMMARY_SCHEMA, TIMELINE_SCHEMA, dumps, summary, timelines
from svcsim.results.whole import check_free, write_whole

__all__ = ["DEFAULT_ROOT", "check_free", "default_path", "load", "slug", "write"]

DEFAULT_ROOT = Path("runs")

_WRITERS = {"npz": write_npz, "parquet": write_parquet}
_READERS = {".npz": read_npz, ".parquet": read_parquet}


def slug(text: str) -> str:
    """A name as a file name: letters, digits, dots and dashes, never empty or hidden.

    >>> slug("ipvs/rr"), slug("../etc")
    ('ipvs-rr', 'etc')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")[:100] or "unnamed"


def default_path(scenario: str, root: Path = DEFAULT_ROOT) -> Path:
    """The first free `runs/<scenario>-<n>`, counting from 1 and on from the highest that exists."""
    name = slug(scenario)
    numbers = [0]
    if root.is_dir():
        pattern = re.compile(re.escape(name) + r"-(\d{1,9})")
        numbers += [int(match[1]) for entry in root.iterdir() if (match := pattern.fullmatch(entry.name))]
    return root / f"{name}-{max(numbers) + 1}"


def write(
    comparison: Comparison,
    path: Path | None = None,
    *,
    scenario_text: str = "",
    verdicts: Sequence[Verdict] = (),
    records: str = "npz",
    add: Callable[[Path], None] | None = None,
) -> Path:
    """Write a folder of results and return its path, by default `runs/<scenario>-<n>`.

    `add` is called with the unfinished folder, to put figures and a report into it. UsageError if the path
    exists, can't be written, or `records` is neither `npz` nor `parquet`.
    """
    if records not in _WRITERS:
        raise UsageError(f"records are written as npz or parquet (got {records!r})")
    scenario = comparison.results[0].provenance.scenario or "run"

    def fill(unfinished: Path) -> None:
        _fill(unfinished, comparison, scenario_text, verdicts, records)
        if add is not None:
            add(unfinished)

    if path is not None:
        return write_whole(path, fill)
    return write_whole(default_path(scenario), fill, otherwise=lambda: default_path(scenario))


def _fill(
    folder: Path, comparison: Comparison, scenario_text: str, verdicts: Sequence[Verdict], records: str
) -> None:
    names = dict(_record_files(comparison.results, records))
    (folder / "requests").mkdir()
    for result in comparison.results:
        file = folder / names[result.label, result.replication]
        _WRITERS[records](file, result.requests, result.names)
    for name, document in (
        ("summary.json", summary(comparison, verdicts, names)),
        ("timeline.json", timelines(comparison)),
    ):
        (folder / name).write_text(dumps(document), encoding="utf-8", errors="backslashreplace")
    if scenario_text:
        (folder / "scenario.resolved.yaml").write_text(scenario_text, encoding="utf-8")


def _record_files(results: Iterable[Result], records: str) -> Iterable[tuple[tuple[str, int], str]]:
    taken: set[str] = set()
    for result in results:
        stem = slug(result.label) + (f".{result.replication + 1}" if result.replication else "")
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        yield (result.label, result.replication), f"requests/{name}.{records}"


def load(folder: Path | str) -> Comparison:
    """The results in a folder that svcsim wrote; UsageError if it isn't one."""
    path = Path(folder)
    if not path.exists():
        raise UsageError(f"there is no folder {path}")
    if not (path / "summary.json").is_file():
        raise UsageError(f"{path} is not a folder of results (it has no summary.json)")
    try:
        told = _document(path / "summary.json", SUMMARY_SCHEMA)
        journals = {
            (run["mode"], run["replication"]): _journal(run["entries"])
            for run in _document(path / "timeline.json", TIMELINE_SCHEMA)["runs"]
        }
        return Comparison([_result(path, told, run, journals) for run in told["runs"]])
    except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a complete folder of results: {error}") from None


def _document(path: Path, schema: str) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise ValueError(f"{path.name} is not of schema {schema}")
    return document


def _journal(entries: list[dict[str, Any]]) -> Journal:
    return Journal(
        [
            Entry(entry["at_ns"], Happening(entry["kind"]), entry["subject"], _detail(entry["detail"]))
            for entry in entries
        ]
    )


def _detail(detail: dict[str, Any]) -> dict[str, Detail]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in detail.items()}


def _result(
    folder: Path, told: dict[str, Any], run: dict[str, Any], journals: dict[tuple[str, int], Journal]
) -> Result:
    file = folder / run["records"]
    requests, names = _READERS[file.suffix](file)
    known = {field.name for field in fields(Counters)}
    return Result(
        label=run["mode"],
        requests=requests,
        journal=journals[run["mode"], run["replication"]],
        names=names,
        duration_ns=run["duration_ns"],
        warmup_ns=run["warmup_ns"],
        replication=run["replication"],
        counters=Counters(**{key: value for key, value in run["counters"].items() if key in known}),
        provenance=Provenance(
            scenario=told["scenario"],
            scenario_hash=told["scenario_hash"],
            seed=run["seed"],
            profile=told["profile"],
            unmeasured_costs=told["unmeasured_costs"],
            replay=run["replay"],
            **told["versions"],
        ),
    )
