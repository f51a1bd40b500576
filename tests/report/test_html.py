"""The report: one file, the same bytes for the same results, nothing of a scenario taken as markup; used in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from svcsim.report.html.page import as_json, page
from svcsim.report.html.words import Judged, judged
from svcsim.report.html.writing import report_of_folder
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Expectation, evaluate
from svcsim.results.folder import write
from svcsim.results.selection import Names
from tests.report.browser import CHROMIUM, Page, browser
from tests.results.synthetic import failover, result

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'&`@data@"


def hostile() -> Comparison:
    """Results whose every name is an attack."""
    run = result(rate_per_s=50)
    names = Names(
        tuple(name + HOSTILE for name in run.names.workloads), tuple(name + HOSTILE for name in run.names.endpoints),
        tuple(name + HOSTILE for name in run.names.nodes), run.names.endpoints_of,
    )
    journal = run.journal
    journal.entries = [replace(entry, subject=entry.subject + HOSTILE) for entry in journal.entries]
    provenance = replace(run.provenance, scenario=HOSTILE, profile=HOSTILE, replay=HOSTILE)
    return Comparison([replace(run, label=HOSTILE, names=names, journal=journal, provenance=provenance)])


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    return parser.found


def embedded(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    document: dict[str, object] = json.loads(found[1])
    return document


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison(failover(rate_per_s=100))


def test_the_page_refers_to_nothing_outside_itself(comparison: Comparison) -> None:
    text = page(comparison, [], "kind: Scenario\n")
    for tag, attributes in tags(text):
        assert tag not in {"iframe", "object", "embed", "base"}
        for key in ("src", "href", "action", "srcset"):
            value = attributes.get(key) or ""
            assert value == "" or value.startswith(("#", "data:")), (tag, value)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_no_name_of_a_scenario_is_taken_as_markup() -> None:
    text = page(hostile(), [Judged(HOSTILE, HOSTILE, HOSTILE, False)], HOSTILE)
    harmless = page(Comparison([result(rate_per_s=50)]), [Judged("x", "x", "x", False)], "x")
    assert sorted(tag for tag, _ in tags(text)) == sorted(tag for tag, _ in tags(harmless))
    assert HOSTILE not in text
    assert embedded(text)["first"] == HOSTILE
    assert as_json("<!-- </script> &") == '"\\u003c!-- \\u003c/script\\u003e \\u0026"'


def test_a_folder_gives_the_bytes_that_its_run_gave(comparison: Comparison, tmp_path: Path) -> None:
    verdicts = evaluate([Expectation("success", low=0.999), Expectation("latency_all.p99", high=1e6)], comparison)
    folder = write(comparison, tmp_path / "run", scenario_text="kind: Scenario\n", verdicts=verdicts)
    assert report_of_folder(folder) == page(comparison, judged(verdicts), "kind: Scenario\n")
    assert not verdicts[0].holds
    assert "expectations do not hold" in report_of_folder(folder)


def test_every_request_that_was_sent_is_drawn_in_one_frame(comparison: Comparison) -> None:
    drawn = embedded(page(comparison, [], ""))["cluster"]
    assert isinstance(drawn, list)
    for variant, shown in zip(comparison, drawn, strict=True):
        sums = [0, 0]
        for flow in shown["flows"]:
            sums[0] += sum(flow[2::4])
            sums[1] += sum(flow[3::4])
        everything = variant.runs[0].everything.during(0, variant.runs[0].duration_ns)
        assert sums == [everything.successes, everything.failures]
        assert len(shown["flows"]) == len(shown["edges"]) - 1
        assert shown["edges"] == sorted(set(shown["edges"]))


def test_a_calm_run_has_no_anatomy_and_says_so() -> None:
    text = page(Comparison([result(rate_per_s=50, faults=())]), [], "")
    assert 'id="anatomy"' not in text
    assert "No fault was injected." in text


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def shown(window: Page, comparison: Comparison, tmp_path: Path) -> Page:
    file = tmp_path / "report.html"
    file.write_text(page(comparison, [], "kind: Scenario\n"), encoding="utf-8")
    window.requests.clear()
    window.complaints.clear()
    window.open(file)
    return window


@needs_browser
def test_a_browser_has_no_complaint_and_asks_for_the_file_alone(shown: Page) -> None:
    assert shown.complaints == []
    assert [url.rpartition("/")[2] for url in shown.requests] == ["report.html"]
    for chart in ("latency", "rates", "cluster", "parts", "balance"):
        assert shown.value(f"document.querySelectorAll('#{chart}-chart svg > *').length") > 5, chart
    assert shown.value("document.querySelectorAll('#anatomy-chart svg').length") >= 1


@needs_browser
def test_the_slider_is_reached_and_moved_by_keyboard(shown: Page) -> None:
    for _ in range(40):
        shown.press("Tab", 9)
        if shown.value("document.activeElement.id") == "slider":
            break
    assert shown.value("document.activeElement.id") == "slider"
    shown.press("Home", 36)
    assert shown.value("document.getElementById('slider').value") == "0"
    assert shown.value("document.getElementById('clock').textContent") == "0.0 s"
    shown.press("ArrowRight", 39)
    after_one = float(shown.value("document.getElementById('slider').value"))
    assert after_one > 0
    shown.press("PageDown", 34)
    assert float(shown.value("document.getElementById('slider').value")) > after_one
    assert shown.value("document.querySelectorAll('#log li.fresh').length") >= 1
    shown.press("End", 35)
    assert shown.value("document.getElementById('slider').getAttribute('aria-valuetext')").endswith(" s")
    assert shown.complaints == []


@needs_browser
def test_play_goes_on_by_itself_and_stops(shown: Page) -> None:
    before = shown.value("document.getElementById('slider').value")
    shown.value("document.getElementById('play').click()")
    assert shown.value("document.getElementById('play').getAttribute('aria-pressed')") == "true"
    shown.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 500))", awaitPromise=True)
    shown.value("document.getElementById('play').click()")
    assert shown.value("document.getElementById('play').textContent") == "play"
    assert float(shown.value("document.getElementById('slider').value")) > float(before)


@needs_browser
def test_each_mode_can_be_chosen(shown: Page, comparison: Comparison) -> None:
    for index in range(len(comparison)):
        shown.value(
            f"var s = document.getElementById('mode'); s.value = '{index}'; s.dispatchEvent(new Event('change')); s.value"
        )
        assert shown.value("document.querySelectorAll('#cluster-chart path').length") > 0
    assert shown.complaints == []


@needs_browser
def test_the_page_is_dark_where_that_is_wanted_and_at_the_press_of_a_button(shown: Page, tmp_path: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.value(paper)
    shown.value("document.getElementById('theme').click()")
    dark = shown.value(paper)
    assert dark != light
    shown.open(tmp_path / "report.html", dark=True)
    assert shown.value(paper) == dark
    shown.value("document.getElementById('theme').click()")
    assert shown.value(paper) == light


@needs_browser
def test_the_page_fits_a_narrow_window_and_paper(shown: Page, tmp_path: Path) -> None:
    shown.open(tmp_path / "report.html", width=420)
    assert shown.value("document.documentElement.scrollWidth") <= 420
    assert shown.pdf().startswith(b"%PDF")


@needs_browser
def test_hostile_names_run_no_script(window: Page, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(page(hostile(), [Judged(HOSTILE, HOSTILE, HOSTILE, False)], HOSTILE), encoding="utf-8")
    window.requests.clear()
    window.complaints.clear()
    window.open(file)
    assert window.value("typeof window.hacked") == "undefined"
    assert window.value("document.querySelectorAll('img').length") == 0
    assert window.complaints == []
    assert len(window.requests) == 1


@needs_browser
def test_many_variants_are_shown_a_page_at_a_time(window: Page, tmp_path: Path) -> None:
    labels = [f"{mode}/count={count}" for mode in ("iptables", "nftables") for count in range(1, 10)]
    text = page(Comparison([replace(result(rate_per_s=20), label=label) for label in labels]), [], "")
    assert "Drawn are the first 12 of 18 variants." in text
    file = tmp_path / "many.html"
    file.write_text(text, encoding="utf-8")
    window.complaints.clear()
    window.open(file)
    curves = "[...document.querySelectorAll('#latency-chart polyline title')].map(each => each.textContent)"
    strip = "each => each.outerHTML.replace(/points=.*?fill/, '')"
    looks = f"new Set([...document.querySelectorAll('#latency-chart polyline')].map({strip}))"
    assert window.value(curves) == labels[:12]
    assert window.value(f"{looks}.size") == 12
    assert window.value("document.querySelectorAll('#mode option').length") == 12
    window.value("document.querySelector('#pages button:last-child').click()")
    assert window.value(curves) == labels[12:]
    assert window.value("document.querySelectorAll('#balance-legend span').length") == 6
    assert window.value("document.querySelectorAll('#parts-chart text[font-weight]').length") == 6
    assert window.value("document.querySelector('#pages button:last-child').disabled") is True
    assert window.complaints == []


@needs_browser
def test_few_variants_have_no_pages(shown: Page) -> None:
    assert shown.value("document.getElementById('pages').hidden") is True
