"""One look for all figures: type, sizes, margins, and how figures are saved. Colours of modes are in `svcsim.report.looks`."""

from __future__ import annotations

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

    def _ipython_display_(self) -> None:
        """The same picture whether the notebook has imported pyplot or not, which registers a formatter of its own."""
        from IPython.display import display

        display({"image/png": self._repr_png_(), "text/plain": repr(self)}, raw=True)  # type: ignore[no-untyped-call]


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
