"""One look for all figures: a colour, a dash and a marker for each mode, type sizes, and how figures are saved.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which stay apart under the common kinds of colour blindness; a
dash and a marker of its own tell a mode apart in grey, too. A mode looks the same in every figure, whatever else is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from svcsim.errors import UsageError

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#333333", "#C9B800"

INK = "#222222"
MUTED = "#6B6B6B"
GRID = "#E4E4E4"
SHADE = "#EFEFEF"

TITLE_SIZE = 15.0
TEXT_SIZE = 10.5
SMALL_SIZE = 9.0

WIDTH_IN = 10.0
DPI = 160
NOTEBOOK_DPI = 110
"""Enough for a page of a notebook, which keeps each picture in its file."""

Dash = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Look:
    """How one mode is drawn."""

    colour: str
    dash: Dash
    marker: str


_SOLID: Dash = "-"
_DASHED: Dash = (0, (5, 1.6))
_DOTTED: Dash = (0, (1.2, 1.2))
_DASH_DOT: Dash = (0, (6, 1.5, 1.2, 1.5))
_LONG: Dash = (0, (9, 2))

LOOKS = {
    "userspace": Look(PURPLE, _SOLID, "s"),
    "iptables": Look(BLUE, _SOLID, "o"),
    "ipvs": Look(GREEN, _SOLID, "^"),
    "ipvs/rr": Look(GREEN, _DASHED, "^"),
    "ipvs/lc": Look(ORANGE, _DASH_DOT, "v"),
    "ipvs/sed": Look(SKY, _LONG, "<"),
    "ipvs/nq": Look(BLACK, _DOTTED, ">"),
    "ipvs/dh": Look(YELLOW, _DASHED, "p"),
    "ipvs/sh": Look("#8C564B", _DASH_DOT, "h"),
    "ipvs/wrr": Look("#3CB98E", _DOTTED, "P"),
    "ipvs/wlc": Look("#B37A00", _DOTTED, "X"),
    "ipvs/mh": Look("#7F7F7F", _LONG, "*"),
    "nftables": Look(VERMILLION, _DOTTED, "D"),
}
"""The look of each mode of kube-proxy."""

_OTHERS = [
    Look(colour, dash, marker)
    for dash in (_SOLID, _DASHED, _DOTTED)
    for colour, marker in (
        (BLUE, "o"), (VERMILLION, "D"), (GREEN, "^"), (ORANGE, "v"), (PURPLE, "s"), (SKY, "<"), (BLACK, ">"),
    )
]

REASON_COLOURS = {
    "refused": "#D55E00",
    "reset": "#E69F00",
    "connect_timeout": "#0072B2",
    "request_timeout": "#56B4E9",
    "no_route": "#009E73",
    "dns_failure": "#CC79A7",
    "server_busy": "#C9B800",
    "no_local_port": "#8C564B",
    "shed": "#7F7F7F",
    "no_variable": "#332288",
    "not_found": "#999933",
    "bad_gateway": "#882255",
    "service_unavailable": "#44AA99",
    "gateway_timeout": "#DDCC77",
}
"""A colour for each reason of failure, by the key of its outcome."""


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """The look of each label: a mode's own, and for other variants the next that no mode in the figure has.

    >>> looks(["iptables"])["iptables"] == looks(["nftables", "iptables"])["iptables"]
    True
    """
    chosen = {label: LOOKS[label] for label in labels if label in LOOKS}
    taken = {look.colour for look in chosen.values()}
    free = [look for look in _OTHERS if look.colour not in taken] or _OTHERS
    others = [label for label in labels if label not in LOOKS]
    return chosen | {label: free[index % len(free)] for index, label in enumerate(others)}


_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT_SIZE,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9A9A9A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL_SIZE,
    "ytick.labelsize": SMALL_SIZE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": TEXT_SIZE,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "svcsim",
    "svg.fonttype": "path",
    "path.simplify": True,
}


def styled() -> Any:
    """A context in which matplotlib draws in this style."""
    return rc_context(cast(Any, _RC))


class _ShownFigure(Figure):
    def _repr_png_(self) -> bytes:
        image = BytesIO()
        with styled():
            self.savefig(image, format="png", dpi=NOTEBOOK_DPI)
        return image.getvalue()


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure that belongs to no window; to be made and filled within `styled()`."""
    figure = _ShownFigure(figsize=(width_in, height_in), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True, slots=True)
class Frame:
    """The margins of a figure in inches: places axes by distances instead of fractions."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float, right: float, bottom: float, **options: Any) -> Axes:
        """Axes whose edges lie so far from those of the figure."""
        return self.figure.add_axes(
            (
                left / self.width,
                bottom / self.height,
                (self.width - left - right) / self.width,
                (self.height - top - bottom) / self.height,
            ),
            **options,
        )

    def text(self, x: float, from_top: float, text: str, **options: Any) -> None:
        """Text at a place in inches from the left and the top."""
        self.figure.text(x / self.width, 1 - from_top / self.height, text, **options)

    def title(self, headline: str, subtitle: str = "", left: float = 0.3) -> None:
        """A headline and a muted line below it, in the upper left."""
        room = self.width - left - 0.2
        self.text(left, 0.42, fitted(headline, room, TITLE_SIZE, bold=True), fontsize=TITLE_SIZE, weight="bold")
        self.text(left, 0.68, fitted(subtitle, room, SMALL_SIZE), fontsize=SMALL_SIZE, color=MUTED)


def framed(height_in: float, width_in: float = WIDTH_IN) -> Frame:
    """A new figure with its frame."""
    return Frame(new_figure(height_in, width_in), width_in, height_in)


def figure_of(ax: Axes) -> Figure:
    """The figure that axes stand in, of a subfigure the whole."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def say_nothing(ax: Axes, words: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=MUTED, style="italic")


@lru_cache(4096)
def text_width_in(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text in inches when set in the figures' type."""
    if not text.strip():
        return 0.0
    properties = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    path = TextPath((0, 0), text.replace("$", r"\$"), size=size, prop=properties)
    return float(path.get_extents().width) / 72


def fitted(text: str, room_in: float, size: float, *, bold: bool = False) -> str:
    """The text, shortened in its middle if it is wider than the room for it; `$` escaped, as matplotlib wants it."""
    whole = text
    keep = len(text)
    while keep > 4 and text_width_in(text, size, bold=bold) > room_in:
        keep = min(keep - 1, int(keep * room_in / text_width_in(text, size, bold=bold)) + 1)
        head = (keep + 1) // 2
        text = f"{whole[:head].rstrip()}…{whole[len(whole) - (keep - head):].lstrip()}"
    return text.replace("$", r"\$")


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write a figure as `<stem>.svg` and `<stem>.png`, the same bytes for the same figure."""
    svg, png = stem.with_name(stem.name + ".svg"), stem.with_name(stem.name + ".png")
    with styled():
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", metadata={"Software": None})
    return svg, png


def save_as(figure: Figure, path: Path) -> None:
    """Write a figure to one file, of the kind that its name ends in; UsageError if that is none of svg, png and pdf."""
    kind = path.suffix.removeprefix(".").lower()
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None},
    }
    if kind not in metadata:
        raise UsageError(f"a figure is written as .svg, .png or .pdf (got {path.name})")
    with styled():
        try:
            figure.savefig(path, format=kind, metadata=metadata[kind])
        except OSError as error:
            raise UsageError(f"can't write {path}: {error.strerror or error}") from None
