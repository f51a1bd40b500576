"""`pytest tests/conformance [--vectors DIR]`: one test a vector, a table of kinds at the end.

The outcome of each vector is one of: passed, failed, pending (its kind has no module yet), and for a vector
with `optional: true`, which the model need not meet, optional passed or optional failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.conformance.kinds")

from tests.conformance import kinds, vectors  # noqa: E402

DEFAULT_VECTORS = Path(__file__).parent / "vectors"
OUTCOME = "conformance-outcome"
CASES = pytest.StashKey[list[vectors.Case]]()
RUNNERS = pytest.StashKey[dict[str, kinds.Runner | None]]()

LETTERS = {"pending": "P", "optional passed": "o", "optional failed": "O"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        metavar="DIR",
        default=None,
        help="folder of conformance vectors, one folder a kind (default: the project's own copy)",
    )


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("vectors", default=None)
    directory = (config.invocation_params.dir / given).resolve() if given else DEFAULT_VECTORS
    if given:
        config.option.vectors = str(directory)
    try:
        config.stash[RUNNERS] = kinds.discover()
        config.stash[CASES] = vectors.find_cases(directory, config.stash[RUNNERS])
    except (vectors.VectorError, kinds.RegistryError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = metafunc.config.stash[CASES]
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])


@pytest.fixture
def runner(case: vectors.Case, pytestconfig: pytest.Config) -> kinds.Runner | None:
    return pytestconfig.stash[RUNNERS][case.kind]


def outcome_of(report: pytest.TestReport) -> tuple[str, str] | None:
    """(kind, outcome) of a vector's report, None for any other report or phase."""
    properties = dict(report.user_properties)
    if "conformance-kind" not in properties:
        return None
    if report.when == "call":
        outcome = str(properties.get(OUTCOME) or ("passed" if report.outcome == "passed" else "failed"))
    elif report.outcome == "failed":
        outcome = "failed"
    else:
        return None
    return str(properties["conformance-kind"]), outcome


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    if isinstance(report, pytest.TestReport) and (found := outcome_of(report)) and found[1] in LETTERS:
        return found[1], LETTERS[found[1]], found[1].upper()
    return None


def _reports(terminalreporter: pytest.TerminalReporter) -> Iterator[pytest.TestReport]:
    for reports in terminalreporter.stats.values():
        yield from (report for report in reports if isinstance(report, pytest.TestReport))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    seen = {(report.nodeid, report.when): report for report in _reports(terminalreporter)}
    for report in seen.values():
        if found := outcome_of(report):
            counts[found] += 1
    if not counts:
        return

    def row(name: str, among: set[str]) -> str:
        def count(*outcomes: str) -> int:
            return sum(counts[kind, outcome] for kind in among for outcome in outcomes)

        optional = count("optional passed", "optional failed")
        met = f"{count('optional passed')}/{optional}" if optional else "-"
        required, pending = count("passed", "failed", "pending"), count("pending")
        return f"{name:<24}{count('passed'):>8}{required:>8}{pending or '-':>9}{met:>10}"

    names = sorted({kind for kind, _ in counts})
    terminalreporter.section("conformance")
    terminalreporter.write_line(f"{'kind':<24}{'passed':>8}{'total':>8}{'pending':>9}{'optional':>10}")
    for name in names:
        terminalreporter.write_line(row(name, {name}))
    terminalreporter.write_line(row("all", set(names)))
