"""The record of a request that failed names the endpoint that its last attempt was sent to, reached or not."""

from __future__ import annotations

from collections import Counter

import pytest

from svcsim.report.causes import slowest
from svcsim.results.comparison import Comparison
from svcsim.results.records import Flag, Outcome
from tests.world.small import ALL_MODES, KERNEL_MODES, SMALL, Seen, see

UNREACHED = int(Flag.UNREACHED)


def asked(seen: Seen, *outcomes: Outcome) -> Counter[tuple[str, str, bool]]:
    """(endpoint, its node, never reached) of the requests that ended so."""
    requests, names = seen.result.requests, seen.result.names
    found: Counter[tuple[str, str, bool]] = Counter()
    for outcome, endpoint, node, flags in zip(
        requests.outcome, requests.endpoint, requests.server_node, requests.flags, strict=True
    ):
        if outcome in outcomes:
            name = names.endpoints[endpoint] if endpoint >= 0 else ""
            found[name, names.nodes[node], bool(flags & UNREACHED)] += 1
    return found


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_who_refused_is_named(mode):
    seen = see({"at": "2s", "kill": "deployment/web[1]"}, mode=mode, run__duration="4s")
    pod, = seen.pods_of_fault()
    assert set(asked(seen, Outcome.REFUSED)) == {(pod, "worker-2", True)}
    assert seen.flagged(Flag.UNREACHED) == seen.outcomes()[Outcome.REFUSED] > 5


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_who_is_silent_is_named_with_the_dead_node(mode):
    seen = see({"at": "2s", "down": "node/worker-3"}, mode=mode, run__duration="6s")
    silent = asked(seen, Outcome.CONNECT_TIMEOUT, Outcome.NO_ROUTE)
    assert {name for name, _, _ in silent} <= set(seen.pods_of_fault())
    assert {key[1:] for key in silent} == {("worker-3", True)}
    assert silent.total() > 5


def test_a_proxy_that_gave_up_names_whom_it_dialled_last():
    faults = [{"at": "2s", "kill": f"deployment/web[{index}]"} for index in range(3)]
    seen = see(*faults, mode="userspace", run__duration="4s")
    dialled = asked(seen, Outcome.RESET)
    pods = {pod for index in range(3) for pod in seen.pods_of_fault(index)}
    assert {name for name, _, unreached in dialled if unreached} == pods
    assert len({(name, node) for name, node, unreached in dialled if unreached}) == len(pods)


def test_a_proxy_that_moved_on_names_who_answered():
    seen = see({"at": "2s", "kill": "deployment/web[1]"}, mode="userspace", run__duration="4s")
    requests = seen.result.requests
    redialled = (requests.flags & int(Flag.REDIALED)) != 0
    moved = redialled & requests.succeeded
    assert moved.sum() > 5
    assert not (requests.flags[moved] & UNREACHED).any()
    assert seen.pods_of_fault()[0] not in {seen.result.names.endpoints[each] for each in requests.endpoint[moved]}


def test_a_dial_under_way_when_the_client_gives_up_is_named():
    seen = see(
        {"at": "2s", "down": "node/worker-3"}, mode="userspace", run__duration="4s", **{"workloads[0].timeout": "200ms"}
    )
    gave_up = asked(seen, Outcome.REQUEST_TIMEOUT)
    assert any(unreached and node == "worker-3" for _, node, unreached in gave_up)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_who_was_chosen_for_a_datagram_is_named(mode):
    udp = SMALL.replace("ports: [{name: http, port: 80, targetPort: 8080}]", "ports: [{port: 53, protocol: UDP}]").replace(
        "to: http://web.default.svc:80", "to: udp://web.default.svc:53"
    ).replace("timeout: 1s", "timeout: 200ms")
    seen = see({"at": "2s", "down": "node/worker-3"}, mode=mode, text=udp, run__duration="4s")
    silent = asked(seen, Outcome.REQUEST_TIMEOUT)
    assert {node for _, node, unreached in silent if unreached} == {"worker-3"}
    assert {name for name, _, unreached in silent if unreached} <= set(seen.pods_of_fault())


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_rejected_request_names_nobody(mode):
    seen = see(mode=mode, run__duration="2s", **{"manifests[deployment/web].spec.replicas": 0})
    assert {key[0::2] for key in asked(seen, Outcome.REFUSED)} == {("", False)}
    assert seen.flagged(Flag.UNREACHED) == 0


def test_balance_counts_answers_alone():
    seen = see({"at": "2s", "kill": "deployment/web[1]"}, run__duration="4s")
    requests = seen.result.requests
    assert not ((requests.flags & UNREACHED) != 0)[requests.succeeded].any()
    assert sum(seen.answered().values()) == requests.succeeded.sum()


def test_the_explanation_names_the_one_dead_endpoint_among_several():
    faults = [{"at": "2s", "kill": f"deployment/web[{index}]"} for index in (0, 1)]
    run = see(*faults, run__duration="4s").result
    told = slowest(Comparison([run]), 20, failed=True)
    assert told
    for each in told:
        about = " ".join(each.reasons)
        assert each.endpoint
        assert f"{each.endpoint} on {each.server_node} was dead" in about
        assert about.count("was dead since") == 1


def test_the_names_tell_where_endpoints_served_that_nobody_asked():
    seen = see(**{"workloads[0].arrivals": {"constant": "1/min"}}, run__duration="2s")
    names = seen.result.names
    assert len(seen.result.requests) <= 3
    served = {names.endpoints[index]: names.nodes[home] for index, home in enumerate(names.homes) if home >= 0}
    web = {pod: node for pod, node in served.items() if pod.startswith("default/web-")}
    assert sorted(web.values()) == ["worker-1", "worker-2", "worker-3"]
