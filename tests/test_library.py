"""The calls of the library: what the commands do, from Python, on files and on scenarios that have been loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import svcsim
from svcsim.analysis.verdicts import Word
from svcsim.errors import InputError, UsageError
from svcsim.scenario.resolved import resolved_yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "scenarios" / "slow-endpoint.yaml"
SHORT = {"run.duration": "3s", "run.warmup": "500ms", "faults": [], "expect": [], "workloads[0].arrivals": "150/s"}
MODES = {"kubernetes.proxy": ["iptables", "ipvs/rr"]}


def test_variants_are_compared_pair_by_pair_with_words_a_table_and_a_frame() -> None:
    found = svcsim.compare(FILE, MODES, metrics=["p99", "proxy_cpu"], replications=3, overrides=SHORT)
    assert found.base == "iptables"
    assert [(row.label, row.word) for row in found.of("proxy_cpu")] == [("iptables", Word.BASE), ("ipvs/rr", found.rows[-1].word)]
    frame = found.to_pandas()
    assert list(frame["variant"]) == ["iptables", "ipvs/rr"] * 2
    assert frame.loc[1, "difference_low"] <= frame.loc[1, "difference"] <= frame.loc[1, "difference_high"]
    shown = found._repr_html_()
    assert shown.count("<tr>") == 6
    assert "difference to iptables" in shown
    assert "Holm" in shown


def test_a_loaded_scenario_gives_what_its_file_gives() -> None:
    calls: dict[str, Any] = {"metrics": ["p99"], "replications": 2}
    loaded = svcsim.load(FILE, SHORT)
    assert svcsim.compare(loaded, MODES, **calls) == svcsim.compare(FILE, MODES, overrides=SHORT, **calls)


@pytest.mark.parametrize("name", ["failover.yaml", "types/clusterip.yaml", "discovery/dns-race.yaml", "endpoints-at-scale.yaml"])
def test_a_change_of_a_loaded_scenario_is_that_of_its_file(name: str) -> None:
    from svcsim.scenario.changed import changed

    path = ROOT / "scenarios" / name
    change = {"run.seed": 5}
    assert resolved_yaml(changed(svcsim.load(path), change)) == resolved_yaml(svcsim.load(path, change))


def test_a_sweep_has_a_row_a_run_and_goes_on_in_its_folder(tmp_path: Path) -> None:
    over = {"cluster.nodes.count": [2, 3], **MODES}
    swept = svcsim.run_sweep(FILE, over, metrics=["p99"], overrides=SHORT, folder=tmp_path / "sweep")
    frame = swept.to_pandas()
    assert list(frame["kubernetes.proxy"]) == ["iptables", "ipvs/rr"] * 2
    assert list(frame["cluster.nodes.count"]) == [2, 2, 3, 3]
    assert "<th" in swept._repr_html_()
    assert svcsim.run_sweep(svcsim.load(FILE, SHORT), over, metrics=["p99"], folder=tmp_path / "sweep").rows == swept.rows
    assert len(list((tmp_path / "sweep" / "done").iterdir())) == 4


def test_mistakes_are_said_as_at_the_command_line() -> None:
    with pytest.raises(UsageError, match="did you mean 'ipvs'"):
        svcsim.compare(FILE, {"kubernetes.proxy": ["ipvss"]})
    with pytest.raises(UsageError, match="at least two"):
        svcsim.compare(FILE, MODES, replications=1)
    with pytest.raises(UsageError, match="compares nothing"):
        svcsim.compare(FILE, overrides={"compare": {}})
    with pytest.raises(UsageError, match="no variant 'ipvs/lc'"):
        svcsim.compare(FILE, MODES, base="ipvs/lc")
    with pytest.raises(UsageError, match="say what to sweep"):
        svcsim.run_sweep(FILE, {})
    with pytest.raises(InputError, match="duration"):
        svcsim.compare(svcsim.load(FILE), MODES, overrides={"run.duration": "soon"})


def test_results_give_frames_with_names() -> None:
    results = svcsim.run(svcsim.load(ROOT / "scenarios" / "failover.yaml", {
        "workloads[web-load].arrivals": "40/s", "run.duration": "45s", "faults[power-off].at": "40s",
        "faults[power-off].for": "2s", "compare": {"kubernetes.proxy.mode": ["iptables", "nftables"]}, "expect": [],
    }))
    modes = results.to_pandas()
    assert list(modes.index) == ["iptables", "nftables"]
    assert modes.loc["iptables", "p99_ns"] == results["iptables"].latency.p99
    faults = results.faults
    assert [(fault.index, label) for label, _, fault in faults] == [
        (0, "iptables"), (0, "nftables"), (1, "iptables"), (1, "nftables")
    ]
    assert list(faults.to_pandas()["failures"]) == [fault.failures for _, _, fault in faults]
    assert faults._repr_html_().count("<tr>") == 5
    run = results["iptables"].runs[0]
    assert run.measured._repr_html_().count("<td") == 6
    assert run.latency._repr_html_().count("<td") == 5
    requests = run.measured.to_pandas()
    assert len(requests) == len(run.measured)
    assert set(requests["workload"]) == {"web-load"}
    assert requests["endpoint"].dropna().str.startswith("default/web-").all()
    journal = run.journal.to_pandas()
    assert len(journal) == len(run.journal.entries)
    assert journal["at_s"].is_monotonic_increasing
