"""`svcsim run --pcap`: files by node and variant, the same bytes each time, mistakes in a line, and what tshark says of them."""

from pathlib import Path

import pytest

from svcsim.cli.main import run
from tests.sharks import alone, complaints, interfaces, needs_tshark, table
from tests.world.small import SMALL

SHORT = SMALL.replace("duration: 20s", "duration: 2s")
COMPARED = "compare: {kubernetes.proxy: [iptables, ipvs/lc]}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def captured(*arguments, extra="", text=SHORT):
    Path("small.yaml").write_text(text + extra)
    assert run(["run", "small.yaml", "--no-out", "--jobs", "1", *arguments]) == 0


def test_each_variant_and_replication_has_its_own_file_and_nothing_else_is_left(capsys):
    captured("--pcap", "worker-1.pcapng", "--replications", "2", extra=COMPARED)
    files = ["worker-1.iptables.2.pcapng", "worker-1.iptables.pcapng", "worker-1.ipvs-lc.2.pcapng", "worker-1.ipvs-lc.pcapng"]
    assert sorted(path.name for path in Path().iterdir()) == ["small.yaml", *files]
    out = capsys.readouterr().out
    assert all(name in out for name in files)


def test_a_capture_changes_nothing_of_the_results_and_has_the_same_bytes_again(capsys):
    captured("--json", "without.json", "--quiet")
    captured("--json", "with.json", "--quiet", "--pcap", "worker-1.pcapng")
    first = Path("worker-1.pcapng").read_bytes()
    captured("--json", "with.json", "--quiet", "--pcap", "worker-1.pcapng")
    assert Path("worker-1.pcapng").read_bytes() == first
    assert Path("with.json").read_text() == Path("without.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pcap", "worker-7.pcapng"], "--pcap worker-7.pcapng: there is no node 'worker-7' (did you mean 'worker-"),
        (["--pcap", "worker-1.pcap"], "--pcap takes NODE.pcapng, a file named after the node (got 'worker-1.pcap')"),
        (["--pcap", "a/worker-1.pcapng"], "can't write a/worker-1.pcapng: there is no folder a"),
        (["--pcap", "worker-1.pcapng", "--pcap", "./worker-1.pcapng"], "--pcap names node worker-1 more than once"),
        (["--pcap-during", "1s..2s"], "--pcap-during limits a capture; add --pcap NODE.pcapng"),
        (["--pcap", "worker-1.pcapng", "--pcap-during", "soon"], "--pcap-during: not a window of time: "),
        (["--pcap", "worker-1.pcapng", "--pcap-during", "fault[9].."], "--pcap-during: there is no fault 9"),
        (["--pcap", "worker-1.pcapng", "--pcap-during", "90s..91s"], "--pcap-during: the window begins at 1m30s, when"),
    ],
)
def test_mistakes_are_said_in_a_line_before_anything_runs(capsys, arguments, message):
    Path("small.yaml").write_text(SHORT)
    assert run(["run", "small.yaml", "--no-out", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


@needs_tshark
def test_tshark_finds_nothing_wrong_and_sees_the_translation_between_the_interfaces():
    captured("--quiet", "--pcap", "worker-1.pcapng", "--pcap-during", "500ms..700ms")
    path = Path("worker-1.pcapng")
    assert complaints(path, reassembled=False) == []
    destinations = {}
    for interface in interfaces(path):
        rows = table(
            alone(path, interface), "frame.time_epoch", "ip.dst", "tcp.analysis.retransmission", "tcp.analysis.out_of_order",
            "frame.comment", where="tcp.len > 0 || tcp.flags.syn == 1",
        )
        times = [float(row[0]) for row in rows]
        assert times == sorted(times)
        assert times[0] >= 0.5
        assert times[-1] < 0.7
        assert {flag for row in rows for flag in row[2:4]} == {""}
        assert all(row[4].startswith("DNAT by KUBE-SEP-") for row in rows if "DNAT" in row[4])
        destinations[interface] = {row[1].rpartition(".")[0] for row in rows}
    pods = {"10.244.0", "10.244.1", "10.244.2"}
    assert destinations["eth0"] <= pods
    assert any(places - pods for interface, places in destinations.items() if interface != "eth0")


@needs_tshark
def test_look_ups_are_dns_messages():
    window = ("--pcap-during", "0s..500ms")
    captured("--quiet", "--set", "workloads[0].resolve=connection", "--pcap", "worker-1.pcapng", *window)
    rows = table(Path("worker-1.pcapng"), "dns.qry.name", "dns.flags.response", "dns.a", where="dns")
    assert rows
    assert {"0", "1"} <= {row[1] for row in rows}
    assert any(row[0].endswith(".svc.cluster.local") and row[2].startswith("10.") for row in rows)
