"""The tables and figures of docs/services.md and docs/history.md: what `svcsim run` prints and draws of the scenarios there.

`python -m tests.scenarios.pages` writes both anew.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import svcsim
from svcsim.report.scene import scene_of
from svcsim.report.terminal import header, report
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import evaluate

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "services.md", ROOT / "docs" / "history.md")
FIGURES = ROOT / "docs" / "figures" / "services"
SHOWN = {
    "clusterip": "endpoint-balance", "nodeport-cluster": "endpoint-balance", "nodeport-local": "timeline",
    "loadbalancer-vip": "timeline", "loadbalancer-proxy": "latency-cdf", "loadbalancer-local": "endpoint-balance",
    "loadbalancer-health-check": "timeline", "loadbalancer-source-ranges": "timeline",
    "loadbalancer-without-nodeports": "timeline", "externalname": "latency-cdf", "external-ips": "endpoint-balance",
    "headless": "endpoint-balance", "headless-manual": "endpoint-balance",
    "headless-names": "timeline", "no-selector": "endpoint-balance",
    "session-affinity": "endpoint-balance", "internal-local": "timeline", "hairpin": "timeline", "versions": "failover-anatomy",
    "ingress": "endpoint-balance", "ingress-failover": "failover-anatomy",
}
"""Which figure of a run each scenario is shown with."""
_BLOCK = re.compile(
    r"```console\n\$ svcsim run (?P<path>scenarios/(?:(?:types|history)/\S+|ingress-failover)\.yaml)\n(?P<output>.*?)```",
    re.DOTALL,
)


@cache
def outcome(path: str) -> Comparison:
    """What a scenario leaves in all its variants."""
    return svcsim.run(ROOT / path)


def printed(path: str) -> str:
    """What `svcsim run` prints of a scenario, without progress and the folder of results."""
    scenario, comparison = svcsim.load(ROOT / path), outcome(path)
    notes = [f"note: {note}" for note in scenario.notes]
    lines = [header(scene_of(scenario)), *notes, "", report(comparison, evaluate(scenario.expectations(), comparison))]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def shown_in(page: Path) -> Iterator[tuple[str, str]]:
    """(scenario, output) of each block of a page."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match["path"], match["output"]


def write() -> None:
    """Write the outputs into the pages and draw their figures."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        text = _BLOCK.sub(lambda match: f"```console\n$ svcsim run {match['path']}\n{printed(match['path'])}```", text)
        page.write_text(text, encoding="utf-8")
        for path, _ in shown_in(page):
            _draw(path)


def _draw(path: str) -> None:
    from PIL import Image

    from svcsim.report.plot import Plot

    name = Path(path).stem
    FIGURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Plot(outcome(path).results).save(Path(folder))
        found = sorted(Path(folder).glob(f"{SHOWN[name]}*.png"))
        with Image.open(found[0]) as image:
            image.convert("RGB").quantize(48).save(FIGURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    write()
