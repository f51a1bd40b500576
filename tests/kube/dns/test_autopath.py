"""autopath: the server walks the search path, and says so with a CNAME."""

from svcsim.kube.dns.autopath import autopath, pod_search_path
from svcsim.kube.dns.records import Answer, Record
from svcsim.linux.address import parse_address

SEARCH = pod_search_path("shop", "cluster.local")


def world(*names):
    def answer_of(name, rtype):
        asked.append(name)
        return Answer(answer=(Record(name, "A", 30, parse_address("10.96.0.1")),)) if name in names else Answer("NXDOMAIN")

    asked = []
    return answer_of, asked


def test_the_search_path_is_walked_to_the_first_name_that_there_is():
    answer_of, asked = world("web.other.svc.cluster.local.")
    answer = autopath(answer_of, "web.other.shop.svc.cluster.local.", "A", SEARCH)
    assert asked == ["web.other.shop.svc.cluster.local.", "web.other.svc.cluster.local."]
    assert [(record.name, record.type) for record in answer.answer] == [
        ("web.other.shop.svc.cluster.local.", "CNAME"), ("web.other.svc.cluster.local.", "A"),
    ]


def test_a_name_in_the_first_domain_needs_no_cname():
    answer_of, _ = world("web.shop.svc.cluster.local.")
    assert [record.type for record in autopath(answer_of, "web.shop.svc.cluster.local.", "A", SEARCH).answer] == ["A"]


def test_the_bare_name_is_the_last_to_be_tried():
    answer_of, asked = world("example.com.")
    autopath(answer_of, "example.com.shop.svc.cluster.local.", "A", SEARCH)
    assert asked[-1] == "example.com."


def test_where_nothing_is_found_the_first_denial_stands():
    answer_of, asked = world()
    assert autopath(answer_of, "nobody.shop.svc.cluster.local.", "A", SEARCH) == Answer("NXDOMAIN")
    assert len(asked) == 4


def test_other_names_are_answered_as_they_are():
    answer_of, asked = world("web.other.svc.cluster.local.")
    autopath(answer_of, "web.other.svc.cluster.local.", "A", SEARCH)
    assert asked == ["web.other.svc.cluster.local."]
