"""Which colour, dash and marker each mode has in every figure and in the report, and the colours of reasons for failure.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which stay apart under the common kinds of colour blindness; a
dash and a marker of its own tell a mode apart in grey, too. A mode looks the same in every figure, whatever else is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#333333", "#C9B800"

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

_DASHES: tuple[Dash, ...] = (
    _SOLID, _LONG, _DOTTED, _DASH_DOT, (0, (3, 3)), (0, (12, 2, 1.2, 2)), (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)), (0, (1.2, 4)),
    (0, (14, 5)), (0, (4, 1.2, 4, 4)), (0, (2.5, 1)), (0, (9, 1.5, 4, 1.5)),
)
_MARKERS = ("o", "D", "P", "X", "s", "^", "v", "<", ">", "p", "h", "*")

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

    Where variants are of several modes, as `iptables/few` and `nftables/few`, each has its mode's colour, and those of one mode
    differ in dash and marker.

    >>> looks(["iptables"])["iptables"] == looks(["nftables", "iptables"])["iptables"]
    True
    >>> looks(["iptables/few", "nftables/few"])["nftables/few"].colour == LOOKS["nftables"].colour
    True
    """
    modes = {label: mode for label in labels if (mode := _mode_in(label)) is not None}
    if len(set(modes.values())) < 2:
        modes = {label: mode for label, mode in modes.items() if label == mode}
    seen: dict[str, int] = {}
    chosen: dict[str, Look] = {}
    for label, mode in modes.items():
        place = seen.get(mode, 0)
        seen[mode] = place + 1
        chosen[label] = _nth_of_mode(LOOKS[mode], place)
    taken = {look.colour for look in chosen.values()}
    free = [look for look in _OTHERS if look.colour not in taken] or _OTHERS
    others = [label for label in labels if label not in chosen]
    chosen |= {label: free[index % len(free)] for index, label in enumerate(others)}
    return {label: chosen[label] for label in labels}


def _nth_of_mode(look: Look, place: int) -> Look:
    """The look of a mode's variant number `place`: its colour, and a dash and a marker that no other of the first 12 has."""
    if place % len(_DASHES) == 0:
        return look
    dashes = [dash for dash in _DASHES[1:] if dash != look.dash]
    markers = [marker for marker in _MARKERS[1:] if marker != look.marker]
    index = place % len(_DASHES) - 1
    return Look(look.colour, dashes[index % len(dashes)], markers[index % len(markers)])


def _mode_in(label: str) -> str | None:
    """The mode that a label names among other things, the longest: `ipvs/rr` of `today/ipvs/rr/few`."""
    framed = f"/{label}/"
    return max((mode for mode in LOOKS if f"/{mode}/" in framed), key=len, default=None)
