"""The figures, each a function that takes results and returns the matplotlib figure: `svcsim.plot.latency_cdf(results)`.

With `ax` a function draws into these axes and returns their figure; of a figure of several panels that is one of them. Results
are those of a comparison, of one of its variants, or of one run. `results.plot.latency_cdf()` is the same call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcsim.analysis.verdicts import Contrasts
from svcsim.errors import UsageError
from svcsim.report.figures import anatomy, balance, bars, contrasts, latency, sweep
from svcsim.report.figures import timeline as over_time
from svcsim.report.style import save
from svcsim.results.comparison import Comparison, Variant
from svcsim.results.metrics import Question
from svcsim.results.result import Result
from svcsim.spelling import nearest
from svcsim.sweep.sweeping import Sweep

__all__ = ["differences", "endpoint_balance", "failover_anatomy", "latency_cdf", "metric_bars", "sweep_metric", "timeline"]

Results = Comparison | Variant | Result | Sequence[Result]


def __dir__() -> list[str]:
    return list(__all__)


def latency_cdf(results: Results, ax: Axes | None = None) -> Figure:
    """The distribution of latency, a curve a mode, with the tail drawn as large as the middle."""
    return latency.latency_cdf(_compared(results), ax)


def timeline(results: Results, ax: Axes | None = None) -> Figure:
    """Success and latency over time with faults and the control plane's answer; with `ax` success alone."""
    compared = _compared(results)
    return over_time.timeline_figure(compared) if ax is None else over_time.success_panel(compared, ax)


def endpoint_balance(results: Results, ax: Axes | None = None) -> Figure:
    """The share of the answers that each endpoint gave."""
    return balance.endpoint_balance(_compared(results), ax)


def failover_anatomy(results: Results, ax: Axes | None = None, *, fault: int = 0) -> Figure:
    """What each fault cost and why it took that long; with `ax` the steps of one `fault`, counted from 0."""
    compared = _compared(results)
    return anatomy.whole_anatomy(compared) if ax is None else anatomy.anatomy_panel(compared, ax, fault)


def metric_bars(
    results: Results, ax: Axes | None = None, *, metric: str = "latency.p99", workload: str | None = None
) -> Figure:
    """One metric of every variant as a bar, perhaps of one workload."""
    return bars.metric_bars(_compared(results), metric, Question(workload=workload), ax)


def differences(found: Contrasts, ax: Axes | None = None, *, figure: str | None = None) -> Figure:
    """The differences to the base with intervals and verdicts; with `ax` those of one `figure`, by its text."""
    return contrasts.contrasts_figure(found) if ax is None else contrasts.contrasts_panel(found, ax, figure)


def sweep_metric(swept: Sweep, ax: Axes | None = None, *, metric: str | None = None) -> Figure:
    """A metric of a sweep, the first unless its text is given, over the first path that takes several numbers."""
    texts = [figure.text for figure in swept.figures]
    if metric is not None and metric not in texts:
        raise UsageError(f"the sweep has no figure {metric!r}{nearest(metric, texts)}")
    return sweep.sweep_figure(swept, 0 if metric is None else texts.index(metric), ax)


def _compared(results: Results) -> Comparison:
    if isinstance(results, Comparison):
        return results
    return Comparison(results.runs if isinstance(results, Variant) else [results] if isinstance(results, Result) else results)


class Plot:
    """Draws what results show. Each method returns a matplotlib figure; a notebook shows it as it is."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._comparison = Comparison(results)

    def latency_cdf(self, ax: Axes | None = None) -> Figure:
        """The distribution of latency, a curve a mode."""
        return latency_cdf(self._comparison, ax)

    def timeline(self, ax: Axes | None = None) -> Figure:
        """Success and latency over time with faults and the control plane's answer."""
        return timeline(self._comparison, ax)

    def endpoint_balance(self, ax: Axes | None = None) -> Figure:
        """The share of the answers that each endpoint gave."""
        return endpoint_balance(self._comparison, ax)

    def failover_anatomy(self, ax: Axes | None = None, *, fault: int = 0) -> Figure:
        """What each fault cost and why it took that long."""
        return failover_anatomy(self._comparison, ax, fault=fault)

    def metric_bars(self, ax: Axes | None = None, *, metric: str = "latency.p99", workload: str | None = None) -> Figure:
        """One metric of every variant as a bar."""
        return metric_bars(self._comparison, ax, metric=metric, workload=workload)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Every figure with the name of its file; many faults are set in several figures of a slide's height."""
        yield "latency-cdf", self.latency_cdf()
        yield "timeline", self.timeline()
        yield "endpoint-balance", self.endpoint_balance()
        for number, figure in enumerate(anatomy.failover_anatomy(self._comparison), start=1):
            yield "failover-anatomy" if number == 1 else f"failover-anatomy-{number}", figure

    def save(self, folder: Path) -> list[Path]:
        """Write every figure as SVG and PNG; the folder is made if it isn't there."""
        folder.mkdir(parents=True, exist_ok=True)
        return [path for name, figure in self.figures() for path in save(figure, folder / name)]


class ContrastsPlot:
    """Draws what `svcsim.compare` found."""

    def __init__(self, found: Contrasts) -> None:
        self._found = found

    def differences(self, ax: Axes | None = None, *, figure: str | None = None) -> Figure:
        """The differences to the base with intervals and verdicts."""
        return differences(self._found, ax, figure=figure)


class SweepPlot:
    """Draws what `svcsim.run_sweep` found."""

    def __init__(self, swept: Sweep) -> None:
        self._swept = swept

    def metric(self, metric: str | None = None, ax: Axes | None = None) -> Figure:
        """A metric, the first unless its text is given."""
        return sweep_metric(self._swept, ax, metric=metric)
