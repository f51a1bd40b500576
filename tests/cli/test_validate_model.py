"""`svcsim validate-model`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svcsim.cli.main import run


def test_it_prints_the_rows_of_a_source_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, data = tmp_path / "figure.png", tmp_path / "rows.json"
    arguments = ["validate-model", "--source", "pr-16344", "--jobs", "1", "--figure", str(figure), "--json", str(data)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "userspace over iptables, throughput of one host" in printed
    assert " within" in printed
    assert figure.stat().st_size > 10_000
    rows = json.loads(data.read_text())["rows"]
    assert [row["id"] for row in rows] == ["pr-16344.userspace-over-iptables"]
    assert rows[0]["ratio"] == pytest.approx(rows[0]["simulated"] / rows[0]["value"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["--source", "cilium-2018"], "there is no source 'cilium-2018' (did you mean 'cilium-2019'?)"),
    (["--source", "netns", "--out", "page.md"], "a page gets all rows"),
    (["--figure", "figure.gif"], "a figure is written as .png, .svg, .pdf (got figure.gif)"),
    (["--out", "nowhere.md"], "can't read nowhere.md"),
    (["--out", "page.md"], "page.md has no place for the table"),
])
def test_mistakes_are_told_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text("# A page\n")
    assert run(["validate-model", *arguments]) == 2
    assert message in capsys.readouterr().err
