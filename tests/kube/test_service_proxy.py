"""The API server's Service proxy finds a ready endpoint of the port that a request names."""

from __future__ import annotations

import pytest

from svcsim.kube.service_proxy import ProxyRequest, ProxyTargetError, parse_request


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", ProxyRequest("", "web", "")),
        ("web:", ProxyRequest("", "web", "")),
        ("web:http", ProxyRequest("", "web", "http")),
        ("https:web:443", ProxyRequest("https", "web", "443")),
        (":web:", ProxyRequest("", "web", "")),
    ],
)
def test_a_request_is_scheme_name_and_port(text: str, expected: ProxyRequest) -> None:
    assert parse_request(text) == expected


@pytest.mark.parametrize("text", ["", ":", "ftp:web:80", "a:b:c:d", "http::80"])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(ProxyTargetError):
        parse_request(text)
