"""`svcsim plot`: figures of a folder, drawn later, nothing overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from svcsim.cli.main import cli
from svcsim.cli.plot import plot
from svcsim.errors import UsageError
from svcsim.results import folder
from svcsim.results.comparison import Comparison
from tests.results.synthetic import failover


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return folder.write(Comparison(failover(("iptables",), rate_per_s=50)), tmp_path / "run")


def call(*arguments: object) -> str:
    words = [str(argument) for argument in arguments]
    # click keeps a command's help option from its first call: it has to be called as the program calls it.
    result = CliRunner().invoke(plot, words, catch_exceptions=False, **cli.context_settings)
    assert result.exit_code == 0, result.output
    return result.output


def test_figures_are_drawn_into_the_folder_and_named(run: Path) -> None:
    names = call(run).splitlines()
    assert sorted(names) == sorted(str(path) for path in (run / "figures").iterdir())
    assert {Path(name).name for name in names} == {
        f"{figure}.{kind}" for figure in ("latency-cdf", "timeline", "endpoint-balance", "failover-anatomy")
        for kind in ("svg", "png")
    }


def test_figures_that_are_there_are_kept_unless_forced(run: Path) -> None:
    call(run)
    (run / "figures" / "timeline.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"exists already.*--force.*--out"):
        call(run)
    assert (run / "figures" / "timeline.png").read_bytes() == b"mine"
    call(run, "--force")
    assert (run / "figures" / "timeline.png").read_bytes() != b"mine"
    call(run, "--out", run.parent / "elsewhere")
    assert (run.parent / "elsewhere" / "timeline.svg").is_file()


def test_force_does_not_replace_a_folder_of_other_things(run: Path) -> None:
    with pytest.raises(UsageError, match="not a folder of figures alone"):
        call(run, "--out", run, "--force")
    assert (run / "summary.json").is_file()


def test_what_is_no_folder_of_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder of results"):
        call(tmp_path)
