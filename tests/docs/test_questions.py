"""docs/questions.md: each question has a scenario, what the scenario expects holds, and its answer is what the run gives now."""

from __future__ import annotations

import pytest

import svcsim
from svcsim.results.expectations import evaluate
from svcsim.scenario.examples import examples
from tests.docs.questions.page import ENTRIES, FIGURES, FOLDER, HEAD, PAGE, Entry, outcome, shown
from tests.world.laws import conserved

MOST_BYTES = 40_000


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.path.name)
def test_a_question_is_answered_as_documented_and_the_page_says_what_the_run_gives(entry: Entry) -> None:
    scenario = svcsim.load(entry.path)
    assert scenario.expect
    broken = [str(verdict) for verdict in evaluate(scenario.expectations(), outcome(entry.slug)) if not verdict.holds]
    assert broken == []
    for result in outcome(entry.slug).results:
        conserved(result)
    assert shown(PAGE.read_text(encoding="utf-8"))[int(entry.slug[:2])] == entry.text()


def test_the_page_has_twenty_questions_in_order_and_nothing_else() -> None:
    assert [int(entry.slug[:2]) for entry in ENTRIES] == list(range(1, 21))
    text = PAGE.read_text(encoding="utf-8")
    assert list(shown(text)) == list(range(1, 21))
    assert text == HEAD + "\n".join(shown(text).values())


def test_every_scenario_of_the_folder_is_asked_and_is_an_example() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == [entry.slug for entry in ENTRIES]
    offered = {example.name: example.question for example in examples() if example.name.startswith("questions/")}
    assert list(offered) == [f"questions/{entry.slug}" for entry in ENTRIES]
    for entry in ENTRIES:
        assert "?" in entry.question
        assert offered[f"questions/{entry.slug}"] in entry.question


def test_every_question_has_a_small_figure_and_no_figure_is_left_over() -> None:
    assert sorted(path.stem for path in FIGURES.glob("*.png")) == [entry.slug for entry in ENTRIES]
    assert all(entry.figure.stat().st_size < MOST_BYTES for entry in ENTRIES)


def test_each_answer_names_its_reference() -> None:
    assert all("](http" in text for text in shown(PAGE.read_text(encoding="utf-8")).values())
