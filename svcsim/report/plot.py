"""The figures of some results under one roof: `result.plot.latency_cdf()`, and all of them saved to a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from svcsim.report.figures.anatomy import failover_anatomy
from svcsim.report.figures.balance import endpoint_balance
from svcsim.report.figures.latency import latency_cdf
from svcsim.report.figures.timeline import timeline_figure
from svcsim.report.style import save
from svcsim.results.comparison import Comparison
from svcsim.results.result import Result


class Plot:
    """Draws what results show. Each method returns a matplotlib figure; a notebook shows it as it is."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._comparison = Comparison(results)

    def latency_cdf(self) -> Figure:
        """The distribution of latency, a curve a mode."""
        return latency_cdf(self._comparison)

    def timeline(self) -> Figure:
        """Success and latency over time with faults and the control plane's answer."""
        return timeline_figure(self._comparison)

    def endpoint_balance(self) -> Figure:
        """The share of the answers that each endpoint gave."""
        return endpoint_balance(self._comparison)

    def failover_anatomy(self) -> list[Figure]:
        """What each fault cost and why it took that long; several figures for many faults, none without a fault."""
        return failover_anatomy(self._comparison)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Every figure with the name of its file."""
        yield "latency-cdf", self.latency_cdf()
        yield "timeline", self.timeline()
        yield "endpoint-balance", self.endpoint_balance()
        for number, figure in enumerate(self.failover_anatomy(), start=1):
            yield "failover-anatomy" if number == 1 else f"failover-anatomy-{number}", figure

    def save(self, folder: Path) -> list[Path]:
        """Write every figure as SVG and PNG; the folder is made if it isn't there."""
        folder.mkdir(parents=True, exist_ok=True)
        return [path for name, figure in self.figures() for path in save(figure, folder / name)]
