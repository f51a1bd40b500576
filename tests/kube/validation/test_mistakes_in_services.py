"""An invalid Service in a manifest is told with the API server's field path and reason, at its line."""

import pytest

from svcsim.errors import InputError
from svcsim.kube.manifests import parse_manifests

HEAD = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n"


@pytest.mark.parametrize(("spec", "message"), [
    ("  selector: {app: a}\n", "6:3: spec.ports: required"),
    ("  ports: [{port: 70000}]\n", "6:18: spec.ports[0].port: 70000 must be between 1 and 65535"),
    ("  ports:\n  - {port: 80}\n  - {name: b, port: 81}\n",
     "7:5: spec.ports[0].name: required: each of several ports needs a name"),
    ("  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n", "8:12: spec.ports[1].name: duplicate value 'a'"),
    ("  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n", "8:5: spec.ports[1]: duplicate value 'TCP 80'"),
    ("  ports: [{port: 80, nodePort: 30000}]\n", "6:32: spec.ports[0].nodePort: may not be used when type is 'ClusterIP'"),
    ("  ports: [{port: 80, name: A_b}]\n",
     "6:28: spec.ports[0].name: 'A_b' is not a DNS label (a-z, 0-9 and '-', no '-' at its ends)"),
    ("  type: LoadBalancer\n  ports: [{port: 10250}]\n",
     "7:11: spec.ports[0]: may not expose port 10250 externally since it is used by kubelet"),
    ("  type: NodePort\n  clusterIP: None\n  ports: [{port: 80}]\n",
     "7:14: spec.clusterIPs[0]: may not be set to 'None' for NodePort services"),
    ("  type: ExternalName\n", "6:3: spec.externalName: required"),
    ("  type: ExternalName\n  externalName: a..b\n",
     "7:17: spec.externalName: 'a..b' is not a DNS name of labels a-z, 0-9 and '-'"),
    ("  clusterIP: 10.96.0.999\n  ports: [{port: 80}]\n",
     "6:14: spec.clusterIPs[0]: '10.96.0.999' is not an IP address (such as 10.9.8.7 or 2001:db8::ffff)"),
    ("  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 90000}}\n  ports: [{port: 80}]\n",
     "7:54: spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be greater than 0 and no more than 86400"),
    ("  externalIPs: [127.0.0.1]\n  ports: [{port: 80}]\n",
     "6:17: spec.externalIPs[0]: 127.0.0.1 may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("  loadBalancerSourceRanges: [10.0.0.0/8]\n  ports: [{port: 80}]\n",
     "6:29: spec.loadBalancerSourceRanges: may only be used when type is 'LoadBalancer'"),
    ("  externalTrafficPolicy: Local\n  ports: [{port: 80}]\n",
     "6:26: spec.externalTrafficPolicy: may only be set for externally-accessible services"),
    ("  trafficDistribution: PreferFar\n  ports: [{port: 80}]\n",
     "6:24: spec.trafficDistribution: 'PreferFar' is not supported; there are PreferClose, PreferSameNode, PreferSameZone"),
    ("  ipFamilies: [IPv4, IPv4]\n  ports: [{port: 80}]\n", "6:22: spec.ipFamilies[1]: duplicate value 'IPv4'"),
])
def test_each_kind_of_mistake(spec, message):
    with pytest.raises(InputError) as caught:
        parse_manifests(HEAD.format(name="web") + spec, "m.yaml")
    assert f"m.yaml:{message}" in str(caught.value).splitlines()


def test_a_name_that_is_no_dns_label():
    with pytest.raises(InputError, match=r"m.yaml:4:9: metadata.name: "):
        parse_manifests(HEAD.format(name="1web") + "  ports: [{port: 80}]\n", "m.yaml")
