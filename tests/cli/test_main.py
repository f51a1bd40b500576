"""The command line: exit codes, messages on the right stream, nothing imported that is not used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from svcsim import __version__
from svcsim.cli import main as entry
from svcsim.cli.main import COMMANDS, cli, run
from svcsim.errors import InputError, Problem, SimulationError, UsageError
from tests.scenario.samples import MANIFESTS
from tests.world.small import SMALL

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(str(path) for path in (ROOT / "scenarios").glob("*.yaml"))


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "svcsim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_help_names_each_command_and_imports_click_alone() -> None:
    heavy = "{'numpy', 'pydantic', 'yaml', 'simpy', 'matplotlib', 'rich'}"
    script = f"import sys\nfrom svcsim.cli.main import run\nrun(['--help'])\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert all(f"\n  {command}" in done.stdout for command in COMMANDS)
    assert done.stdout.rstrip().endswith("[]")


def test_help_is_quick() -> None:
    before = os.times()
    for _ in range(5):
        assert called("--help").returncode == 0
    after = os.times()
    assert (after.children_user + after.children_system - before.children_user - before.children_system) / 5 < 0.15


def test_version(capsys) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"svcsim, version {__version__}\n"


def test_a_misspelt_command_gets_the_nearest_one(capsys) -> None:
    assert run(["validte"]) == 2
    assert "there is no command 'validte' (did you mean 'validate'?)" in capsys.readouterr().err


def test_a_misspelt_option_is_a_usage_error(capsys) -> None:
    assert run(["validate", "--strct", "x"]) == 2
    assert "--strict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("no such thing"), 2, "no such thing\n"),
        (InputError([Problem("f", 1, 2, "a.b", "is wrong"), Problem("f", 3, 4, "", "too")]), 2,
         "f:1:2: a.b: is wrong\nf:3:4: too\n"),
        (SimulationError("parts do not sum"), 3, "parts do not sum\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
    ],
)
def test_errors_become_messages_and_exit_codes(error: BaseException, code: int, text: str, capsys, monkeypatch) -> None:
    @click.command("schema")
    def failing() -> None:
        raise error

    monkeypatch.setattr(entry.Commands, "get_command", lambda self, context, name: failing)
    assert run(["schema"]) == code
    assert capsys.readouterr() == ("", text)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"'{sys.executable}' -m svcsim schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_the_schema_is_json() -> None:
    done = CliRunner().invoke(cli, ["schema"])
    assert json.loads(done.output)["title"] == "svcsim scenario"


def test_validate_accepts_what_is_shipped() -> None:
    done = CliRunner().invoke(cli, ["validate", "--strict", *SHIPPED])
    assert done.exit_code == 0, done.output
    assert len(SHIPPED) >= 6
    assert done.output.count(": in order") == len(SHIPPED)


def test_validate_tells_the_mistakes_of_all_files(tmp_path) -> None:
    good, bad, worse = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    good.write_text(MANIFESTS)
    bad.write_text("run: {seed: x, duraton: 5s}\n" + MANIFESTS)
    worse.write_text("a: [")
    done = CliRunner().invoke(cli, ["validate", *map(str, (bad, good, worse, tmp_path / "none.yaml"))])
    assert done.exit_code == 2
    assert done.stdout == f"{good}: in order\n"
    assert [line.rpartition("/")[2].partition(": ")[0] for line in done.stderr.splitlines()] == [
        "none.yaml", "bad.yaml:1:13", "bad.yaml:1:16", "worse.yaml:2:1"]


def test_validate_reads_standard_input_and_takes_overrides() -> None:
    done = CliRunner().invoke(cli, ["validate", "-", "--set", "run.seed=5"], input="run: {seed: x}\n" + MANIFESTS)
    assert (done.exit_code, done.output) == (0, "-: in order\n")


def test_validate_can_hold_notes_against_a_file(tmp_path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("faults: [{at: 5m, dns: down}]\n" + MANIFESTS)
    done = CliRunner().invoke(cli, ["validate", str(path)])
    assert (done.exit_code, done.output.splitlines()[1]) == (
        0, "  note: faults[0] (cluster DNS down) comes at 5m, when the run of 1m is over")
    assert CliRunner().invoke(cli, ["validate", "--strict", str(path)]).exit_code == 2


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\xff\xfe\xff", b"", b"[" * 5000, b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_no_file_leads_to_a_traceback(data: bytes, tmp_path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    done = called("validate", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}:1:")
    assert "Traceback" not in done.stderr


def _svcsim(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "svcsim", *words], env=environment, **options)


def test_a_reader_that_goes_away_ends_the_command_without_a_word():
    with _svcsim("schema", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_names_of_files_that_are_no_text_are_shown_as_well_as_they_can_be(tmp_path):
    name = os.fsdecode(b"w\xff.yaml")
    (tmp_path / name).write_text(SMALL)
    words = ["run", name, "--out", os.fsdecode(b"o\xff"), "--set", "run.duration=1s", "--no-figures"]
    with _svcsim(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert rb"results in o\udcff" in out or b"results in o?" in out
    summary = json.loads((tmp_path / os.fsdecode(b"o\xff") / "summary.json").read_text())
    assert name in summary["runs"][0]["replay"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_an_output_without_room_is_told_in_a_line():
    with Path("/dev/full").open("wb") as full, _svcsim("schema", stdout=full, stderr=subprocess.PIPE) as process:
        assert process.stderr.read() == b"can't write the output: No space left on device\n"
    assert process.returncode == 2
