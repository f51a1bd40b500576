"""`svcsim run`: variants alone, and the line that replays a run."""

import json
import re
import shlex

import pytest

from svcsim.cli.main import run
from tests.world.small import SMALL

COMPARED = SMALL + """
compare:
  workloads[load].arrivals: {slow: 50/s, fast: 100/s}
expect:
  - 'p50 < 1us mode slow'
  - 'requests > 0 mode fast'
"""


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two words.yaml").write_text(COMPARED)
    return "two words.yaml"


def summary_of(arguments: list[str], capsys) -> tuple[int, dict]:
    code = run(["run", *arguments, "--no-out", "--json", "-", "--jobs", "1"])
    return code, json.loads(capsys.readouterr().out)


def test_a_variant_can_be_run_alone_and_only_what_is_expected_of_it_is_asked(scenario, capsys) -> None:
    code, found = summary_of([scenario, "--only", "fast", "--set", "run.duration=2s"], capsys)
    assert code == 0
    assert [mode["mode"] for mode in found["modes"]] == ["fast"]
    assert [each["mode"] for each in found["expectations"]] == ["fast"]


def test_an_expectation_of_a_variant_that_is_not_run_is_noted(scenario, capsys) -> None:
    run(["run", scenario, "--only", "fast", "--set", "run.duration=2s", "--no-out"])
    assert "an expectation of slow, which is not run" in capsys.readouterr().out


def test_an_unknown_variant_gets_the_nearest_name(scenario, capsys) -> None:
    assert run(["run", scenario, "--only", "fats", "--no-out"]) == 2
    assert "there is no variant 'fats' (did you mean 'fast'?)" in capsys.readouterr().err


def test_the_line_that_is_printed_with_a_failing_expectation_replays_its_run(scenario, capsys) -> None:
    arguments = [scenario, "--set", "run.duration=2s", "--seed", "5", "--replications", "2"]
    code, before = summary_of(arguments, capsys)
    assert code == 1
    run(["run", *arguments, "--no-out"])
    [line] = re.findall(r"replay with: (.+)", capsys.readouterr().out)
    program, command, *again = shlex.split(line)
    assert (program, command) == ("svcsim", "run")
    code, after = summary_of(again, capsys)
    assert code == 1
    [replayed] = after["runs"]
    assert replayed["fingerprint"] == next(each for each in before["runs"] if each["mode"] == "slow")["fingerprint"]
