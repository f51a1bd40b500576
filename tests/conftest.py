"""What tests have measured is printed at the end of the run: any table that a test records as the property `table`.

Property tests draw the same examples in every run, so that a check says the same of the same code wherever it runs;
`pytest --hypothesis-profile=explore` draws new ones.

What collecting the tests leaves (modules, test items) stays to the end and is frozen: a simulation looks for cycles before it
begins, and would go through all of it each time.
"""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == "table":
                terminalreporter.write_sep("-", report.nodeid.rpartition("::")[0])
                terminalreporter.write_line(str(value))
