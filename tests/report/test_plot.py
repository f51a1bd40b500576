"""`svcsim.plot`: each figure a function of results; with axes it draws into them, and returns the figure that it drew into."""

from __future__ import annotations

import subprocess
import sys

import pytest
from matplotlib.figure import Figure

import svcsim
from svcsim.analysis.verdicts import contrast
from svcsim.errors import UsageError
from svcsim.report.style import new_figure
from svcsim.results.comparison import Comparison
from svcsim.results.measured import Figure as Measure
from svcsim.results.measured import measured
from svcsim.sweep.sweeping import Row, Sweep
from tests.results.synthetic import failover

RUNS = failover(("iptables", "nftables"), replications=2, rate_per_s=40)
ASKED = (Measure("latency.p99", "latency.p99"), Measure("success", "success"))
MEASURED = [measured(run, ASKED) for run in RUNS]
RESULTS = {
    "latency_cdf": Comparison(RUNS), "timeline": Comparison(RUNS), "endpoint_balance": Comparison(RUNS),
    "metric_bars": Comparison(RUNS),
    "failover_anatomy": Comparison(RUNS), "differences": contrast(MEASURED, ASKED),
    "sweep_metric": Sweep("one", ("n",), ASKED, tuple(Row(n, (("n", n),), MEASURED[n]) for n in range(2))),
}


def test_every_figure_that_the_module_lists_is_drawn_here() -> None:
    assert set(dir(svcsim.plot)) == set(RESULTS)
    assert all(getattr(svcsim.plot, name).__doc__ for name in dir(svcsim.plot))


@pytest.mark.parametrize("name", RESULTS)
def test_a_figure_is_returned_alone_and_into_axes_of_ones_own(name: str) -> None:
    draw = getattr(svcsim.plot, name)
    assert isinstance(draw(RESULTS[name]), Figure)
    figure = new_figure(4.0)
    ax = figure.add_subplot()
    assert draw(RESULTS[name], ax=ax) is figure
    assert figure.axes == [ax]
    assert ax.has_data()


@pytest.mark.parametrize("results", [RUNS[0], Comparison(RUNS)["iptables"], RUNS], ids=["a run", "a variant", "a list"])
def test_whatever_holds_results_can_be_drawn(results: object) -> None:
    assert isinstance(svcsim.plot.latency_cdf(results), Figure)  # type: ignore[arg-type]


def test_a_panel_is_chosen_by_name_or_place_and_a_wrong_one_is_said() -> None:
    ax = new_figure(4.0).add_subplot()
    svcsim.plot.differences(RESULTS["differences"], ax, figure="success")
    assert "success" in ax.get_title(loc="left")
    with pytest.raises(UsageError, match="did you mean 'success'"):
        svcsim.plot.differences(RESULTS["differences"], ax, figure="succes")
    with pytest.raises(UsageError, match=r"no figure 'p98'"):
        svcsim.plot.sweep_metric(RESULTS["sweep_metric"], metric="p98")
    with pytest.raises(UsageError, match=r"there is no fault 9: \d took place"):
        svcsim.plot.failover_anatomy(RESULTS["failover_anatomy"], ax, fault=9)


@pytest.mark.parametrize(
    ("values", "ticks"), [((10, 1000, 50_000), ["10", "1,000", "50,000"]), (("500ms", "2s"), ["500ms", "2s"])],
)
def test_the_axis_of_a_sweep_has_the_values_as_they_are_written(values: tuple[object, ...], ticks: list[str]) -> None:
    rows = tuple(Row(n, (("n", value),), MEASURED[0]) for n, value in enumerate(values))
    figure = svcsim.plot.sweep_metric(Sweep("one", ("n",), ASKED, rows))
    [ax] = figure.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ticks
    assert ax.get_legend() is None
    assert ax.get_position().x1 > 0.95


def test_nothing_of_numpy_or_matplotlib_is_loaded_before_it_is_wanted() -> None:
    heavy = "{'numpy', 'matplotlib', 'simpy', 'pydantic', 'click'}"
    code = f"""import sys, svcsim
assert "plot" in dir(svcsim)
assert not {heavy} & set(sys.modules)
assert svcsim.plot and "matplotlib" in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
