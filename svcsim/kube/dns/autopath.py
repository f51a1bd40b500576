"""CoreDNS's `autopath`: the server walks the client's search path, so that the first question gets the last one's answer.

A question that begins the client's search path is tried with each of its domains; the first answer but a name error is given,
behind a CNAME from the name that was asked. Source: coredns plugin/autopath (autopath.go, cname.go), and
plugin/kubernetes/autopath.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from svcsim.kube.dns.records import Answer, Record

AnswerOf = Callable[[str, str], Answer]


def pod_search_path(namespace: str, domain: str) -> tuple[str, ...]:
    """The search path of a pod of a namespace, absolute, the bare name last."""
    zone = domain.rstrip(".")
    return f"{namespace}.svc.{zone}.", f"svc.{zone}.", f"{zone}.", ""


def autopath(answer_of: AnswerOf, name: str, rtype: str, search: Sequence[str]) -> Answer:
    """The answer to an absolute name for a client with this search path."""
    first = f".{search[0].lower()}"
    if not name.lower().endswith(first) or len(name) <= len(first):
        return answer_of(name, rtype)
    base = name[: -len(first)]
    begun: Answer | None = None
    for domain in search:
        tried = f"{base}.{domain}"
        answer = answer_of(tried, rtype)
        begun = begun if begun is not None else answer
        if answer.rcode != "NXDOMAIN":
            return _glued(answer, name)
    assert begun is not None
    return begun


def _glued(answer: Answer, asked: str) -> Answer:
    """The answer with a CNAME from the name that was asked to the one that has it."""
    for record in answer.answer:
        if record.name.lower() != asked.lower():
            return replace(answer, answer=(Record(asked, "CNAME", record.ttl, record.name), *answer.answer))
    return answer
