"""`svcsim run` from end to end: exit codes, streams, folders, overrides, interruptions, the same bytes however it is called."""

import filecmp
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svcsim.cli.main import run
from svcsim.errors import SimulationError
from svcsim.results.folder import load
from svcsim.results.records import Requests
from tests.world.small import SMALL

ROOT = Path(__file__).parents[2]
COMPARED = "compare: {kubernetes.proxy: [iptables, ipvs/lc]}\n"
FAULT = "faults: [{at: 1s, kill: 'deployment/web[1]'}]\n"
SHORT = SMALL.replace("duration: 20s", "duration: 2s")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scenario(extra="", text=SHORT, name="small.yaml"):
    Path(name).write_text(text + extra)
    return name


def names_in(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


# ---- exit codes ----------------------------------------------------------------------------------------------------------


def test_a_run_prints_a_table_and_leaves_a_folder(capsys):
    assert run(["run", scenario(COMPARED + FAULT), "--no-figures", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    for word in ("iptables", "ipvs/lc", "requests", "deployment/web[1] killed", "results in runs/small-1"):
        assert word in captured.out
    assert captured.out.splitlines()[-1] == "results in runs/small-1, report in runs/small-1/report.html"
    assert names_in("runs/small-1") == ["report.html", "requests", "scenario.resolved.yaml", "summary.json", "timeline.json"]


@pytest.mark.parametrize(("expect", "code"), [("load: success >= 100%", 0), ("load: p50 < 1us", 1)])
def test_expectations_decide_the_exit_code(capsys, expect, code):
    assert run(["run", scenario(f"expect: ['{expect}']\n"), "--no-figures", "--no-out", "--jobs", "1"]) == code
    out = capsys.readouterr().out
    assert ("1 of 1 hold" in out) == (code == 0)
    if code:
        assert "replay with: svcsim run small.yaml" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.yaml"], ["small.yaml", "--set", "run.duration"], ["small.yaml", "--set", "run.durration=3s"],
        ["small.yaml", "--mode", "ipvz"], ["small.yaml", "--replications", "0"], ["small.yaml", "--jobs", "0"],
        ["small.yaml", "--only", "nftables"], ["small.yaml", "--records", "csv"], ["small.yaml", "--seed", "-1"],
        ["small.yaml", "--set", "run.duration=-3s"], ["small.yaml", "--json", "nowhere/x.json"], ["small.yaml", "--json", "."],
    ],
)
def test_mistakes_are_told_on_stderr_and_give_two(capsys, arguments):
    scenario()
    assert run(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip()
    assert "Traceback" not in captured.err
    assert names_in() == ["small.yaml"]


def test_an_invalid_scenario_names_every_mistake(capsys):
    Path("bad.yaml").write_text(SHORT.replace("100/s", "100").replace("timeout: 1s", "timeot: 1s"))
    assert run(["run", "bad.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.count("bad.yaml:") >= 2


# ---- streams -------------------------------------------------------------------------------------------------------------


def test_json_on_stdout_is_json_alone(capsys):
    assert run(["run", scenario(), "--json", "-", "--no-out", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["schema"] == "svcsim/summary/v1"
    assert "iptables" in captured.err


def test_quiet_prints_nothing(capsys):
    assert run(["run", scenario(), "--quiet", "--no-figures", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert Path("runs/small-1/summary.json").is_file()


def test_quiet_json_is_json_alone_even_when_an_expectation_fails(capsys):
    assert run(["run", scenario("expect: ['p50 < 1us']\n"), "--quiet", "--json", "-", "--no-out", "--jobs", "1"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["expectations"][0]["holds"] is False
    assert captured.err == ""


def test_json_to_a_file(capsys):
    assert run(["run", scenario(), "--quiet", "--no-out", "--json", "out.json", "--jobs", "1"]) == 0
    assert json.loads(Path("out.json").read_text())["modes"][0]["mode"] == "iptables"


def test_a_scenario_from_standard_input():
    done = subprocess.run(
        [sys.executable, "-m", "svcsim", "run", "-", "--no-out", "--json", "-", "--quiet"], input=SHORT, text=True,
        capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["modes"][0]["requests"] > 100


def test_a_reader_that_goes_away_is_no_error():
    command = f"{shlex.quote(sys.executable)} -m svcsim run {scenario()} --no-out --jobs 1 | head -1"
    done = subprocess.run(command, shell=True, text=True, capture_output=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("small ")


# ---- folders -------------------------------------------------------------------------------------------------------------


def test_what_stands_there_is_refused_before_anything_is_run(capsys):
    Path("there").mkdir()
    Path("there/keep").write_text("mine")
    assert run(["run", scenario(), "--out", "there", "--quiet"]) == 2
    assert "there exists already" in capsys.readouterr().err
    assert names_in("there") == ["keep"]


def test_folders_are_counted(capsys):
    for number in (1, 2, 3):
        assert run(["run", scenario(), "--quiet", "--no-figures", "--jobs", "1"]) == 0
        assert Path(f"runs/small-{number}").is_dir()


def test_no_out_leaves_nothing():
    assert run(["run", scenario(), "--no-out", "--quiet", "--jobs", "1"]) == 0
    assert names_in() == ["small.yaml"]


def test_figures_are_drawn_unless_told_otherwise():
    assert run(["run", scenario(FAULT), "--out", "with", "--quiet", "--jobs", "1"]) == 0
    assert run(["run", scenario(FAULT), "--out", "without", "--no-figures", "--quiet", "--jobs", "1"]) == 0
    assert {path.suffix for path in Path("with/figures").iterdir()} == {".svg", ".png"}
    assert "figures" not in names_in("without")


def test_a_folder_is_read_back_as_it_was_written():
    assert run(["run", scenario(COMPARED), "--out", "r", "--no-figures", "--quiet", "--jobs", "1"]) == 0
    comparison = load(Path("r"))
    summary = json.loads(Path("r/summary.json").read_text())
    assert [result.fingerprint for result in comparison.results] == [one["fingerprint"] for one in summary["runs"]]


# ---- overrides -----------------------------------------------------------------------------------------------------------


def summary_of(capsys, *arguments):
    assert run(["run", *arguments, "--json", "-", "--no-out", "--quiet", "--jobs", "1"]) == 0
    return json.loads(capsys.readouterr().out)


def test_modes_take_the_place_of_those_that_are_compared(capsys):
    name = scenario(COMPARED)
    assert [mode["mode"] for mode in summary_of(capsys, name)["modes"]] == ["iptables", "ipvs/lc"]
    assert [mode["mode"] for mode in summary_of(capsys, name, "--mode", "nftables")["modes"]] == ["nftables"]
    several = summary_of(capsys, name, "--mode", "ipvs/sed", "--mode", "userspace")
    assert [mode["mode"] for mode in several["modes"]] == ["ipvs/sed", "userspace"]


def test_only_chooses_a_variant_and_runs_it_as_in_the_comparison(capsys):
    name = scenario(COMPARED)
    both, one = summary_of(capsys, name), summary_of(capsys, name, "--only", "ipvs/lc")
    assert [mode["mode"] for mode in one["modes"]] == ["ipvs/lc"]
    assert one["runs"][0]["fingerprint"] == both["runs"][1]["fingerprint"]


def test_set_seed_and_replications(capsys):
    name = scenario()
    base = summary_of(capsys, name)
    doubled = summary_of(capsys, name, "--set", "workloads[0].arrivals=200/s")
    assert doubled["modes"][0]["requests"] > 1.5 * base["modes"][0]["requests"]
    seeded = summary_of(capsys, name, "--seed", "7")
    assert seeded["runs"][0]["seed"] == 7
    assert seeded["runs"][0]["fingerprint"] != base["runs"][0]["fingerprint"]
    three = summary_of(capsys, name, "--replications", "3")
    assert [one["seed"] for one in three["runs"]] == [1, 2, 3]
    assert three["runs"][0]["fingerprint"] == base["runs"][0]["fingerprint"]
    assert "intervals" in three["modes"][0]


def test_the_line_that_replays_a_run_replays_it(capsys):
    name = scenario(COMPARED + FAULT)
    found = summary_of(capsys, name, "--set", "workloads[0].arrivals=150/s", "--replications", "2", "--seed", "5")
    for one in found["runs"]:
        words = shlex.split(one["replay"])
        assert words[:2] == ["svcsim", "run"]
        [again] = summary_of(capsys, *words[2:])["runs"]
        assert again["fingerprint"] == one["fingerprint"], one["replay"]


def test_variants_of_other_kinds_have_such_a_line_too(capsys):
    name = scenario("compare: {'workloads[0].connections': {kept: keepalive, new: new}, run.duration: [1s, 2s]}\n")
    for one in summary_of(capsys, name)["runs"]:
        [again] = summary_of(capsys, *shlex.split(one["replay"])[2:])["runs"]
        assert again["fingerprint"] == one["fingerprint"], one["replay"]


# ---- the same bytes ------------------------------------------------------------------------------------------------------


def same_folders(first, second):
    comparison = filecmp.dircmp(first, second)
    assert not comparison.left_only
    assert not comparison.right_only
    for name in comparison.common_files:
        assert Path(first, name).read_bytes() == Path(second, name).read_bytes(), name
    for name in comparison.common_dirs:
        same_folders(Path(first, name), Path(second, name))


def test_any_number_of_jobs_gives_the_same_bytes():
    name = scenario(COMPARED + FAULT)
    for out, jobs in (("one", "1"), ("two", "2")):
        assert run(["run", name, "--out", out, "--jobs", jobs, "--no-figures", "--quiet", "--replications", "2"]) == 0
    same_folders("one", "two")


def test_the_resolved_scenario_of_a_folder_reproduces_its_runs():
    name = scenario(COMPARED + FAULT)
    quietly = ["--no-figures", "--quiet", "--jobs", "1"]
    assert run(["run", name, "--out", "one", *quietly, "--set", "run.duration=1500ms", "--seed", "3"]) == 0
    resolved = Path("one/scenario.resolved.yaml")
    assert run(["run", str(resolved), "--out", "two", *quietly]) == 0
    first, second = load(Path("one")), load(Path("two"))
    assert [result.fingerprint for result in first.results] == [result.fingerprint for result in second.results]
    assert resolved.read_bytes() == Path("two/scenario.resolved.yaml").read_bytes()


# ---- interruptions -------------------------------------------------------------------------------------------------------


def started(jobs):
    """A run that would take long, once it has begun."""
    name = scenario(COMPARED, text=SMALL.replace("duration: 20s", "duration: 100h"))
    process = subprocess.Popen(
        [sys.executable, "-m", "svcsim", "run", name, "--jobs", jobs, "--no-figures"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )
    assert process.stdout.readline().startswith("small ")
    time.sleep(1.0)
    return process


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("send", [os.killpg, os.kill])
def test_an_interruption_leaves_nothing_half(jobs, send):
    """A terminal interrupts every process of the group, `kill` and a CI runner only the one that they know."""
    process = started(jobs)
    send(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert names_in() == ["small.yaml"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no worker is left


def test_a_mistake_that_shows_in_a_worker_is_a_message_too(capsys):
    spec = "{type: NodePort, ports: [{port: 80, nodePort: 30001}]}"
    services = (f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {spec}}}" for name in ("one", "two"))
    faults = "faults:\n" + "".join(f"  - {{at: 1s, apply: {service}}}\n" for service in services)
    assert run(["run", scenario(COMPARED + faults), "--no-out", "--jobs", "2"]) == 2
    assert "faults[1]: the API server refuses what is applied" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_law_that_a_run_breaks_is_told_with_the_line_that_replays_it(jobs, capsys, monkeypatch):
    def broken(_):
        raise SimulationError("the parts do not sum")

    monkeypatch.setattr(Requests, "check_conservation", broken)
    words = [scenario(COMPARED), "--set", "run.duration=2s"]
    assert run(["run", *words, "--no-out", "--quiet", "--jobs", jobs]) == 3
    told, replay = capsys.readouterr().err.splitlines()
    assert told == "the parts do not sum"
    again = r"replay with: svcsim run small\.yaml --set run\.duration=2s --only \S+ --seed 1 --replications 1"
    assert re.fullmatch(again, replay)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "file/deep/run"], "can't write file/deep/run: "),
        (["--out", "/proc/run"], "can't write /proc/run: "),
        (["--out", "n" * 300], "File name too long"),
        (["--json", "/proc/summary.json", "--no-out"], "can't write /proc/summary.json: "),
        ([], "can't write runs/small-1: "),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else " ".join(value)[:20],
)
def test_a_place_that_cannot_be_written_to_is_found_out_before_the_run(monkeypatch, capsys, words, message):
    def never(*_, **__):
        raise AssertionError("it was run")

    monkeypatch.setattr("svcsim.sweep.runs.run_all", never)
    Path("file").write_text("in the way")
    Path("runs").write_text("in the way")
    assert run(["run", scenario(), *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""
    assert names_in() == ["file", "runs", "small.yaml"]
