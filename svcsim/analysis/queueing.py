"""Stationary single queues with Poisson arrivals: what theory says of waiting and sojourn times.

Formulas are free of units: the arrival rate is per, and times are in, the same unit of time. Waiting is the time before service
begins, sojourn the time from arrival to departure. References: L. Kleinrock, Queueing Systems, vol. 1 (1975), chapters 3 and 5;
A. K. Erlang (1917) for M/M/c; F. Pollaczek (1930) and A. Khinchine (1932) for M/G/1.

>>> round(mm1(0.8, 1.0).mean_sojourn, 9)
5.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from svcsim.errors import UsageError


@dataclass(frozen=True, slots=True)
class Queue:
    """Means of a stationary queue. `wait_probability` is that an arrival finds all servers busy."""

    utilisation: float
    wait_probability: float
    mean_wait: float
    mean_sojourn: float
    arrival_rate: float

    @property
    def mean_waiting(self) -> float:
        """Mean number of those who wait (Little's law)."""
        return self.arrival_rate * self.mean_wait

    @property
    def mean_present(self) -> float:
        """Mean number of those who wait or are served (Little's law)."""
        return self.arrival_rate * self.mean_sojourn


def mm1(arrival_rate: float, service_mean: float) -> Queue:
    """One server, exponential service: W = 1/(mu - lambda) (Kleinrock 3.2)."""
    return mmc(arrival_rate, service_mean, 1)


def mmc(arrival_rate: float, service_mean: float, servers: int) -> Queue:
    """Several servers with one queue, exponential service: Wq = C(c, a) / (c mu - lambda) (Erlang; Kleinrock 3.5)."""
    utilisation = _utilisation(arrival_rate, service_mean, servers)
    waits = erlang_c(servers, arrival_rate * service_mean)
    mean_wait = waits * service_mean / (servers * (1.0 - utilisation))
    return Queue(utilisation, waits, mean_wait, mean_wait + service_mean, arrival_rate)


def md1(arrival_rate: float, service_time: float) -> Queue:
    """One server, constant service: Wq = rho s / (2 (1 - rho)), half of M/M/1's (Kleinrock 5.7)."""
    return mg1(arrival_rate, service_time, 0.0)


def mg1(arrival_rate: float, service_mean: float, service_scv: float) -> Queue:
    """One server, any service: Wq = lambda E[S^2] / (2 (1 - rho)) (Pollaczek-Khinchine; Kleinrock 5.7).

    `service_scv` is the squared coefficient of variation of service times, variance / mean^2: 0 constant, 1 exponential.
    """
    if not (math.isfinite(service_scv) and service_scv >= 0):
        raise UsageError(f"a squared coefficient of variation is finite and not below zero (got {service_scv})")
    utilisation = _utilisation(arrival_rate, service_mean, 1)
    mean_wait = utilisation * service_mean * (1.0 + service_scv) / (2.0 * (1.0 - utilisation))
    return Queue(utilisation, utilisation, mean_wait, mean_wait + service_mean, arrival_rate)


def erlang_b(servers: int, offered_load: float) -> float:
    """Share of arrivals lost when nobody waits (M/M/c/c), by the recursion B(n) = a B(n-1) / (n + a B(n-1)).

    >>> round(erlang_b(10, 5.0), 6)
    0.018385
    """
    if servers < 1 or not (math.isfinite(offered_load) and offered_load >= 0):
        raise UsageError(f"at least one server and a load not below zero are needed (got {servers}, {offered_load})")
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered_load * blocked / (n + offered_load * blocked)
    return blocked


def erlang_c(servers: int, offered_load: float) -> float:
    """Probability that an arrival has to wait (M/M/c): C = B / (1 - rho (1 - B)).

    >>> round(erlang_c(2, 1.0), 6)
    0.333333
    """
    blocked = erlang_b(servers, offered_load)
    utilisation = offered_load / servers
    if utilisation >= 1.0:
        return 1.0
    return blocked / (1.0 - utilisation * (1.0 - blocked))


def mm1_sojourn_quantile(arrival_rate: float, service_mean: float, q: float) -> float:
    """The q-quantile of M/M/1 sojourn times, which are exponential with mean W (Kleinrock 3.2).

    >>> round(mm1_sojourn_quantile(0.8, 1.0, 0.5), 4)
    3.4657
    """
    _check_quantile(q)
    return -math.log1p(-q) * mm1(arrival_rate, service_mean).mean_sojourn


def mmc_wait_quantile(arrival_rate: float, service_mean: float, servers: int, q: float) -> float:
    """The q-quantile of M/M/c waiting times: P(Wq > t) = C exp(-(c mu - lambda) t) (Kleinrock 3.5)."""
    _check_quantile(q)
    queue = mmc(arrival_rate, service_mean, servers)
    if 1.0 - q >= queue.wait_probability:
        return 0.0
    return math.log(queue.wait_probability / (1.0 - q)) * service_mean / (servers * (1.0 - queue.utilisation))


def lognormal_scv(median: float, q99: float) -> float:
    """The squared coefficient of variation of a lognormal distribution with this median and 99th percentile.

    >>> round(lognormal_scv(2.0, 8.0), 4)
    0.4263
    """
    if not 0 < median <= q99:
        raise UsageError(f"a median above zero, not above the 99th percentile, is needed (got {median}, {q99})")
    sigma = math.log(q99 / median) / 2.3263478740408408
    return math.expm1(sigma * sigma)


def _utilisation(arrival_rate: float, service_mean: float, servers: int) -> float:
    if servers < 1 or not all(math.isfinite(value) and value > 0 for value in (arrival_rate, service_mean)):
        given = f"{arrival_rate}, {service_mean}, {servers}"
        raise UsageError(f"a rate and a service time above zero and at least one server are needed (got {given})")
    utilisation = arrival_rate * service_mean / servers
    if utilisation >= 1.0:
        raise UsageError(f"the queue grows without end: its utilisation is {utilisation:.3g}, and theory holds below 1")
    return utilisation


def _check_quantile(q: float) -> None:
    if not 0.0 <= q < 1.0:
        raise UsageError(f"a quantile lies between 0 and 1 (got {q})")
