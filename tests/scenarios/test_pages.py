"""docs/services.md and docs/history.md show each kind with its figure, and say what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.kube.features import features
from tests.docs.pages import page, sections
from tests.scenarios.pages import FIGURES, PAGES, ROOT, SHOWN, printed, shown_in

BLOCKS = [(path, output) for each in PAGES for path, output in shown_in(each)]
MOST_BYTES = 60_000


def test_every_scenario_of_types_and_history_is_shown():
    files = [path for folder in ("types", "history") for path in (ROOT / "scenarios" / folder).glob("*.yaml")]
    files.append(ROOT / "scenarios" / "ingress-failover.yaml")
    assert sorted(str(path.relative_to(ROOT)) for path in files) == sorted(path for path, _ in BLOCKS)


@pytest.mark.parametrize(("path", "output"), BLOCKS, ids=[Path(path).stem for path, _ in BLOCKS])
def test_the_page_says_what_the_command_prints(path, output):
    assert output == printed(path)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_each_has_a_small_figure_in_its_page(name):
    figure = FIGURES / f"{name}.png"
    assert figure.stat().st_size < MOST_BYTES
    assert any(f"(figures/services/{name}.png)" in each.read_text(encoding="utf-8") for each in PAGES)


def test_the_history_lists_every_feature():
    [section] = [each for each in sections(page("history.md")) if each.title.startswith("What came")]
    rows = {row[0].strip("`"): row[1:4] for row in section.rows if row[0] != "what"}
    assert rows == {
        feature.name: (feature.alpha or "–", feature.since, feature.until or "–") for feature in features()
    }
    meanings = {row[0].strip("`"): row[4] for row in section.rows if row[0] != "what"}
    for feature in features():
        assert ("Not settled" in meanings[feature.name]) is bool(feature.unchecked), feature.name
        assert (f"deprecated from {feature.deprecated} on" in meanings[feature.name]) is bool(feature.deprecated), feature.name
