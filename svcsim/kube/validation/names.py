"""The rules of names, ports and addresses that several fields share; each returns what is wrong, nothing if all is well.

Source: k8s.io/apimachinery pkg/util/validation/validation.go, k8s.io/utils/net parse.go.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL_MAX = 63
_SUBDOMAIN_MAX = 253
_PORT_NAME_MAX = 15
_PORT_MAX = 65535
_DNS1123_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_DNS1123_SUBDOMAIN = re.compile(rf"{_DNS1123_LABEL.pattern}(\.{_DNS1123_LABEL.pattern})*", re.ASCII)
_DNS1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_LABEL_VALUE = re.compile(rf"({_QUALIFIED_NAME.pattern})?", re.ASCII)
_LEADING_ZEROS = re.compile(r"\b0+(?=\d)", re.ASCII)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _name_problems(text: str, pattern: re.Pattern[str], longest: int, kind: str) -> list[str]:
    problems = [f"must be no more than {longest} characters"] if len(text) > longest else []
    if not pattern.fullmatch(text):
        problems.append(f"{text!r} is not {kind}")
    return problems


def dns1123_label(text: str) -> list[str]:
    """Lower-case letters, digits and dashes, a letter or digit at both ends."""
    return _name_problems(text, _DNS1123_LABEL, _LABEL_MAX, "a DNS label (a-z, 0-9 and '-', no '-' at its ends)")


def dns1123_subdomain(text: str) -> list[str]:
    """DNS labels with dots between."""
    return _name_problems(text, _DNS1123_SUBDOMAIN, _SUBDOMAIN_MAX, "a DNS name of labels a-z, 0-9 and '-'")


def dns1035_label(text: str) -> list[str]:
    """A DNS label that starts with a letter."""
    kind = "a DNS label that starts with a letter (a-z, 0-9 and '-')"
    return _name_problems(text, _DNS1035_LABEL, _LABEL_MAX, kind)


def generated(text: str) -> str:
    """A prefix of names as it will look once a suffix is added: a final dash is not at the end then."""
    return f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text


def qualified_name(text: str) -> list[str]:
    """`name` or `dns.name/name`."""
    prefix, slash, name = text.rpartition("/")
    problems = []
    if "/" in prefix:
        return [f"{text!r} has more than one '/'"]
    if slash:
        problems = ["its prefix is empty"] if not prefix else dns1123_subdomain(prefix)
    if not name:
        problems.append("its name is empty")
    elif len(name) > _LABEL_MAX:
        problems.append(f"its name must be no more than {_LABEL_MAX} characters")
    if not _QUALIFIED_NAME.fullmatch(name):
        problems.append(f"{name!r} must be letters, digits, '-', '_' and '.', a letter or digit at both ends")
    return problems


def label_value(text: str) -> list[str]:
    """Empty, or letters, digits, dashes, dots and underscores, a letter or digit at both ends."""
    return _name_problems(text, _LABEL_VALUE, _LABEL_MAX, "a label value (letters, digits, '-', '_' and '.')")


def port_number(number: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= number <= _PORT_MAX else [f"{number} must be between 1 and {_PORT_MAX}"]


def port_name(text: str) -> list[str]:
    """At most 15 lower-case letters, digits and single dashes, at least one letter."""
    problems = []
    if len(text) > _PORT_NAME_MAX:
        problems.append(f"must be no more than {_PORT_NAME_MAX} characters")
    if not re.fullmatch(r"[-a-z0-9]+", text, re.ASCII):
        problems.append("must contain only a-z, 0-9 and '-'")
    if not re.search(r"[a-z]", text, re.ASCII):
        problems.append("must contain at least one letter (a-z)")
    if "--" in text:
        problems.append("must not contain consecutive dashes")
    if text.startswith("-") or text.endswith("-"):
        problems.append("must not begin or end with a dash")
    return problems


def parse_ip(text: str) -> IpAddress | None:
    """The address, None if it is none; an IPv4 one may have leading zeros, which are decimal (net.ParseIPSloppy)."""
    try:
        return ipaddress.ip_address(_LEADING_ZEROS.sub("", text) if ":" not in text else text)
    except ValueError:
        return None


def ip(text: str) -> list[str]:
    """An IPv4 or IPv6 address."""
    return [] if parse_ip(text) else [f"{text!r} is not an IP address (such as 10.9.8.7 or 2001:db8::ffff)"]


def cidr(text: str) -> list[str]:
    """An address block with its length."""
    address, slash, length = text.partition("/")
    parsed = parse_ip(address)
    if slash and parsed is not None and length.isdecimal() and int(length) <= parsed.max_prefixlen:
        return []
    return [f"{text!r} is not a CIDR block (such as 10.9.8.0/24)"]


def non_special_ip(address: IpAddress) -> list[str]:
    """An address that a packet can have on its way: not unspecified, loopback or link-local."""
    problems = []
    if address.is_unspecified:
        problems.append(f"{address} may not be unspecified")
    if address.is_loopback:
        problems.append(f"{address} may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        problems.append(f"{address} may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    link_local_multicast = ipaddress.ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16")
    if address in link_local_multicast:
        problems.append(f"{address} may not be in the link-local multicast range (224.0.0.0/24, ff02::/16)")
    return problems
