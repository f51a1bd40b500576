"""The first five minutes: `svcsim init`, `svcsim examples`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import svcsim
from svcsim.cli.main import run
from svcsim.scenario.examples import examples

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_starter_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init"]) == 0
    assert capsys.readouterr().out == "scenario.yaml is ready: svcsim run scenario.yaml\n"
    assert run(["run", "scenario.yaml", "--no-out", "--jobs", "1", "--set", "run.duration=25s", "--only", "iptables"]) == 0
    assert "2 of 2 hold" in capsys.readouterr().out


def test_the_starter_takes_a_service_and_its_deployment_from_a_dump(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(ROOT / "docs" / "tutorial" / "dump.yaml", "dump.yaml")
    assert run(["init", "shop.yaml", "-f", "dump.yaml"]) == 0
    scenario = svcsim.load("shop.yaml")
    assert "to: http://cart.shop.svc:80" in Path("shop.yaml").read_text()
    assert "cluster:" not in Path("shop.yaml").read_text()
    assert scenario.faults[0].at_ns == 20_000_000_000
    assert run(["init", "shop.yaml", "-f", "dump.yaml", "--service", "shop/front", "--force"]) == 0
    assert "http://front.shop.svc" in Path("shop.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["have.yaml"], "exists already: replace it with --force"),
        (["nowhere/x.yaml"], "no folder nowhere"),
        (["x.yaml", "-f", "none.yaml"], "no such file"),
        (["x.yaml", "-f", "dump.yaml", "--service", "shop/crat"], "did you mean 'shop/cart'"),
        (["x.yaml", "-f", "have.yaml"], "no Deployment stands behind"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    shutil.copyfile(ROOT / "docs" / "tutorial" / "dump.yaml", "dump.yaml")
    Path("have.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}\n")
    assert run(["init", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x.yaml").exists()


def test_every_example_begins_with_what_it_asks() -> None:
    for one in examples():
        assert one.question[-1:] in {"?", "."}, one.name
        assert 15 < len(one.question) < 260, one.name


def test_examples_are_listed_and_copied_with_what_they_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["examples"]) == 0
    out = capsys.readouterr().out
    assert "failover " in out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert run(["examples", "--all"]) == 0
    for one in examples():
        svcsim.load(Path("scenarios") / f"{one.name}.yaml")


def test_an_example_is_never_put_over_another_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("scenarios").mkdir()
    Path("scenarios/failover.yaml").write_text("mine")
    assert run(["examples", "failover"]) == 2
    assert "another file" in capsys.readouterr().err
    assert Path("scenarios/failover.yaml").read_text() == "mine"
    assert run(["examples", "failovr"]) == 2
    assert "did you mean 'failover'" in capsys.readouterr().err
