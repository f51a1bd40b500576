"""The folder of results: whole or not at all, nothing overwritten, the same bytes for the same run, read back as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svcsim.errors import UsageError
from svcsim.results import folder
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Expectation, evaluate
from svcsim.results.records import COLUMNS, Outcome
from svcsim.results.whole import check_free, write_whole
from tests.results.synthetic import failover, relabelled, result

MODES = ("userspace", "iptables", "ipvs/rr")


def made(**options: Any) -> Comparison:
    return Comparison(failover(MODES, replications=2, duration_s=70, rate_per_s=40, **options))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made()


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, comparison: Comparison) -> None:
    for name, results in (("a", comparison), ("b", made())):
        folder.write(results, tmp_path / name, scenario_text="kind: Scenario\n")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(contents(tmp_path / "a")) == [
        "requests/iptables.2.npz", "requests/iptables.npz", "requests/ipvs-rr.2.npz", "requests/ipvs-rr.npz",
        "requests/userspace.2.npz", "requests/userspace.npz", "scenario.resolved.yaml", "summary.json", "timeline.json",
    ]


@pytest.mark.parametrize("records", ["npz", "parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, comparison: Comparison, records: str) -> None:
    if records == "parquet":
        pytest.importorskip("pyarrow")
    path = folder.write(comparison, tmp_path / "run", records=records)
    read = folder.load(path)
    assert [run.fingerprint for run in read.results] == [run.fingerprint for run in comparison.results]
    for one, other in zip(read.results, comparison.results, strict=True):
        assert (one.names, one.counters, one.provenance) == (other.names, other.counters, other.provenance)
        assert one.faults == other.faults
        assert (one.label, one.replication, one.warmup_ns) == (other.label, other.replication, other.warmup_ns)


def test_records_are_plain_arrays_for_numpy(tmp_path: Path, comparison: Comparison) -> None:
    path = folder.write(comparison, tmp_path / "run")
    with np.load(path / "requests" / "iptables.npz", allow_pickle=False) as archive:
        assert set(COLUMNS) <= set(archive.files)
        assert archive["latency_ns"].dtype == np.int64
        assert archive["latency_ns"].tolist() == comparison["iptables"].runs[0].requests.latency_ns.tolist()


def test_the_summary_has_its_keys_and_says_what_the_results_say(tmp_path: Path, comparison: Comparison) -> None:
    verdicts = evaluate([Expectation("success", low=0.99, mode="iptables")], comparison)
    path = folder.write(comparison, tmp_path / "run", verdicts=verdicts)
    told = json.loads((path / "summary.json").read_text())
    assert list(told) == ["schema", "scenario", "scenario_hash", "versions", "profile", "unmeasured_costs", "modes", "faults",
                          "expectations", "runs"]
    iptables = next(mode for mode in told["modes"] if mode["mode"] == "iptables")
    assert list(iptables) == ["mode", "replications", "requests", "success", "error_rate", "outcomes", "latency", "latency_all",
                              "parts", "balance", "proxy_cpu_ns", "kernel_cpu_ns", "workloads", "intervals"]
    assert iptables["latency"]["p99_ns"] == comparison["iptables"].latency.p99
    assert iptables["latency_all"]["max_ns"] is None
    assert iptables["requests"] == sum(iptables["outcomes"].values())
    assert set(iptables["intervals"]) >= {"latency.p50", "success"}
    assert told["faults"][1]["modes"]["iptables"][0]["detected_ns"] == 40_600_000_000
    assert told["expectations"] == [{
        "expectation": "success above 99.00%", "mode": "iptables", "metric": "success", "value": verdicts[0].value,
        "holds": False,
    }]
    assert told["runs"][0]["records"] == "requests/userspace.npz"


def test_a_mode_in_which_all_failed_has_nulls_and_no_intervals(tmp_path: Path) -> None:
    runs = failover(("iptables",), replications=2, duration_s=20, rate_per_s=40, faults=())
    for run in runs:
        run.requests.outcome[:] = Outcome.NO_ROUTE
    path = folder.write(Comparison(runs), tmp_path / "run")
    (mode,) = json.loads((path / "summary.json").read_text())["modes"]
    assert mode["latency"]["p50_ns"] is None
    assert mode["success"] == 0
    assert mode["intervals"] == {}


def test_an_existing_folder_is_left_alone_and_the_way_out_is_named(tmp_path: Path, comparison: Comparison) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"exists already.*--out"):
        folder.write(comparison, target)
    assert contents(target) == {"mine.txt": b"mine"}
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        folder.write(comparison, dangling)


def test_a_place_where_no_folder_can_be_made_is_told_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"can't write .*file/deep/run: .*file is no folder"):
        check_free(tmp_path / "file" / "deep" / "run")
    check_free(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_an_interrupt_leaves_nothing(tmp_path: Path, comparison: Comparison) -> None:
    def interrupt(unfinished: Path) -> None:
        assert (unfinished / "summary.json").is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write(comparison, tmp_path / "run", add=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_is_added_appears_with_the_rest(tmp_path: Path, comparison: Comparison) -> None:
    path = folder.write(comparison, tmp_path / "deep" / "run", add=lambda here: (here / "report.html").touch())
    assert (path / "report.html").is_file()
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["run"]


def test_default_names_count_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comparison: Comparison) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder.write(comparison) == Path("runs/failover-1")
    (tmp_path / "runs" / "failover-7").mkdir()
    (tmp_path / "runs" / "failover-other").mkdir()
    assert folder.write(comparison) == Path("runs/failover-8")


def test_of_two_runs_that_end_together_each_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    monkeypatch.chdir(tmp_path)

    def another_is_faster(unfinished: Path) -> None:
        (tmp_path / "runs" / "failover-1").mkdir()
        (tmp_path / "runs" / "failover-1" / "summary.json").write_text("theirs")

    assert folder.write(comparison, add=another_is_faster) == Path("runs/failover-2")
    assert (tmp_path / "runs" / "failover-1" / "summary.json").read_text() == "theirs"


def test_replacing_keeps_the_old_until_the_new_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "figures"
    write_whole(target, lambda here: (here / "old").touch())

    def interrupt(unfinished: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, interrupt, replace=True)
    assert [file.name for file in target.iterdir()] == ["old"]
    write_whole(target, lambda here: (here / "new").touch(), replace=True)
    assert [file.name for file in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_names_of_variants_become_safe_and_distinct_file_names(tmp_path: Path) -> None:
    run = result(duration_s=10, rate_per_s=20, faults=())
    labels = ["../../etc/passwd", "a b", "a/b", "…", "x" * 300]
    path = folder.write(Comparison([relabelled(run, label) for label in labels]), tmp_path / "run")
    files = sorted(file.name for file in (path / "requests").iterdir())
    assert files == ["a-b.npz", "a-b_2.npz", "etc-passwd.npz", "unnamed.npz", "x" * 100 + ".npz"]
    assert folder.load(path).labels == tuple(labels)


def test_other_formats_are_refused(tmp_path: Path, comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="csv"):
        folder.write(comparison, tmp_path / "run", records="csv")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, comparison: Comparison) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't write"):
        folder.write(comparison, tmp_path / "file" / "run")


Damage = Callable[[Path], object]


@pytest.mark.parametrize("damage", [
    lambda run: (run / "summary.json").unlink(),
    lambda run: (run / "timeline.json").unlink(),
    lambda run: (run / "summary.json").write_text("{"),
    lambda run: (run / "summary.json").write_text("[]"),
    lambda run: (run / "summary.json").write_bytes(b"\xff\xfe\x00"),
    lambda run: (run / "timeline.json").write_text('{"schema": "other"}'),
    lambda run: (run / "requests" / "iptables.npz").unlink(),
    lambda run: (run / "requests" / "iptables.npz").write_bytes(b"PK\x03\x04 no zip"),
    lambda run: (run / "requests" / "iptables.npz").write_bytes((run / "requests" / "iptables.npz").read_bytes()[:900]),
])
def test_a_damaged_folder_is_a_clear_error(tmp_path: Path, comparison: Comparison, damage: Damage) -> None:
    run = folder.write(comparison, tmp_path / "run")
    damage(run)
    with pytest.raises(UsageError, match=r"not a (complete )?folder of results"):
        folder.load(run)
