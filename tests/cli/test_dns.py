"""`svcsim dns`: names looked up in the cluster by real queries, and served to real resolvers."""

import json
import re
import shutil
import signal
import subprocess
import sys

import pytest

from svcsim.cli.main import run
from tests.world.small import SMALL


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return str(path)


def asked(capsys, *arguments):
    assert run(["dns", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_short_name_is_found_with_the_first_search_domain(capsys, scenario):
    found = asked(capsys, scenario, "web")
    assert found["status"] == "NOERROR"
    assert [(step["name"], step["type"], step["outcome"]) for step in found["steps"]] == [
        ("web.default.svc.cluster.local.", "A", "NOERROR"), ("web.default.svc.cluster.local.", "AAAA", "NODATA"),
    ]
    assert [record["type"] for record in found["answer"]] == ["A"]
    assert all(step["pod"].startswith("coredns-") for step in found["steps"])
    assert found["took_ns"] >= max(step["took_ns"] for step in found["steps"])


def test_a_qualified_name_walks_the_search_list_because_of_ndots(capsys, scenario):
    found = asked(capsys, scenario, "web.default.svc")
    assert list(dict.fromkeys(step["name"] for step in found["steps"])) == [
        "web.default.svc.default.svc.cluster.local.", "web.default.svc.svc.cluster.local.", "web.default.svc.cluster.local.",
    ]
    assert len(asked(capsys, scenario, "web.default.svc.cluster.local.")["steps"]) == 2


def test_a_type_asks_for_its_records_alone(capsys, scenario):
    found = asked(capsys, scenario, "cluster.local.", "ns")
    assert [record["data"] for record in found["answer"]] == ["kube-dns.kube-system.svc.cluster.local."]
    assert [record["data"] for record in found["additional"]] == ["10.96.0.10"]


def test_the_api_server_has_a_name_in_every_cluster(capsys, scenario):
    found = asked(capsys, scenario, "kubernetes.default")
    assert [record["data"] for record in found["answer"]] == ["10.96.0.1"]


def test_an_address_asks_for_its_name(capsys, scenario):
    found = asked(capsys, scenario, "10.96.0.10")
    assert [record["data"] for record in found["answer"]] == ["kube-dns.kube-system.svc.cluster.local."]


def test_a_client_asks_with_the_resolver_of_its_workload(capsys, scenario):
    found = asked(capsys, scenario, "web.default", "--set", "workloads[0].resolver={libc: musl, options: ['ndots:1']}")
    assert (found["resolver"]["libc"], found["resolver"]["options"]) == ("musl", ["ndots:1"])
    assert {step["name"] for step in found["steps"]} == {"web.default."}


def test_a_node_asks_cluster_dns_without_a_search_list(capsys, scenario):
    found = asked(capsys, scenario, "web.default.svc.cluster.local", "--from", "node/worker-1")
    assert found["resolver"]["search"] == []
    assert found["status"] == "NOERROR"


def test_a_name_that_nothing_has_is_answered_with_the_nearest_one(capsys, scenario):
    assert run(["dns", scenario, "wbe"]) == 0
    printed = capsys.readouterr().out
    assert "status: NXDOMAIN" in printed
    assert "did you mean 'web'?" in printed


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("_htp._tcp.web.default.svc.cluster.local", "Service web.default has no port htp of TCP; its named ports: _http._tcp"),
        ("_http._udp.web", "Service web has no port http of UDP; its named ports: _http._tcp"),
        ("_x._tcp.web", "Service web has no port x of TCP; its named ports: _http._tcp"),
        ("_http._tcp.wbe", "there is no Service wbe (did you mean 'web'?)"),
        ("_http._tcp.web", ""),
    ],
)
def test_an_srv_name_without_records_is_answered_with_the_ports_of_its_service(capsys, scenario, name, hint):
    assert asked(capsys, scenario, name, "SRV")["hint"] == hint


def test_ports_without_a_name_have_no_srv_records_and_that_is_said(capsys, scenario):
    nameless = ["--set", "manifests[service/web].spec.ports=[{port: 80, targetPort: 8080}]"]
    hint = asked(capsys, scenario, "_http._tcp.web", "SRV", *nameless)["hint"]
    assert hint == "no port of Service web has a name, so there is no SRV record of one"


def test_output_has_the_sections_of_dig(capsys, scenario):
    assert run(["dns", scenario, "web"]) == 0
    printed = capsys.readouterr().out
    for part in ("LOOKUP STEPS", "QUESTION SECTION", "ANSWER SECTION", "search default.svc.cluster", "ndots:5", "Query time"):
        assert part in printed
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["web", "MXX"], "there is no record type 'MXX' here (did you mean 'MX'?)"),
        (["web", "--from", "deployment/clinet"], "--from: no pod runs that is deployment/clinet"),
        (["web", "--at", "soon"], "--at: "),
        ([], "a name is missing"),
        (["10.96.0.10", "A"], "its records are of type PTR"),
        (["web..default"], "not a name for DNS: 'web..default' has an empty part"),
        ([""], "has an empty part"),
        (["w" * 64 + ".default"], "has a part of 64 characters (1 to 63, parted by dots)"),
        (["abc." * 64], "it has 256 characters, of at most 253"),
    ],
)
def test_mistakes_are_said_in_a_line(capsys, scenario, arguments, message):
    assert run(["dns", scenario, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dead_dns_pod_shows_as_a_question_without_answer(capsys, scenario):
    found = asked(
        capsys, scenario, "web", "--at", "1s", "--set", "kubernetes.dns.replicas=1", "--set", "faults=[{at: 500ms, dns: down}]"
    )
    assert found["status"] is None
    assert found["took_ns"] >= 10_000_000_000
    assert [step["took_ns"] for step in found["steps"]] == [None] * len(found["steps"])


SERVED = ("dig", "+time=5", "+tries=1", "@127.0.0.1", "-p")
MANY = """
manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}}
  - apiVersion: v1
    kind: Endpoints
    metadata: {name: db}
    subsets:
      - addresses: [ADDRESSES]
        ports: [{name: sql, port: 5432}]
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}]}}
workloads: [{to: http://web:80, arrivals: 1/s}]
run: {duration: 1s}
""".replace("ADDRESSES", ", ".join(f"{{ip: 10.9.0.{n}}}" for n in range(1, 101)))


@pytest.fixture
def served(tmp_path):
    """A port at which `svcsim dns --serve` answers, and its process."""
    path = tmp_path / "many.yaml"
    path.write_text(MANY, encoding="utf-8")
    command = [sys.executable, "-m", "svcsim", "dns", str(path), "--serve", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        yield int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1)), process, str(path)
        process.kill()


def dig(port, *arguments):
    return subprocess.run([*SERVED, str(port), *arguments], capture_output=True, text=True, timeout=30, check=False).stdout


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig (bind9-dnsutils) is not installed")
def test_the_real_dig_gets_answers(served, capsys):
    port, process, path = served
    assert dig(port, "+short", "web.default.svc.cluster.local").split() == ["10.96.0.80"]
    whole = dig(port, "WEB.default.svc.cluster.local")
    assert "status: NOERROR" in whole
    assert " aa " in whole
    assert "status: NXDOMAIN" in dig(port, "nobody.default.svc.cluster.local")
    assert "ANSWER: 0, AUTHORITY: 1" in dig(port, "web.default.svc.cluster.local", "AAAA")
    assert dig(port, "+short", "_http._tcp.web.default.svc.cluster.local", "SRV") == "0 100 80 web.default.svc.cluster.local.\n"
    assert dig(port, "+short", "-x", "10.96.0.80") == "web.default.svc.cluster.local.\n"
    many = ("db.default.svc.cluster.local",)
    assert "flags: qr aa tc rd ra" in dig(port, "+noedns", "+ignore", *many)
    assert len(dig(port, "+short", "+noedns", *many).split()) == 100, "over TCP after the truncated answer"
    assert len(dig(port, "+short", "+bufsize=4096", "+notcp", *many).split()) == 100
    assert "Transfer failed" in dig(port, "cluster.local", "AXFR")
    assert run(["dns", path, "--serve", f"127.0.0.1:{port}"]) == 2
    assert f"127.0.0.1:{port} cannot be used" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert "Traceback" not in process.stderr.read()


def test_a_place_to_serve_is_an_address_with_a_port(capsys, scenario):
    assert run(["dns", scenario, "--serve", "localhost"]) == 2
    assert "--serve takes ADDRESS:PORT, as 127.0.0.1:5300" in capsys.readouterr().err
