"""Kind `dns`: questions to a cluster DNS server that has seen the given objects."""

from __future__ import annotations

import re
from itertools import count

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.dns.answers import DnsServer
from svcsim.kube.dns.autopath import AnswerOf, autopath, pod_search_path
from svcsim.kube.dns.config import DnsConfig, UpstreamName, absolute
from svcsim.kube.dns.records import Answer, Record, Soa, Srv
from svcsim.kube.dns.zone import IMPORTED_SERVICE, SOURCE_CLUSTER, Zone
from svcsim.linux.address import Address, format_address, parse_address

KIND = "dns"

SUPPORTED_OPTIONS = {
    "server", "zones", "ttl", "pods", "namespaces", "ignore_empty_service", "endpoint_pod_names", "local_ips",
    "upstream", "coredns_version", "srv_priority", "srv_weight", "zonal", "multicluster_zones", "fallthrough", "synced",
    "autopath", "client_namespace", "plugin", "search",
}  # fmt: skip


def _upstream_records(name: str, value: object) -> list[Record]:
    if isinstance(value, list):
        return [record for item in value for record in _upstream_records(name, item)]
    if isinstance(value, str):
        rtype, _, data = value.partition(" ")
        return [_record({"name": name, "type": rtype, "ttl": 30, "rdata": data})]
    assert isinstance(value, dict), f"upstream of {name}: {value!r}"
    if "rdata" in value:
        return [_record({"name": name, **value})]
    ttl = value.get("ttl", 30)
    return [
        _record({"name": name, "type": rtype, "ttl": ttl, "rdata": data})
        for rtype, several in value.items()
        if rtype != "ttl"
        for data in (several if isinstance(several, list) else [several])
    ]


def _record(row: dict) -> Record:
    data = parse_address(row["rdata"]) if row["type"] in ("A", "AAAA") else row["rdata"]
    return Record(absolute(row["name"]), row["type"], row["ttl"], data)


def _config(config: dict, query: dict) -> DnsConfig:
    unsupported = set(config) - SUPPORTED_OPTIONS
    assert not unsupported, f"not modelled: {sorted(unsupported)}"
    assert not config.get("zonal"), "not modelled: zonal"
    assert config.get("plugin") in (None, "autopath"), f"not modelled: {config['plugin']}"
    upstream = {
        absolute(name.lower()): UpstreamName(tuple(_upstream_records(name, value)))
        for name, value in config.get("upstream", {}).items()
    }
    if extra := query.get("upstream"):
        records = tuple(_record(row) for row in extra["answer"])
        name = absolute(extra["answers_for_target"].lower())
        upstream[name] = UpstreamName(records, extra.get("truncated", False))
    return DnsConfig(
        dialect=config["server"],
        zones=tuple(config.get("zones", ("cluster.local.",))),
        ttl=config["ttl"] if config.get("ttl") is not None else 30,
        pods=config.get("pods", "disabled"),
        namespaces=tuple(config.get("namespaces") or ()),
        ignore_empty_service=config.get("ignore_empty_service", False),
        endpoint_pod_names=config.get("endpoint_pod_names", False),
        wildcards=config.get("coredns_version", "").startswith("<1.9"),
        local_ips=tuple(parse_address(text) for text in config.get("local_ips", ())),
        multicluster_zones=tuple(config.get("multicluster_zones", ())),
        fallthrough=tuple(config.get("fallthrough") or ()),
        upstream=upstream,
    )


class Cluster:
    """The objects of a vector as API objects; pods and workloads are what its Services select."""

    def __init__(self, objects: dict) -> None:
        self._fresh = (f"10.250.{number // 250}.{number % 250 + 1}" for number in count())
        self.namespaces = list(objects.get("namespaces", ()))
        self.services = [dict(service) for service in (*objects.get("services", ()), *objects.get("serviceImports", ()))]
        self.endpoints = [dict(endpoints) for endpoints in objects.get("endpoints", ())]
        self.pods = [self._with_address(pod) for pod in objects.get("pods", ())]
        for workload in objects.get("workloads", ()):
            for ordinal in range(workload["replicas"]):
                self.pods.append(self._with_address({**workload, "name": f"{workload['name']}-{ordinal}"}))
        for service in self.services:
            key = (service["namespace"], service["name"])
            given = any((endpoints["namespace"], endpoints["service"]) == key for endpoints in self.endpoints)
            if service.get("selector") and not given:
                self.endpoints.append(self._selected(service))

    def _with_address(self, pod: dict) -> dict:
        ip = pod.get("ip", "<dynamic>")
        return {**pod, "ip": next(self._fresh) if ip.startswith("<") else ip}

    def _selected(self, service: dict) -> dict:
        chosen = [
            pod
            for pod in self.pods
            if pod["namespace"] == service["namespace"] and service["selector"].items() <= pod.get("labels", {}).items()
        ]
        addresses = [
            {
                "ip": pod["ip"],
                "targetPod": pod["name"],
                "hostname": pod.get("hostname") if pod.get("subdomain") == service["name"] else None,
                "conditions": {"ready": service.get("publishNotReadyAddresses") or pod.get("ready", True)},
            }
            for pod in chosen
        ]
        return {
            "service": service["name"],
            "namespace": service["namespace"],
            "slice": f"{service['name']}-selected",
            "addresses": addresses,
            "ports": service["ports"],
        }

    def zone(self) -> Zone:
        zone = Zone()
        for namespace in self.namespaces:
            zone.set_namespace(namespace)
        for service in self.services:
            zone.set_service(self._service(service))
        for number, endpoints in enumerate(self.endpoints):
            for endpoint_slice in self._slices(number, endpoints):
                zone.set_slice(endpoint_slice)
        for pod in self.pods:
            zone.set_pod(pod["namespace"], pod["name"], parse_address(pod["ip"]))
        return zone

    def _service(self, row: dict) -> Service:
        spec = {
            "type": row["type"],
            "clusterIPs": row["clusterIPs"],
            "clusterIP": row["clusterIPs"][0] if row["clusterIPs"] else None,
            "ports": row["ports"],
            "externalName": row.get("externalName", ""),
            "selector": row.get("selector"),
            "publishNotReadyAddresses": row.get("publishNotReadyAddresses", False),
        }
        metadata = {"name": row["name"], "namespace": row["namespace"]}
        return Service.model_validate({"metadata": metadata, "spec": spec})

    def _slices(self, number: int, row: dict) -> list[EndpointSlice]:
        """A slice an address family, as the API has them; the source's fixtures mix families in one."""
        slices = []
        for family, mark in (("IPv4", "."), ("IPv6", ":")):
            endpoints = [
                {
                    "addresses": [next(self._fresh) if address["ip"].startswith("<") else address["ip"]],
                    "conditions": address.get("conditions", {}),
                    "hostname": address.get("hostname"),
                    "targetRef": {"kind": "Pod", "name": address["targetPod"]} if "targetPod" in address else None,
                }
                for address in row["addresses"]
                if mark in address["ip"] or (family == "IPv4" and address["ip"].startswith("<"))
            ]
            metadata = {
                "name": f"{row['slice']}-{number}-{family}",
                "namespace": row["namespace"],
                "labels": {"kubernetes.io/service-name": row["service"]},
            }
            if "cluster" in row:
                metadata["labels"] = {IMPORTED_SERVICE: row["service"], SOURCE_CLUSTER: row["cluster"]}
            value = {
                "metadata": metadata,
                "addressType": family,
                "endpoints": endpoints,
                "ports": row["ports"],
            }
            slices.append(EndpointSlice.model_validate(value))
        return slices

    def apply(self, when: str) -> None:
        """Bring the objects to the state that a query's `when` describes."""
        ips = re.findall(r"\d+\.\d+\.\d+\.\d+", when)
        if when.startswith("before"):
            return
        if ips and "added" in when:
            service = self.services[0]
            self.endpoints.append(
                {
                    "service": service["name"],
                    "namespace": service["namespace"],
                    "slice": service["name"],
                    "addresses": [{"ip": ip} for ip in ips],
                    "ports": service["ports"],
                }
            )
        elif ips and "changed" in when:
            for endpoints in self.endpoints:
                endpoints["addresses"] = [{**address, "ip": ip} for address, ip in zip(endpoints["addresses"], ips, strict=True)]
        elif "second subset" in when or "subset removed" in when:
            del self.endpoints[1:]
        elif "endpoints" in when:
            self.endpoints.clear()
        else:
            assert "delete" in when or "removed" in when, f"unknown state: {when!r}"
            self.services.clear()
            self.endpoints.clear()


def _plain(record: Record) -> dict:
    data = record.data
    if isinstance(data, Srv | Soa):
        rdata: object = {name: getattr(data, name) for name in data.__slots__}
    else:
        rdata = format_address(Address(data)) if isinstance(data, int) else data
    return {"name": record.name, "ttl": record.ttl, "type": record.type, "rdata": rdata}


def _agrees(expected: object, actual: object) -> bool:
    if expected is None or expected == "*":
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(_agrees(value, actual.get(key)) for key, value in expected.items())
    return expected == actual


def _missing(expected: list[dict], actual: list[dict]) -> tuple[list[dict], list[dict]]:
    """Expected records that are not there and actual ones that nobody expects (sections are sets)."""
    rest = list(actual)
    absent = []
    for row in expected:
        match = next((found for found in rest if _agrees(row, found)), None)
        if match is None:
            absent.append(row)
        else:
            rest.remove(match)
    return absent, rest


def _check_section(query: dict, section: str, answer: Answer, spec: bool) -> None:
    expected = query[section]
    if spec:
        expected = [{**row, "ttl": None} for row in expected]
    actual = [_plain(record) for record in getattr(answer, section)]
    absent, surplus = _missing(expected, actual)
    _, surplus = _missing(query.get(f"{section}_optional", []), surplus)
    assert (absent, surplus) == ([], []), f"{section}: (absent, unexpected)"


def _hosts(server: DnsServer | Autopath, qname: str, qtype: str) -> tuple[str, list[str]]:
    """rcode and hosts of a name, as kube-dns's own tests have them: addresses of both families, or a name."""
    if qtype != "ANY-ADDRESS":
        answer = server.answer(qname, qtype)
        return answer.rcode, [str(_plain(record)["rdata"]) for record in answer.answer]
    answers = [server.answer(qname, rtype) for rtype in ("A", "AAAA")]
    hosts = [format_address(address) for answer in answers for address in answer.addresses()]
    if not hosts:
        hosts = [str(record.data) for record in server.answer(qname, "CNAME").answer]
    return answers[0].rcode, hosts


def _check(server: DnsServer | Autopath, query: dict, spec: bool) -> None:
    qname, qtype = query["qname"], query["qtype"]
    if "answer_hosts" in query:
        rcode, hosts = _hosts(server, qname, qtype)
        assert rcode == query["rcode"]
        assert sorted(host.rstrip(".") for host in hosts) == sorted(h.rstrip(".") for h in query["answer_hosts"])
        return
    answer = server.answer(qname, qtype)
    assert answer.rcode == query["rcode"]
    assert answer.truncated == query.get("truncated", False)
    if "nodata" in query:
        assert answer.is_nodata == query["nodata"]
    for section in ("answer", "authority", "additional"):
        if section in query:
            _check_section(query, section, answer, spec)
    targets = [record.data.target if isinstance(record.data, Srv) else record.data for record in answer.answer]
    if "answer_count" in query:
        assert len(answer.answer) == query["answer_count"]
    if "additional_count" in query:
        assert len(answer.additional) == query["additional_count"]
    if "answer_target_regex" in query:
        assert all(re.search(query["answer_target_regex"], str(target)) for target in targets)
    if "answer_targets" in query:
        assert sorted(map(str, targets)) == sorted(query["answer_targets"])
    if "answer_port" in query:
        assert {record.data.port for record in answer.answer if isinstance(record.data, Srv)} == {query["answer_port"]}
    if "answer_target_ips" in query:
        ips = [format_address(ip) for target in targets for ip in server.answer(str(target), "A").addresses()]
        assert sorted(ips) == sorted(query["answer_target_ips"])
    if "additional_addresses" in query:
        glue = [[record.name, record.type, format_address(Address(record.data))] for record in answer.additional]
        assert sorted(glue) == sorted(query["additional_addresses"])


class Autopath:
    """A server whose `autopath` plugin walks the search path of the vector, or of a pod in the client's namespace."""

    def __init__(self, answer_of: AnswerOf, config: dict) -> None:
        self._answer_of = answer_of
        self._search = config.get("search") or pod_search_path(config["client_namespace"], "cluster.local")

    def answer(self, qname: str, qtype: str) -> Answer:
        return autopath(self._answer_of, qname, qtype, self._search)

    def asked_by_client(self, qname: str) -> str:
        """The first name that the client's resolver asks for."""
        return f"{qname.rstrip('.')}.{self._search[0]}"


def _records_answer(records: dict[str, str]) -> AnswerOf:
    def answer_of(qname: str, qtype: str) -> Answer:
        text = records.get(qname.lower(), "NXDOMAIN")
        if text == "NXDOMAIN":
            return Answer("NXDOMAIN")
        rtype, _, data = text.partition(" ")
        return Answer(answer=(_record({"name": qname, "type": rtype, "ttl": 3600, "rdata": data}),) if rtype == qtype else ())

    return answer_of


def _asked_server(vector: dict, query: dict) -> DnsServer | Autopath:
    config = vector["config"]
    if config.get("plugin") == "autopath":
        return Autopath(_records_answer(vector["objects"]["records"]), config)
    cluster = Cluster(vector["objects"])
    if "when" in query:
        cluster.apply(query["when"])
    zone = cluster.zone()
    zone.synced = config.get("synced", True)
    server = DnsServer(zone, _config(config, query))
    return Autopath(server.answer, config) if config.get("autopath") else server


def run(vector: dict) -> None:
    for query in vector["queries"]:
        server = _asked_server(vector, query)
        if query.get("client_relative") and isinstance(server, Autopath):
            query = {**query, "qname": server.asked_by_client(query["qname"])}
        try:
            _check(server, query, vector["config"]["server"] == "spec")
        except AssertionError as error:
            raise AssertionError(f"{query.get('id', '')} {query['qname']} {query['qtype']}: {error}") from error
