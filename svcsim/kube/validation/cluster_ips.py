"""Validation of a Service's cluster IPs and IP families, alone and against what it had before.

A second address or family may be added or (with SingleStack) released; the first never changes, unless the Service comes
from or goes to ExternalName. Source: kubernetes pkg/apis/core/validation/validation.go
(ValidateServiceClusterIPsRelatedFields, validateUpgradeDowngradeClusterIPs, validateUpgradeDowngradeIPFamilies).
"""

from __future__ import annotations

from svcsim.kube.validation import names
from svcsim.kube.validation.field_errors import FieldError, Path, duplicate, invalid, not_supported, required
from svcsim.kube.validation.reading import Manifest, text, texts

FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")

_SPEC = Path("spec")
_IPS = _SPEC.child("clusterIPs")
_FAMILIES = _SPEC.child("ipFamilies")
_POLICY = _SPEC.child("ipFamilyPolicy")
_FIXED = "may not change once set"


def is_headless(spec: Manifest) -> bool:
    """Whether the Service has `clusterIPs: [None]`."""
    return texts(spec, "clusterIPs") == ["None"]


def _is_ipv6(address: str) -> bool:
    parsed = names.parse_ip(address)
    return parsed is not None and parsed.version == 6


def validate_cluster_ips(spec: Manifest) -> list[FieldError]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy of a Service that is not ExternalName."""
    errors: list[FieldError] = []
    first, ips, families = text(spec, "clusterIP"), texts(spec, "clusterIPs"), texts(spec, "ipFamilies")
    if first and not ips:
        errors.append(required(_IPS))
    elif first and ips[0] != first:
        errors.append(invalid(_IPS, f"first value must match clusterIP {first}"))
    elif ips and not first:
        errors.append(invalid(_IPS, "must be empty when clusterIP is not specified"))
    for index, family in enumerate(families):
        if family not in FAMILIES:
            errors.append(not_supported(_FAMILIES.at(index), family, FAMILIES))
        if family in families[:index]:
            errors.append(duplicate(_FAMILIES.at(index), family))
    if spec.get("ipFamilyPolicy") is not None and text(spec, "ipFamilyPolicy") not in FAMILY_POLICIES:
        errors.append(not_supported(_POLICY, spec["ipFamilyPolicy"], FAMILY_POLICIES))
    malformed: list[FieldError] = []
    for index, address in enumerate(ips):
        if index == 0 and address == "None":
            if len(ips) > 1:
                malformed.append(invalid(_IPS, "'None' must be the first and only value"))
        else:
            malformed += [invalid(_IPS.at(index), problem) for problem in names.ip(address)]
    errors += malformed
    if len(ips) > 2:
        errors.append(invalid(_IPS, "may only hold up to 2 values"))
    return errors if malformed else errors + _validate_stacks(spec, ips, families)


def _validate_stacks(spec: Manifest, ips: list[str], families: list[str]) -> list[FieldError]:
    errors = []
    if len(ips) > 1 and len({_is_ipv6(address) for address in ips}) == 1:
        errors.append(invalid(_IPS, "may specify no more than one IP for each IP family"))
    if not is_headless(spec):
        errors += [
            invalid(_IPS.at(index), f"{address}: expected an {family} value, as ipFamilies[{index}] says")
            for index, (address, family) in enumerate(zip(ips, families, strict=False))
            if family in FAMILIES and _is_ipv6(address) != (family == "IPv6")
        ]
    return errors


def _validate_kept(old: list[str], new: list[str], path: Path, what: str, single_stack: bool) -> list[FieldError]:
    """A list of one or two of which the first stays, and the second may come, or go with SingleStack."""
    if len(old) == len(new):
        return [
            invalid(path.at(index), _FIXED) for index, (before, after) in enumerate(zip(old, new, strict=True)) if before != after
        ]
    errors = []
    if old and not new:
        errors.append(invalid(path.at(0), f"primary {what} can not be unset"))
    if old and new and old[0] != new[0]:
        errors.append(invalid(path.at(0), _FIXED))
    if len(old) > len(new) == 1 and not single_stack:
        errors.append(invalid(_POLICY, f"must be 'SingleStack' when the secondary {what} is released"))
    return errors


def validate_cluster_ips_update(new: Manifest, old: Manifest) -> list[FieldError]:
    """Cluster IPs and families against those before."""
    if "ExternalName" in (text(new, "type"), text(old, "type")):
        return []
    single_stack = text(new, "ipFamilyPolicy") == "SingleStack"
    errors: list[FieldError] = []
    if not (is_headless(new) and is_headless(old)):
        before, after = texts(old, "clusterIPs"), texts(new, "clusterIPs")
        errors += _validate_kept(before, after, _IPS, "clusterIP", single_stack)
    if not is_headless(new) and not is_headless(old):
        before, after = texts(old, "ipFamilies"), texts(new, "ipFamilies")
        errors += _validate_kept(before, after, _FAMILIES, "ipFamily", single_stack)
    return errors
