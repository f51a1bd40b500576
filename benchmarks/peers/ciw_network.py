"""Ciw: a network of nodes (two delays, a link and a queue for each backend, two delays back) and a router of one's own."""

from __future__ import annotations

from typing import Any

import ciw

from benchmarks.service_path import ARRIVALS_PER_MS, BACKENDS, LINK_MS, PROXY_MS, SERVICE_MEAN_MS, WORKERS

CLIENT_LINK, PROXY, FIRST_LINK = 1, 2, 3
FIRST_POD = FIRST_LINK + BACKENDS
BACK_LINK = FIRST_POD + BACKENDS
CLIENT_BACK_LINK = BACK_LINK + 1


class LeastConnections(ciw.routing.NodeRouting):
    """To the link of the backend with the fewest individuals on its link and in its queue."""

    def next_node(self, ind: Any) -> Any:
        nodes = self.simulation.nodes
        pick = min(
            range(BACKENDS),
            key=lambda i: nodes[FIRST_LINK + i].number_of_individuals + nodes[FIRST_POD + i].number_of_individuals,
        )
        return nodes[FIRST_LINK + pick]


def run(requests: int, seed: int) -> float:
    """Mean latency in ms of so many requests."""
    count = CLIENT_BACK_LINK
    delay = ciw.dists.Deterministic(LINK_MS)
    services = [delay, ciw.dists.Deterministic(PROXY_MS)] + [delay] * BACKENDS
    services += [ciw.dists.Exponential(1 / SERVICE_MEAN_MS)] * BACKENDS + [delay, delay]
    routers: list[Any] = [ciw.routing.Direct(to=PROXY), LeastConnections()]
    routers += [ciw.routing.Direct(to=FIRST_POD + i) for i in range(BACKENDS)]
    routers += [ciw.routing.Direct(to=BACK_LINK)] * BACKENDS
    routers += [ciw.routing.Direct(to=CLIENT_BACK_LINK), ciw.routing.Leave()]
    servers: list[float] = [float("inf")] * (2 + BACKENDS) + [WORKERS] * BACKENDS + [float("inf")] * 2
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(ARRIVALS_PER_MS)] + [None] * (count - 1),
        service_distributions=services,
        number_of_servers=servers,
        routing=ciw.routing.NetworkRouting(routers=routers),
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(requests, method="Finish")
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    for record in simulation.get_all_records():
        if record.node == CLIENT_LINK:
            began[record.id_number] = record.arrival_date
        elif record.node == CLIENT_BACK_LINK:
            ended[record.id_number] = record.exit_date
    return sum(ended[i] - began[i] for i in ended) / len(ended)
