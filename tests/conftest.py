"""What tests have measured is printed at the end of the run: any table that a test records as the property `table`."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == "table":
                terminalreporter.write_sep("-", report.nodeid.rpartition("::")[0])
                terminalreporter.write_line(str(value))
