"""The report of a run that has just ended, and of a folder of results: the same bytes for the same results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from svcsim.errors import UsageError
from svcsim.report.html.page import page
from svcsim.report.html.words import judged, judged_before
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Verdict
from svcsim.results.folder import load

NAME = "report.html"


def write_report(folder: Path, comparison: Comparison, verdicts: Sequence[Verdict], scenario_text: str) -> Path:
    """Write `report.html` into a folder and return its path."""
    path = folder / NAME
    path.write_text(page(comparison, judged(verdicts), scenario_text), encoding="utf-8", errors="backslashreplace")
    return path


def report_of_folder(folder: Path) -> str:
    """The report of the results in a folder; UsageError if it isn't one."""
    comparison = load(folder)
    scenario = folder / "scenario.resolved.yaml"
    try:
        told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        text = scenario.read_text(encoding="utf-8") if scenario.is_file() else ""
        return page(comparison, judged_before(told["expectations"]), text)
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"{folder} is not a complete folder of results: {error}") from None
