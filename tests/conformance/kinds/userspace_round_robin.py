"""The balancer of the userspace proxy: strict turns, affinity, and what updates do to both."""

from typing import Any

from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle
from svcsim.linux.address import parse_address

KIND = "userspace-round-robin"


def run(vector: dict[str, Any]) -> None:
    balancer: RoundRobin[str] = RoundRobin(keyed_shuffle(1, "node"))
    last: dict[tuple[str, str | None], str | None] = {}
    for number, step in enumerate(vector["case"]["steps"]):
        operation = step["op"]
        service = step.get("service", "")
        if operation == "newService":
            ttl = step.get("ttlSeconds") if step.get("affinity") == "ClientIP" else None
            balancer.set_affinity(service, None if ttl is None else int(ttl) * 1_000_000_000)
        elif operation in {"endpoints-add", "endpoints-update"}:
            balancer.set_endpoints(service, step["endpoints"])
        elif operation == "endpoints-delete":
            balancer.remove_endpoints(service)
        elif operation == "next":
            _next(balancer, step, number, last)
        else:
            assert operation == "note", f"step {number}: unknown operation {operation!r}"


def _next(
    balancer: RoundRobin[str], step: dict[str, Any], number: int, last: dict[tuple[str, str | None], str | None]
) -> None:
    service, client, expect = step["service"], step["client"], step["expect"]
    order = balancer.order(service)
    address = None if client is None else parse_address(client)
    got = balancer.next(service, address, 0, reset=step.get("affinityReset", False))
    before = last.get((service, client))
    last[(service, client)] = got
    if expect == "error":
        assert got is None, f"step {number}: expected no endpoint, got {got}"
        return
    if expect.startswith("order["):
        wanted: str | None = order[int(expect[6:-1])]
    elif expect.startswith("pinned"):
        wanted = before if before in order else order[0]
    else:
        assert expect.startswith("same"), f"step {number}: unknown expectation {expect!r}"
        wanted = before
    assert got == wanted, f"step {number}: expected {wanted} ({expect}), got {got}"
