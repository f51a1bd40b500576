"""Why single requests were slow or failed, in words: their parts, their way, and what was wrong there then.

All of it is read from the records and the journal of a run. Where a record has no endpoint, because none was chosen, those that
were dead behind its Service while the request was under way are named instead. How often a SYN or a question of the resolver was
sent again follows from the time spent, by the kernel's and glibc's timers (`svcsim.linux.tcp`, resolv.conf(5)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svcsim.engine.journal import Happening
from svcsim.linux.tcp import TcpTimers
from svcsim.report.history import History, Span
from svcsim.results.comparison import Comparison
from svcsim.results.records import PART_WORDS, PARTS, Flag, Outcome
from svcsim.results.result import Result
from svcsim.units import S, format_ns

_TELLING = 0.15
"""A part of the latency that is larger than this share of it is told."""
_UNUSUAL = 1.5
"""So many times its median a part is unusual."""
_RESOLVER_NS = 5 * S
"""resolv.conf(5): a resolver waits so long for an answer before it asks again."""
_MAX_SUSPECTS = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """One request and why it took its time; times in ns since the start of the run, `reasons` are sentences."""

    mode: str
    replication: int
    workload: str
    sequence: int
    start_ns: int
    latency_ns: int
    outcome: Outcome
    attempts: int
    client_node: str
    endpoint: str
    server_node: str
    parts: dict[str, int]
    reasons: tuple[str, ...]

    @property
    def headline(self) -> str:
        """Which request, when it was sent, how it ended, and its way."""
        way = f"from {self.client_node or 'outside'}"
        if self.endpoint:
            way += f" to {self.endpoint}" + (f" on {self.server_node}" if self.server_node else "")
        run = f"{self.mode}, replication {self.replication + 1}" if self.replication else self.mode
        ended = "answered" if self.outcome is Outcome.OK else self.outcome.words
        return (
            f"{run}: {self.workload} #{self.sequence}, sent at {self.start_ns / S:.3f} s, {ended} after "
            f"{format_ns(self.latency_ns)}, {way}"
        )

    @property
    def time_words(self) -> str:
        """The parts of the latency, the largest first, down to one percent."""
        total = self.latency_ns or 1
        large = sorted(((value, part) for part, value in self.parts.items() if value > total * 0.01), key=lambda pair: -pair[0])
        return ", ".join(f"{PART_WORDS[part]} {format_ns(value)} ({value / total:.0%})" for value, part in large)

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "mode": self.mode, "replication": self.replication, "workload": self.workload, "sequence": self.sequence,
            "start_ns": self.start_ns, "latency_ns": self.latency_ns, "outcome": self.outcome.key, "attempts": self.attempts,
            "client_node": self.client_node or None, "endpoint": self.endpoint or None, "server_node": self.server_node or None,
            "parts": self.parts, "reasons": list(self.reasons),
        }


def slowest(
    comparison: Comparison, count: int, *, mode: str | None = None, workload: str | None = None, failed: bool | None = None,
    one_of_a_kind: bool = False,
) -> list[Explanation]:
    """The requests of the measured window with the longest latency, failures among them, explained; the slowest first.

    Of all modes, or of one and its schedulers; with `failed` those that failed, or those that did not; with `one_of_a_kind` the
    slowest of each run and outcome alone. UsageError for a mode or workload that there is not.
    """
    variants = tuple(comparison) if mode is None else comparison.matching(mode)
    found: list[tuple[int, int, int, int]] = []
    runs = [run for variant in variants for run in variant.runs]
    for place, run in enumerate(runs):
        requests = run.requests
        chosen = (requests.start_ns >= run.warmup_ns) & (requests.outcome != Outcome.CLIENT_GONE)
        if workload is not None:
            chosen &= requests.workload == run.names.workload(workload)
        if failed is not None:
            chosen &= requests.failed == failed
        rows = np.flatnonzero(chosen)
        latency = requests.latency_ns[rows]
        if one_of_a_kind:
            rows = np.array(_first_of_each(requests.outcome[rows], latency, rows), np.intp)
            latency = requests.latency_ns[rows]
        if len(rows) > count:
            # All that are as slow as the last that fits, so that ties are broken by time alone.
            least = np.partition(latency, len(latency) - count)[len(latency) - count]
            rows, latency = rows[latency >= least], latency[latency >= least]
        order = np.lexsort((requests.sequence[rows], requests.start_ns[rows], -latency))[:count]
        found += [(-int(latency[each]), int(requests.start_ns[rows[each]]), place, int(rows[each])) for each in order]
    whys = [Why(run) for run in runs]
    return [whys[place].explain(row) for _, _, place, row in sorted(found)[:count]]


class Why:
    """Explains requests of one run."""

    def __init__(self, run: Result) -> None:
        self._run = run
        self._history = History(run)

    @cached_property
    def _medians(self) -> dict[str, float]:
        requests = self._run.requests
        good = requests.succeeded
        return {part: float(np.median(requests.column(part)[good])) if good.any() else 0.0 for part in PARTS}

    def explain(self, row: int) -> Explanation:
        """The explanation of the request in a row of the run's records."""
        requests, names = self._run.requests, self._run.names
        one = {name: int(requests.column(name)[row]) for name in requests}
        parts = {part: one[part] for part in PARTS}
        workload = names.workloads[one["workload"]]
        client = _named(names.nodes, one["client_node"])
        endpoint = _named(names.endpoints, one["endpoint"])
        outcome = Outcome(one["outcome"])
        end_ns = one["start_ns"] + one["latency_ns"]
        reasons = [] if outcome is Outcome.OK else [self._failure(outcome, parts, Flag(one["flags"]))]
        reasons += self._parts(one, parts, endpoint, outcome)
        reasons += self._surroundings(one, client, endpoint, end_ns, outcome)
        return Explanation(
            self._run.label, self._run.replication, workload, one["sequence"], one["start_ns"], one["latency_ns"], outcome,
            one["attempts"], client, endpoint, _named(names.nodes, one["server_node"]), parts,
            tuple(reasons) or ("Nothing unusual: its parts are those of many others.",),
        )

    def _failure(self, outcome: Outcome, parts: dict[str, int], flags: Flag) -> str:
        count = _syns(parts["connect_ns"], Flag.RETRANSMITTED in flags)
        again = f", though it was sent again {_times(count)}" if count else ""
        connected_ns = sum(parts[part] for part in ("request_ns", "queue_ns", "service_ns", "response_ns"))
        waited = format_ns(parts["connect_ns"] if outcome is Outcome.CONNECT_TIMEOUT else connected_ns)
        return {
            Outcome.REFUSED: "The connection was refused: nothing listened where it was sent, or a rule rejected it.",
            Outcome.RESET: "The connection was reset before the answer was complete.",
            Outcome.CONNECT_TIMEOUT: f"No answer to the SYN within {waited}{again}: the client gave up.",
            Outcome.REQUEST_TIMEOUT: f"Connected, but no complete answer within {waited}: the client gave up.",
            Outcome.NO_ROUTE: "The network said that there is no way to the destination.",
            Outcome.DNS_FAILURE: f"The name was not resolved, after {format_ns(parts['dns_ns'])}.",
            Outcome.SERVER_BUSY: "The server answered that its queue is full.",
            Outcome.NO_LOCAL_PORT: "Every local port of the client towards this destination was taken.",
            Outcome.SHED: "The client's limit of waiting requests was reached, so it was never sent.",
            Outcome.NO_VARIABLE: "The container has no environment variable that names its target.",
            Outcome.NOT_FOUND: "The ingress controller has no rule for this host and path.",
            Outcome.BAD_GATEWAY: "The ingress controller reached no upstream that answered.",
            Outcome.SERVICE_UNAVAILABLE: "The Service behind the ingress rule had no ready endpoint.",
            Outcome.GATEWAY_TIMEOUT: "The ingress controller's upstream did not answer in time.",
        }.get(outcome, f"It failed: {outcome.words}.")

    def _parts(self, one: dict[str, int], parts: dict[str, int], endpoint: str, outcome: Outcome) -> list[str]:
        """A sentence for each part that is large and larger than usual."""
        flags, found = Flag(one["flags"]), []

        def large(part: str) -> bool:
            return parts[part] > _TELLING * one["latency_ns"] and parts[part] > _UNUSUAL * self._medians[part]

        if large("dns_ns"):
            lost = parts["dns_ns"] // _RESOLVER_NS
            times = f": a question or its answer was lost and asked again after 5 s, {_times(lost)}" if lost else ""
            found.append(f"Name resolution took {format_ns(parts['dns_ns'])}{times}.")
        if large("wait_ns"):
            found.append(f"It waited {format_ns(parts['wait_ns'])} for a free connection of its client.")
        if large("retry_ns"):
            earlier = _counted(one["attempts"] - 1, "attempt")
            found.append(f"{earlier} before the last one failed, which took {format_ns(parts['retry_ns'])} with the back-off.")
        connect = format_ns(parts["connect_ns"])
        if Flag.REDIALED in flags:
            until = f"; {connect} until connected" if large("connect_ns") else ""
            found.append(f"The proxy dialled another endpoint after one that did not answer{until}.")
        elif outcome is Outcome.CONNECT_TIMEOUT:
            pass
        elif large("connect_ns") or (Flag.RETRANSMITTED in flags and parts["connect_ns"] >= S):
            again = _syns(parts["connect_ns"], Flag.RETRANSMITTED in flags)
            found.append(f"The handshake took {connect}{f': the SYN was sent again {_times(again)}' if again else ''}.")
        elif Flag.RETRANSMITTED in flags:
            found.append("A segment was lost and sent again.")
        if large("queue_ns"):
            behind = f", behind {_counted(ahead, 'request')} of its endpoint" if (ahead := self._ahead(one)) else ""
            found.append(f"It waited {format_ns(parts['queue_ns'])} in the server's queue{behind}.")
        if large("service_ns"):
            found.append(f"The service itself took {format_ns(parts['service_ns'])}, {self._as_usual('service_ns', parts)}.")
        for part in ("request_ns", "response_ns"):
            if large(part) and outcome is Outcome.OK:
                found.append(f"{PART_WORDS[part].capitalize()} for {format_ns(parts[part])}, {self._as_usual(part, parts)}.")
        return found

    def _as_usual(self, part: str, parts: dict[str, int]) -> str:
        median = self._medians[part]
        return f"{parts[part] / median:.1f} times the median" if median else "where the median is 0"

    def _ahead(self, one: dict[str, int]) -> int:
        """How many requests stood before it in its endpoint's queue or with its workers."""
        requests = self._run.requests
        there = np.flatnonzero(requests.endpoint == one["endpoint"])
        arrived = requests.end_ns[there] - requests.response_ns[there] - requests.service_ns[there] - requests.queue_ns[there]
        mine = one["start_ns"] + one["latency_ns"] - one["response_ns"] - one["service_ns"] - one["queue_ns"]
        left = requests.end_ns[there] - requests.response_ns[there]
        return int(np.count_nonzero((arrived < mine) & (left > mine)))

    def _surroundings(self, one: dict[str, int], client: str, endpoint: str, end_ns: int, outcome: Outcome) -> list[str]:
        """What was wrong at that time where the request went."""
        history, start_ns, found = self._history, one["start_ns"], []
        behind = self._run.names.endpoints_of
        candidates = [endpoint] if endpoint else []
        redialed = Flag.REDIALED in Flag(one["flags"])
        if (not endpoint or redialed) and one["workload"] < len(behind):
            candidates = [self._run.names.endpoints[index] for index in behind[one["workload"]]]
        suspects = [(pod, span) for pod in candidates if (span := history.dead(pod, start_ns, end_ns)) is not None]
        unanswered = outcome not in {Outcome.OK, Outcome.DNS_FAILURE, Outcome.SHED, Outcome.NO_LOCAL_PORT, Outcome.NO_VARIABLE}
        if unanswered or redialed:
            for pod, span in suspects[:_MAX_SUSPECTS]:
                found.append(self._dead(pod, span, client, start_ns))
            if len(suspects) > _MAX_SUSPECTS:
                found.append(f"{len(suspects) - _MAX_SUSPECTS} further endpoints were dead then.")
        about = {endpoint, *(pod for pod, _ in suspects)}
        nodes = {client, history.node_of.get(endpoint, "")} - {""}
        for trouble in history.troubles:
            struck = trouble.pods & about or trouble.nodes & nodes or not (trouble.pods or trouble.nodes)
            told = any(trouble.text in sentence for sentence in found)
            if struck and not told and trouble.span.touches(start_ns, end_ns):
                found.append(f"The fault {trouble.text} was acting, since {trouble.span.start_ns / S:g} s.")
        full = history.first([Happening.CONNTRACK_FULL], nodes, 0)
        if full is not None and full.at_ns <= end_ns and outcome is not Outcome.OK:
            found.append(f"The conntrack table of {full.subject} was full at {full.at_ns / S:.3f} s.")
        if client and (down := next((span for span in history.proxy_stopped(client) if span.touches(start_ns, end_ns)), None)):
            found.append(f"kube-proxy on {client} was stopped since {down.start_ns / S:.3f} s.")
        return found

    def _dead(self, pod: str, span: Span, client: str, start_ns: int) -> str:
        """Since when an endpoint was dead, and how far the control plane had come when the request was sent."""
        history = self._history
        node = history.node_of.get(pod, "")
        cause = history.cause(span.start_ns, pod, node)
        why = f"{span.why}; fault: {cause}" if cause else span.why
        text = f"{pod}{f' on {node}' if node else ''} was dead since {span.start_ns / S:.3f} s ({why})"
        kinds = (Happening.POD_NOT_READY, Happening.POD_TERMINATING, Happening.POD_REMOVED)
        seen = history.first(kinds, [pod], span.start_ns)
        until_ns = span.end_ns if span.end_ns is not None else self._run.duration_ns * 2
        if seen is None or seen.at_ns > until_ns:
            return f"{text}; the control plane never noticed."
        if start_ns < seen.at_ns:
            return f"{text}; nobody knew: it was reported not ready at {seen.at_ns / S:.3f} s."
        update = history.endpoints_update(pod, seen.at_ns)
        if update is None or start_ns < update.at_ns:
            when = f" until {update.at_ns / S:.3f} s" if update is not None else ""
            return f"{text}; it was reported not ready, but stood among the endpoints{when}."
        synced_ns = history.synced(client, update.subject, update.at_ns) if client else None
        if client and (synced_ns is None or start_ns < synced_ns):
            when = f" until {synced_ns / S:.3f} s" if synced_ns is not None else ""
            out = f"it was out of the endpoints at {update.at_ns / S:.3f} s"
            return f"{text}; {out}, but kube-proxy on {client} had not synced{when}."
        return f"{text}; {client or 'the client'}'s rules no longer led there."


def _first_of_each(outcomes: NDArray[np.int64], latency: NDArray[np.int64], rows: NDArray[np.intp]) -> list[int]:
    """For each outcome the row of its slowest request, the first of equals."""
    return [
        int(rows[mine[np.argmax(latency[mine])]])
        for outcome in np.unique(outcomes).tolist() if len(mine := np.flatnonzero(outcomes == outcome))
    ]


def _named(names: Sequence[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else ""


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _syns(connect_ns: int, retransmitted: bool) -> int:
    """How many SYNs were sent after the first in such a handshake."""
    timers, again, at_ns = TcpTimers(), 0, 0
    while again < timers.last_syn():
        at_ns += timers.syn_wait_ns(again)
        if at_ns > connect_ns:
            break
        again += 1
    return again if retransmitted else 0
