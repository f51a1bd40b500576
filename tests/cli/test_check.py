"""`svcsim check`: baselines stored, kept and broken, as a CI job meets them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from svcsim.cli.main import run
from tests.sweep.test_tasks import TEXT

EXPECTING = TEXT.replace("replications: 3", "replications: 1") + 'expect: ["load: success >= 100%"]\n'
WORDS = ["--baseline", "base", "--jobs", "1"]
SLOWER = ["--set", "servers=[{match: {app: web}, serviceTime: 9ms}]"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "small.yaml").write_text(EXPECTING)


def test_without_a_baseline_expectations_are_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "small.yaml", "--jobs", "1"]) == 0
    assert "1 of 1 expectations hold" in capsys.readouterr().out
    assert run(["check", "small.yaml", "--jobs", "1", "--set", 'expect=["load: p50 < 1us"]']) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "load latency.p50 below 1 µs" in out


def test_golden_passes_for_the_same_and_fails_for_any_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "small.yaml", *WORDS, "--golden", "--update"]) == 0
    stored = Path("base/small.json").read_text()
    assert run(["check", "small.yaml", *WORDS, "--golden"]) == 0
    assert "every run equal to the byte" in capsys.readouterr().out
    assert run(["check", "small.yaml", *WORDS, "--golden", *SLOWER]) == 1
    out = capsys.readouterr().out
    assert "0 of 2 runs equal to the byte" in out
    assert "worse" in out
    assert Path("base/small.json").read_text() == stored


def test_a_tolerance_check_reruns_the_seeds_of_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "small.yaml", *WORDS, "--update", "--replications", "3", "--metric", "p50", "--metric", "success"]) == 0
    assert run(["check", "small.yaml", *WORDS]) == 0
    assert "2 variants × 3 runs, 1 of 1 expectations hold, 4 of 4 figures the same" in capsys.readouterr().out
    assert run(["check", "small.yaml", *WORDS, *SLOWER]) == 1
    assert run(["check", "small.yaml", *WORDS, *SLOWER, "--tolerance", "latency.p50=100%"]) == 1
    capsys.readouterr()
    assert run(["check", "small.yaml", *WORDS, *SLOWER, "--update"]) == 0
    assert "worse" in capsys.readouterr().out
    assert run(["check", "small.yaml", *WORDS, *SLOWER]) == 0


def test_other_versions_turn_golden_into_tolerance_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "small.yaml", *WORDS, "--golden", "--update"]) == 0
    path = Path("base/small.json")
    path.write_text(path.read_text().replace('"numpy": "', '"numpy": "0.'))
    assert run(["check", "small.yaml", *WORDS, "--golden"]) == 0
    out = capsys.readouterr().out
    assert "compared by" in out
    assert "NumPy 0." in out


def test_junit_and_annotations_tell_what_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(["check", "small.yaml", *WORDS, "--golden", "--update", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    words = ["--set", 'expect=["load: p50 < 1us"]', "--junit", "junit.xml"]
    assert run(["check", "small.yaml", *WORDS, "--golden", *SLOWER, *words]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::error ")]
    assert len(lines) == 4
    assert all("file=small.yaml" in line and "%" not in line.replace("%25", "").replace("%2C", "") for line in lines)
    suite = ET.parse("junit.xml").getroot()[0]
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) == "4"
    assert "**FAIL**" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["small.yaml", "--golden"], "--baseline"),
        (["small.yaml", "--baseline", "none"], "there is no baseline none/small.json: store one with --update"),
        (["small.yaml", "small.yaml"], "two scenarios are called small"),
        (["small.yaml", "--baseline", "b", "--update", "--tolerance", "x"], "--tolerance x"),
        (["small.yaml", "--baseline", "b", "--update", "--tolerance", "p98=5%"], "no metric"),
        (["small.yaml", "--baseline", "b", "--update", "--metric", "p98"], "no metric"),
        (["small.yaml", "--junit", "nowhere/x.xml"], "no folder nowhere"),
        (["small.yaml", "none.yaml"], "none.yaml"),
    ],
)
def test_a_call_that_cannot_be_met_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["check", *words]) == 2
    assert message in capsys.readouterr().err
