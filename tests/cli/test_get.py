"""`svcsim get` and `svcsim events`: the cluster as kubectl shows it."""

import json

import pytest
import yaml

from svcsim.cli.main import run
from tests.world.small import SMALL


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "faults:\n  - {at: 2s, kill: 'deployment/web[1]'}\n")
    return str(path)


def printed(capsys, *arguments, code=0):
    assert run(list(arguments)) == code
    found = capsys.readouterr()
    return found.out if code == 0 else found.err


def cells(text):
    return [line.split() for line in text.splitlines()]


def test_pods_before_and_after_a_crash(capsys, scenario):
    head, *rows = cells(printed(capsys, "get", scenario, "po"))
    assert head == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[1:] for row in rows] == 6 * [["1/1", "Running", "0", "0s"]]
    rows = cells(printed(capsys, "get", scenario, "pods", "--at", "2500ms", "-l", "app=web"))[1:]
    assert sorted(row[1] for row in rows) == ["0/1", "1/1", "1/1"] or sorted(row[3] for row in rows) == ["0", "0", "1"]
    assert len(rows) == 3


def test_all_kinds_with_their_names_in_front(capsys, scenario):
    text = printed(capsys, "get", scenario)
    assert "service/web" in text
    assert "deployment.apps/client" in text
    assert len(text.split("\n\n")) == 4


def test_nothing_of_a_kind_is_no_mistake(capsys, scenario):
    assert run(["get", scenario, "ing"]) == 0
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "No resources found in default namespace.\n")


def test_one_object_and_several(capsys, scenario):
    one = yaml.safe_load(printed(capsys, "get", scenario, "svc/web", "-o", "yaml"))
    assert (one["kind"], one["metadata"]["name"]) == ("Service", "web")
    several = json.loads(printed(capsys, "get", scenario, "svc,deploy", "-o", "json"))
    assert several["kind"] == "List"
    assert [item["kind"] for item in several["items"]] == ["Service", "Deployment", "Deployment"]
    assert printed(capsys, "get", scenario, "deploy", "-o", "name") == "deployment.apps/client\ndeployment.apps/web\n"
    assert cells(printed(capsys, "get", scenario, "no", "-A"))[1][0] == "worker-1"
    assert cells(printed(capsys, "get", scenario, "svc", "-A"))[1][:2] == ["default", "web"]


def test_what_is_printed_runs_again(capsys, scenario, tmp_path):
    dump = printed(capsys, "get", scenario, "no,svc,deploy,rs,po,ep,endpointslices", "-o", "yaml", "--at", "1s")
    (tmp_path / "dump.yaml").write_text(dump)
    again = tmp_path / "again.yaml"
    again.write_text("manifests: [dump.yaml]\nworkloads: [{name: load, from: {deployment: client}, to: 'http://web'}]\n"
                     "run: {duration: 2s}\n")
    assert printed(capsys, "get", str(again), "po", "-o", "wide", "--at", "1s") == printed(
        capsys, "get", scenario, "po", "-o", "wide", "--at", "1s")
    assert run(["run", str(again), "--no-out", "--quiet"]) == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (["pdos"], "there is no kind 'pdos' (did you mean 'pods'?)"),
    (["svc", "wbe"], "there is no Service 'wbe' in namespace default (did you mean 'web'?)"),
    (["po", "-o", "yml"], "-o: there is no output 'yml' (did you mean 'yaml'?)"),
    (["po", "-l", "a b"], "-l: not a label selector: 'a b' (write 'app=web,tier!=db' or 'app in (web, api)')"),
    (["po,svc", "web"], "a name goes with one kind"),
    (["po", "--at", "5"], "--at: "),
])
def test_mistakes_name_what_would_be_right(capsys, scenario, arguments, message):
    assert printed(capsys, "get", scenario, *arguments, code=2).startswith(message)


def test_events_of_a_crash(capsys, scenario):
    rows = cells(printed(capsys, "events", scenario, "--at", "10s"))
    assert rows[0][:4] == ["LAST", "SEEN", "TYPE", "REASON"]
    assert [row[2] for row in rows[1:]][:3] == ["Pulled", "Created", "Started"]
    found = json.loads(printed(capsys, "events", scenario, "--at", "10s", "--json"))
    assert [event["reason"] for event in found][:3] == ["Pulled", "Created", "Started"]
    assert {event["host"] for event in found} == {"worker-2"}
    name = found[0]["name"]
    assert json.loads(printed(capsys, "events", scenario, "--at", "10s", "--for", f"pod/{name}", "--json")) == found
    assert json.loads(printed(capsys, "events", scenario, "--at", "10s", "--types", "Warning", "--json")) == [
        event for event in found if event["type"] == "Warning"]
    assert cells(printed(capsys, "get", scenario, "events", "--at", "10s"))[1][2] == "Pulled"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--types", "Wrning"], "--types: there is no type 'Wrning' (did you mean 'Warning'?)"),
    (["--for", "web"], "--for: an object is written kind/name, as pod/web-0 (got 'web')"),
])
def test_mistakes_in_the_call_of_events(capsys, scenario, arguments, message):
    assert printed(capsys, "events", scenario, *arguments, code=2).startswith(message)
