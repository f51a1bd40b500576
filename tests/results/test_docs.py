"""docs/results.md names every column, metric and key that there is."""

from __future__ import annotations

import re
from pathlib import Path

from svcsim.results.comparison import Comparison
from svcsim.results.metrics import METRICS
from svcsim.results.records import COLUMNS, Outcome
from svcsim.results.summary import summary
from tests.results.synthetic import failover

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
TEXT = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
NAMED = set(re.findall(r"`([^`]+)`", TEXT.replace("{}", "").replace("[]", "")))


def test_every_column_and_outcome_is_explained() -> None:
    assert set(COLUMNS) <= NAMED
    for outcome in Outcome:
        words = "ok" if outcome is Outcome.OK else outcome.words
        assert f"{outcome.value} {words}" in PAGE


def test_every_metric_stands_in_the_table_with_its_words() -> None:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(metric.name, str(metric.unit), metric.words) for metric in METRICS.values()]


def test_every_key_of_the_summary_is_named() -> None:
    told = summary(Comparison(failover(("iptables",), replications=2, duration_s=70, rate_per_s=50)))
    mode, fault, run = told["modes"][0], told["faults"][0], told["runs"][0]
    keys = {*told, *mode, *mode["latency"], *fault, *fault["modes"]["iptables"][0], *run} - {"modes", "faults", "runs"}
    assert keys <= NAMED
