"""What the API server fills in of a Service. Cases from kubernetes pkg/registry/core/service (rest_test.go, ~v1.23)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.clock import Clock
from svcsim.engine.streams import Stream
from svcsim.kube.allocators import AddressRange, AllocationError, PortRange, band_offset
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.defaulting import default_pod
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.store import InvalidError, Store
from svcsim.linux.address import Prefix, format_address, parse_address

DUAL = ("1.2.3.0/24", "2000::/108")


def service(name="s", ports=({"port": 80},), **spec):
    metadata = {"name": name, "namespace": "d"}
    return Service.model_validate({"metadata": metadata, "spec": {"ports": list(ports), "selector": {"a": "b"}, **spec}})


def store(cidrs=DUAL):
    made = Store(Clock())
    made.admit("Service", ServiceRegistry(cidrs))
    return made


def with_spec(obj, **changes):
    return obj.model_copy(update={"spec": obj.spec.model_copy(update=changes)})


@pytest.mark.parametrize(("bits", "offset"), [(0, 0), (2, 0), (4, 0), (5, 16), (10, 64), (24, 256)])
def test_the_static_band_of_addresses(bits, offset):
    assert band_offset(1 << bits, 16, 256) == offset


@pytest.mark.parametrize(("size", "offset"), [(2768, 86), (10, 0), (16, 0), (128, 16), (2048, 64), (4096, 128)])
def test_the_static_band_of_ports(size, offset):
    assert band_offset(size, 32, 128) == offset


@pytest.mark.parametrize(
    ("cidr", "free"),
    [("10.0.0.0/15", 131070), ("192.168.1.0/25", 126), ("192.168.1.0/30", 2), ("192.168.1.1/32", 0), ("2001:db8:1::/48", 65535)],
)
def test_how_many_addresses_a_range_has(cidr, free):
    assert AddressRange(Prefix.parse(cidr), Stream(1, "t")).free == free


def test_a_range_is_used_up_exactly_and_its_static_band_last():
    pool = AddressRange(Prefix.parse("192.168.1.0/25"), Stream(1, "t"))
    drawn = [pool.allocate(f"s{index}") for index in range(126)]
    assert len(set(drawn)) == 126
    static = {parse_address(f"192.168.1.{index}") for index in range(1, 17)}
    assert set(drawn[-16:]) == static
    with pytest.raises(AllocationError, match="full"):
        pool.allocate("one more")
    pool.release(drawn[3])
    assert pool.allocate("another") == drawn[3]


@given(st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=50), st.integers(0, 2**40))
def test_another_services_draw_does_not_depend_on_the_order(order, seed):
    pool = AddressRange(Prefix.parse("10.96.0.0/12"), Stream(seed, "t"))
    reverse = AddressRange(Prefix.parse("10.96.0.0/12"), Stream(seed, "t"))
    drawn = {index: pool.allocate(str(index)) for index in order}
    again = {index: reverse.allocate(str(index)) for index in reversed(order)}
    assert set(drawn.values()) == set(again.values())


def test_ports_outside_the_range_or_taken_are_refused():
    ports = PortRange(Stream(1, "t"), 10000, 10200)
    assert ports.free == 201
    for port in (1, 10201):
        with pytest.raises(AllocationError, match="not in the range"):
            ports.reserve(port)
    ports.reserve(10000)
    with pytest.raises(AllocationError, match="already"):
        ports.reserve(10000)


@pytest.mark.parametrize(
    ("spec", "families", "kept"),
    [
        ({"clusterIP": "1.2.3.4"}, ("IPv4",), "1.2.3.4"),
        ({"clusterIP": "2000:0:0:0:0:0:0:1", "ipFamilies": ["IPv6"]}, ("IPv6",), "2000:0:0:0:0:0:0:1"),
        ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4"], "clusterIP": "1.2.3.4"}, ("IPv4", "IPv6"), "1.2.3.4"),
        ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}, ("IPv6", "IPv4"), None),
        ({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "1.2.3.4"}, ("IPv4", "IPv6"), "1.2.3.4"),
        ({}, ("IPv4",), None),
    ],
)
def test_cluster_ips_follow_the_families(spec, families, kept):
    made = store().create(service(**spec))
    assert made.spec.ip_families == families
    assert len(made.spec.cluster_ips) == len(families)
    assert made.spec.cluster_ip == made.spec.cluster_ips[0]
    if kept:
        assert made.spec.cluster_ip == kept
    for address, family in zip(made.spec.cluster_ips, families, strict=True):
        assert (":" in address) == (family == "IPv6")


def test_a_headless_service_gets_no_address_and_an_external_name_neither():
    made = store()
    assert made.create(service(clusterIP="None")).spec.cluster_ips == ("None",)
    assert made.create(service("e", type="ExternalName", externalName="a.b")).spec.cluster_ips == ()


def test_a_taken_address_is_refused_and_what_was_taken_before_is_given_back():
    made = store()
    made.create(service("first", clusterIP="1.2.3.4"))
    second = service("second", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6", "IPv4"],
                     clusterIPs=["2000::1", "1.2.3.4"])
    with pytest.raises(InvalidError, match=r"1\.2\.3\.4: is already allocated"):
        made.create(second)
    made.create(service("third", ipFamilies=["IPv6"], clusterIP="2000::1"))
    made.delete(Service, "d/first")
    assert made.create(service("fourth", clusterIP="1.2.3.4")).spec.cluster_ip == "1.2.3.4"


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "9.9.9.9"}, {"ipFamilies": ["IPv6"]}, {"ipFamilyPolicy": "RequireDualStack"}]
)
def test_what_a_single_stack_cluster_does_not_have_is_refused(spec):
    with pytest.raises(InvalidError):
        store(("1.2.3.0/24",)).create(service(**spec))


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([(53, "TCP", 30054), (53, "UDP", 30054)], [30054, 30054]),
        ([(53, "TCP", 30055), (53, "UDP", 30056)], [30055, 30056]),
        ([(53, "TCP", 30059), (53, "UDP", 0)], [30059, 30059]),
        ([(53, "TCP", 0), (53, "UDP", 30059)], [30059, 30059]),
    ],
)
def test_ports_of_one_number_share_a_node_port(ports, expected):
    given_ports = [{"name": f"p{i}", "port": p, "protocol": q, "nodePort": n} for i, (p, q, n) in enumerate(ports)]
    made = store().create(service(ports=given_ports, type="NodePort"))
    assert [port.node_port for port in made.spec.ports] == expected


def test_node_ports_are_drawn_from_the_upper_band_and_never_twice():
    made = store()
    services = [
        made.create(service(f"s{index}", [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], type="NodePort"))
        for index in range(60)
    ]
    ports = [port.node_port for one in services for port in one.spec.ports]
    assert len(set(ports)) == 120
    assert all(30086 <= port <= 32767 for port in ports)


def test_health_check_ports_belong_to_local_load_balancers_alone():
    made = store()
    local = made.create(service("l", type="LoadBalancer", externalTrafficPolicy="Local"))
    assert 30000 <= local.spec.health_check_node_port <= 32767
    assert local.spec.allocate_load_balancer_node_ports is True
    fixed = made.create(service("f", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30501))
    assert fixed.spec.health_check_node_port == 30501
    assert made.create(service("n", type="NodePort", externalTrafficPolicy="Local")).spec.health_check_node_port == 0
    changed = made.update(with_spec(fixed, external_traffic_policy="Cluster"))
    assert changed.spec.health_check_node_port == 0
    made.create(service("again", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30501))


def test_without_node_ports_for_load_balancers_only_those_asked_for_are_given():
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    made = store()
    assert made.create(service("a", **spec)).spec.ports[0].node_port == 0
    assert made.create(service("b", [{"port": 80, "nodePort": 30000}], **spec)).spec.ports[0].node_port == 30000


def test_an_update_keeps_what_the_client_leaves_out():
    made = store()
    old = made.create(service(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}], type="NodePort"))
    new = made.update(service(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}], type="NodePort",
                              sessionAffinity="ClientIP"))
    assert new.spec.cluster_ips == old.spec.cluster_ips
    assert new.spec.ports == old.spec.ports
    assert new.spec.affinity_timeout_seconds == 10800


def test_a_change_of_type_clears_what_the_new_one_has_no_use_for():
    made = store()
    old = made.create(service(type="NodePort"))
    plain = made.update(with_spec(old, type="ClusterIP", external_traffic_policy=None))
    assert plain.spec.ports[0].node_port == 0
    named = made.update(with_spec(plain, type="ExternalName", external_name="a.b"))
    assert (named.spec.cluster_ip, named.spec.cluster_ips, named.spec.ip_families) == (None, (), ())
    made.create(service("other", [{"port": 1, "nodePort": old.spec.ports[0].node_port}], type="NodePort",
                        clusterIP=old.spec.cluster_ip))


def test_a_node_port_of_a_dropped_port_is_free_again():
    made = store()
    pair = [{"name": "t", "port": 53, "nodePort": 30053}, {"name": "u", "port": 54, "nodePort": 30054}]
    old = made.create(service(ports=pair, type="NodePort"))
    made.update(with_spec(old, ports=old.spec.ports[:1]))
    made.create(service("other", [{"port": 1, "nodePort": 30054}], type="NodePort"))


@pytest.mark.parametrize(("first", "both"), [("IPv4", ("IPv4", "IPv6")), ("IPv6", ("IPv6", "IPv4"))])
def test_an_upgrade_to_dual_stack_allocates_the_second_address_and_a_downgrade_gives_it_back(first, both):
    made = store()
    old = made.create(service(ipFamilies=[first]))
    new = made.update(with_spec(old, ip_family_policy="RequireDualStack"))
    assert new.spec.ip_families == both
    assert new.spec.cluster_ips[0] == old.spec.cluster_ips[0]
    down = made.update(with_spec(new, ip_family_policy="SingleStack"))
    assert down.spec.cluster_ips == old.spec.cluster_ips
    made.create(service("other", ipFamilies=[both[1]], clusterIP=new.spec.cluster_ips[1]))


def test_an_upgrade_to_a_taken_second_address_is_refused():
    made = store()
    made.create(service("other", ipFamilies=["IPv6"], clusterIP="2000::7"))
    old = made.create(service())
    with pytest.raises(InvalidError):
        made.update(with_spec(old, ip_family_policy="RequireDualStack", cluster_ips=(*old.spec.cluster_ips, "2000::7")))


def test_target_ports_default_to_the_port():
    made = store().create(service(ports=[{"port": 80}, {"name": "n", "port": 81, "targetPort": "web"}]))
    assert [port.target_port for port in made.spec.ports] == [80, "web"]
    assert (made.spec.internal_traffic_policy, made.spec.external_traffic_policy) == ("Cluster", None)


def test_pods_bear_a_lost_node_for_five_minutes_unless_they_say_otherwise():
    plain = default_pod(Pod.model_validate({"metadata": {"name": "p"}}))
    assert {t.key: t.toleration_seconds for t in plain.spec.tolerations} == {
        "node.kubernetes.io/not-ready": 300, "node.kubernetes.io/unreachable": 300,
    }
    own = {"tolerations": [{"operator": "Exists"}]}
    assert len(default_pod(Pod.model_validate({"metadata": {"name": "p"}, "spec": own})).spec.tolerations) == 1


def test_the_first_address_of_the_range_can_be_asked_for():
    made = store(("10.96.0.0/12",)).create(service(clusterIP="10.96.0.1"))
    assert format_address(parse_address(made.spec.cluster_ip)) == "10.96.0.1"
