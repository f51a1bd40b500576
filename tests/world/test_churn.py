"""Generated Services change at the rate that the scenario says, and every kube-proxy follows."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.errors import InputError
from svcsim.units import S
from tests.world.small import SMALL, see, small

FILLED = SMALL + "services: {count: 3, endpoints: 2, churn: 1/s}\n"


def synced_services(seen):
    """For each node the fillers that its syncs were about, in order, each with the second in which they were."""
    found = {}
    for entry in seen.result.journal.entries:
        if entry.kind is Happening.PROXY_SYNCED:
            for key in entry.detail["services"]:
                if key.startswith("filler/"):
                    found.setdefault(entry.subject, []).append((entry.at_ns // S, key.removeprefix("filler/filler-")))
    return found


def test_each_change_is_synced_by_every_node_in_the_order_of_the_services():
    seen = see(text=FILLED, run__duration="9s", kubernetes__proxy__minSyncPeriod="0s")
    turns = [(1, "1"), (2, "1"), (3, "2"), (4, "2"), (5, "3"), (6, "3"), (7, "1"), (8, "1")]
    assert synced_services(seen) == {f"worker-{i}": turns for i in (1, 2, 3)}


def test_without_churn_nobody_has_anything_to_sync():
    assert synced_services(see(text=FILLED, run__duration="4s", services__churn="0/s")) == {}


def test_nothing_changes_while_the_api_server_is_away():
    away = {"at": "1500ms", "apiServer": "down", "for": "4s"}
    seen = see(away, text=FILLED, run__duration="5s", kubernetes__proxy__minSyncPeriod="0s")
    assert synced_services(seen) == {f"worker-{i}": [(1, "1")] for i in (1, 2, 3)}


def test_the_traffic_of_other_services_is_none_of_its_business():
    quiet, busy = see(text=FILLED, run__duration="4s", services__churn="0/s"), see(text=FILLED, run__duration="4s")
    assert quiet.result.success == busy.result.success == 1.0


def test_endpoints_that_change_must_be_there():
    with pytest.raises(InputError, match="there is no endpoint that could change"):
        small(text=SMALL + "services: {count: 3, endpoints: 0, churn: 1/s}\n")
