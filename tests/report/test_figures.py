"""Figures: no text overlaps another or leaves the picture, a mode keeps its look, the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from svcsim.engine.journal import Journal
from svcsim.report.figures.anatomy import failover_anatomy
from svcsim.report.figures.balance import endpoint_balance
from svcsim.report.figures.bars import metric_bars
from svcsim.report.figures.latency import latency_cdf
from svcsim.report.figures.timeline import place_labels
from svcsim.report.looks import LOOKS, REASON_COLOURS, looks
from svcsim.report.plot import Plot
from svcsim.report.style import fitted, new_figure, styled, text_width_in
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.comparison import Comparison
from svcsim.results.metrics import metric_named
from svcsim.results.records import Outcome, RecordWriter
from svcsim.results.result import Result
from svcsim.results.selection import Names
from svcsim.units import S
from tests.results.synthetic import DOWN, KILL, Fault, Shape, failover, relabelled, result

LONG = "deployment/a-very-long-deployment-name-of-some-team-in-production[3] stops answering its readiness probe"
MANY = [
    *(replace(KILL, text=f"deployment/web[{number}] killed", at_s=20 + 4 * number) for number in range(5)),
    replace(DOWN, at_s=100, lasts_s=60),
    replace(KILL, text=LONG, at_s=190),
]
SWARM = [replace(KILL, text=f"deployment/web[{number}] killed", at_s=20 + 2 * number) for number in range(40)]
REASONS = tuple((outcome, 1.0) for outcome in Outcome if outcome not in {Outcome.OK, Outcome.CLIENT_GONE})
UNNOTICED = Fault("kube-proxy on worker-1 stopped", 50, lasts_s=20, detected_s=None, endpoints_s=None, outcomes=REASONS)


def lopsided() -> list[Result]:
    weights = tuple(np.random.default_rng(3).gamma(4, 0.25, 90))
    return [result(mode, rate_per_s=100, shape=Shape(weights=weights)) for mode in ("iptables", "nftables")]


def all_failed() -> list[Result]:
    (run,) = failover(("iptables",), duration_s=20, rate_per_s=40, faults=())
    run.requests.outcome[:] = Outcome.NO_ROUTE
    return [run]


CASES = {
    "five modes": lambda: failover(rate_per_s=100),
    "one mode without a fault": lambda: [result(rate_per_s=100, faults=())],
    "many faults": lambda: failover(rate_per_s=60, faults=MANY),
    "a swarm of faults": lambda: failover(("iptables", "nftables"), rate_per_s=60, faults=SWARM),
    "a fault nobody noticed, every reason": lambda: failover(("iptables", "nftables"), rate_per_s=200, faults=[UNNOTICED]),
    "replications": lambda: failover(("iptables", "userspace"), replications=3, rate_per_s=60),
    "long names": lambda: [
        relabelled(result("iptables", rate_per_s=60, endpoints=[f"production/{LONG[:60]}-{n} (10.0.0.{n}:80)" for n in range(6)]),
                   "kubernetes.proxy.mode=iptables kubernetes.proxy.minSyncPeriod=10s"),
        relabelled(result("nftables", rate_per_s=60), "$HOME and $PATH"),
    ],
    "many endpoints": lopsided,
    "every request failed": all_failed,
    "a dozen variants": lambda: [relabelled(result(rate_per_s=40), f"minSyncPeriod={n}s") for n in range(12)],
    "an hour": lambda: failover(("iptables",), duration_s=3600, rate_per_s=5),
    "two seconds": lambda: failover(("iptables",), duration_s=2, rate_per_s=500, faults=[replace(KILL, at_s=0.0)]),
}


def texts(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Every text that is drawn and the box that it covers."""
    with styled():
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = {id(label) for axis in axes for tick in (*axis.majorTicks, *axis.minorTicks) for label in (tick.label1, tick.label2)}
    shown = {id(tick.label1) for axis in axes for tick in axis._update_ticks()}  # type: ignore[attr-defined]
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        hidden = id(text) in ticks - shown or not text.get_visible()
        if text.get_text().strip() and not hidden:
            yield text.get_text(), text.get_window_extent(renderer)


def test_an_endpoint_is_compared_with_those_of_its_own_service_alone() -> None:
    """Workload 0 is answered by web-0 and web-1 evenly, workload 1 ten times as often by db-0; db-1 stands idle."""
    writer = RecordWriter()
    for sequence in range(110):
        workload, endpoint = (0, sequence % 2) if sequence < 10 else (1, 2)
        writer.row(workload, sequence, sequence * S, S, 0, 0, 0, S, 0, 0, 0, 0, Outcome.OK, 1, endpoint, 0, 0, 1, 0)
    names = Names(("web", "db"), ("web-0", "web-1", "db-0", "db-1"), ("a",), ((0, 1), (2, 3)))
    figure = endpoint_balance(Comparison([Result("iptables", writer.columns(), Journal(), names, 200 * S)]))
    [ax] = figure.axes
    assert "its Service's endpoints" in ax.get_xlabel()
    marks = next(line for line in ax.lines if line.get_label().startswith("iptables"))
    shown = dict(zip([label.get_text() for label in ax.get_yticklabels()], marks.get_xdata(), strict=True))
    assert shown == {"web-0": 1.0, "web-1": 1.0, "db-0": 2.0, "db-1": 0.0}


def test_variants_with_pods_of_their_own_are_each_compared_with_their_own_mean() -> None:
    """Pods have other names in each variant; 6 and 8 of them are evenly used."""
    runs = []
    for label, pods in (("six", 6), ("eight", 8)):
        writer = RecordWriter()
        for sequence in range(48):
            writer.row(0, sequence, sequence * S, S, 0, 0, 0, S, 0, 0, 0, 0, Outcome.OK, 1, sequence % pods, 0, 0, 1, 0)
        names = Names(("web",), tuple(f"{label}-{n}" for n in range(pods)), ("a",), (tuple(range(pods)),))
        runs.append(Result(label, writer.columns(), Journal(), names, 200 * S))
    [ax] = endpoint_balance(Comparison(runs)).axes
    assert "6 to 8 endpoints" in ax.get_xlabel()
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [set(line.get_xdata()) for line in dots] == [{1.0}, {1.0}]


@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_another_or_leaves_the_picture(case: str) -> None:
    for name, figure in Plot(CASES[case]()).figures():
        found = list(texts(figure))
        assert len(found) >= 3, name
        width, height = figure.canvas.get_width_height()
        for text, box in found:
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, f"{name}: {text!r} is cut off"
        for (one, first), (other, second) in combinations(found, 2):
            # Boxes include the room for descenders, so a hairline may be shared.
            overlap_x = min(first.x1, second.x1) - max(first.x0, second.x0)
            overlap_y = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert overlap_x <= 2 or overlap_y <= 3, f"{name}: {one!r} overlaps {other!r}"


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [Plot(failover(("iptables", "nftables"), rate_per_s=60)).save(tmp_path / name) for name in ("a", "b")]
    assert len(paths[0]) == 8
    for one, other in zip(*paths, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_many_faults_are_numbered_in_the_timeline_and_by_the_same_numbers_told_in_figures_of_a_slides_height() -> None:
    comparison = Comparison(failover(("iptables",), rate_per_s=60, faults=SWARM))
    numbers = {text.get_text() for text in comparison.plot.timeline().texts if text.get_text().isdigit()}
    figures = failover_anatomy(comparison)
    titles = [text.get_text() for figure in figures for text in figure.texts if " killed" in text.get_text()]
    assert [title.partition(" ·")[0] for title in titles] == [str(number) for number in range(1, len(SWARM) + 1)]
    assert numbers <= {title.partition(" ·")[0] for title in titles}
    assert max(figure.get_size_inches()[1] for figure in figures) < 11


def test_a_run_without_a_fault_has_no_anatomy_figure() -> None:
    names = [name for name, _ in Plot([result(rate_per_s=60, faults=())]).figures()]
    assert names == ["latency-cdf", "timeline", "endpoint-balance"]


def test_a_mode_has_the_same_colour_in_whatever_company() -> None:
    alone, together = looks(["nftables"]), looks(["x", "iptables", "nftables", "y"])
    assert alone["nftables"] == together["nftables"]
    assert len({look.colour for look in together.values()}) == 4
    five = ("userspace", "iptables", "ipvs/rr", "ipvs/lc", "nftables")
    assert len({LOOKS[mode].colour for mode in five}) == len({LOOKS[mode].marker for mode in five}) == 5
    assert len({(look.colour, look.dash) for look in LOOKS.values()}) >= len(LOOKS) - 1


def test_every_reason_of_failure_has_a_colour_of_its_own() -> None:
    keys = {outcome.key for outcome in Outcome} - {"ok", "client_gone"}
    assert set(REASON_COLOURS) == keys
    assert len(set(REASON_COLOURS.values())) == len(keys)


def test_a_figure_can_be_drawn_into_axes_of_ones_own() -> None:
    figure = new_figure(4.0)
    ax = figure.add_subplot()
    assert latency_cdf(Comparison(failover(("iptables", "nftables"), rate_per_s=60)), ax) is figure
    assert [to_hex(line.get_color()).upper() for line in ax.get_lines()] == [
        LOOKS["iptables"].colour, LOOKS["nftables"].colour
    ]


def test_the_curve_passes_through_the_quantiles() -> None:
    comparison = Comparison(failover(("iptables",), rate_per_s=400))
    (line,) = latency_cdf(comparison).axes[0].get_lines()
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert x[-1] == comparison["iptables"].latency.max
    for share in (0.5, 0.9, 0.99):
        nearest = np.abs(y + np.log10(1 - share)).argmin()
        assert x[nearest] == pytest.approx(comparison["iptables"].latency.quantile(share), rel=0.02)


def fault(at_s: float, text: str) -> FaultAnatomy:
    return FaultAnatomy(0, text, round(at_s * S), None, None, None, None, None, 0, 0, None, 0)


def test_no_line_of_a_fault_crosses_the_text_of_another() -> None:
    faults = [fault(at_s, f"deployment/web[{at_s}] killed") for at_s in (20, 24, 28, 100, 150, 205)]
    lanes, labels = place_labels(faults, 210, 8.0)
    assert len(labels) == 6
    assert lanes == max(label.lane for label in labels) + 1
    for label, other in combinations(labels, 2):
        for line, text in ((label, other), (other, label)):
            if text.covers[0] < line.x < text.covers[1]:
                assert line.lane < text.lane


def test_a_text_too_wide_loses_its_middle_and_dollars_are_no_mathematics() -> None:
    short = fitted("abcdefghijklmnopqrstuvwxyz" * 4, 1.5, 10)
    assert text_width_in(short, 10) <= 1.5
    assert short.startswith("abc")
    assert short.endswith("xyz")
    assert fitted("$x$", 5, 10) == r"\$x\$"


def test_a_notebook_gets_a_png() -> None:
    figure = Plot([result(rate_per_s=60)]).latency_cdf()
    assert figure._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]


def test_results_give_their_figures_when_asked() -> None:
    run = result(rate_per_s=60)
    assert isinstance(run.plot.timeline(), Figure)
    assert len(failover_anatomy(Comparison([run]))) == 1


def test_bars_have_the_values_of_the_metric_and_say_them() -> None:
    comparison = Comparison(failover())
    figure = metric_bars(comparison, "success")
    [ax] = figure.axes
    shown = dict(zip((tick.get_text() for tick in ax.get_yticklabels()), (bar.get_width() for bar in ax.patches), strict=True))
    assert shown == pytest.approx({variant.label: variant.success for variant in comparison})
    texts = {text.get_text() for text in ax.texts}
    assert texts == {metric_named("success").text(variant.success) for variant in comparison}
