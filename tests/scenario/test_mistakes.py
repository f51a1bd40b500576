"""Each mistake in a scenario is one line: its place, its path, what is allowed, the nearest valid name."""

import pytest

from svcsim.errors import InputError
from svcsim.scenario import loads
from tests.scenario.samples import MANIFESTS, mistake, mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # names
        ("kubernets: {}", "1:1: kubernets: unknown field 'kubernets' (did you mean 'kubernetes'?)"),
        ("kind: Scenari", "1:7: kind: 'Scenari' is not one of Scenario (did you mean 'Scenario'?)"),
        ("apiVersion: svcsim/v2", "1:13: apiVersion: 'svcsim/v2' is not one of svcsim/v1 (did you mean 'svcsim/v1'?)"),
        ("metadata: {name: 'a b'}", "1:18: metadata.name: string should match pattern '^[A-Za-z0-9][-A-Za-z0-9._]*$'"),
        # kubernetes
        ("kubernetes: {proxy: {mode: iptable}}",
         "1:28: kubernetes.proxy.mode: 'iptable' is not one of userspace, iptables, ipvs, nftables (did you mean "
         "'iptables'?)"),
        ("kubernetes: {proxy: ipvz/rr}", "1:21: kubernetes.proxy: 'ipvz/rr' is no proxy mode (did you mean 'ipvs'?)"),
        ("kubernetes: {proxy: ipvs/wlcc}", "1:21: kubernetes.proxy: 'wlcc' is not one of"),
        ("kubernetes: {proxy: {mode: iptables, scheduler: lc}}",
         "1:21: kubernetes.proxy: a scheduler is IPVS's (mode: ipvs); mode iptables has none"),
        ("kubernetes: {proxy: {mode: nftables, backend: legacy}}",
         "1:21: kubernetes.proxy: the backend is that of iptables; mode nftables does not use it"),
        ("kubernetes: {version: '2.0'}", "1:23: kubernetes.version: there is no Kubernetes 2.0"),
        ("kubernetes: {version: latest}", "1:23: kubernetes.version: a version of Kubernetes is expected, as '1.31' or"),
        ("kubernetes: {version: 1.26, proxy: userspace}",
         "1:36: kubernetes.proxy.mode: mode userspace was removed in Kubernetes 1.26, so 1.26 does not have it"),
        ("kubernetes: {version: '1.7', proxy: {mode: ipvs}}",
         "1:44: kubernetes.proxy.mode: mode ipvs exists from Kubernetes 1.8.0-beta.0 on, not in 1.7"),
        ("kubernetes: {version: 1.28, proxy: {mode: nftables}}",
         "1:43: kubernetes.proxy.mode: mode nftables exists from Kubernetes 1.29 on, not in 1.28"),
        ("kubernetes: {version: '1.0', proxy: {mode: iptables}}",
         "1:44: kubernetes.proxy.mode: mode iptables exists from Kubernetes 1.1 on, not in 1.0"),
        ("kubernetes: {timings: {nodeMonitorGrase: 3s}}",
         "1:24: kubernetes.timings.nodeMonitorGrase: unknown field 'nodeMonitorGrase' (did you mean 'nodeMonitorGrace'?)"),
        ("kubernetes: {timings: {nodeMonitorGrace: 3}}",
         "1:42: kubernetes.timings.nodeMonitorGrace: a duration carries a unit, as in '250ms' or '30s' (got 3)"),
        ("kubernetes: {timings: {nodeMonitorPeriod: 0s}}",
         "1:43: kubernetes.timings.nodeMonitorPeriod: a period of at least 1ms is expected here (got '0s')"),
        ("kubernetes: {timings: {maxEndpointsPerSlice: 0}}",
         "1:46: kubernetes.timings.maxEndpointsPerSlice: 0 is out of range: at least 1 is allowed"),
        ("kubernetes: {proxy: {mode: ipvs, syncPeriod: 1ns}}",
         "1:46: kubernetes.proxy.syncPeriod: a period of at least 1ms is expected here (got '1ns')"),
        ("kubernetes: {serviceCIDR: 10.96.0.1/12}",
         "1:27: kubernetes.serviceCIDR: not a block of addresses: 10.96.0.1/12 has host bits set"),
        ("kubernetes: {dns: {server: bind}}", "1:28: kubernetes.dns.server: 'bind' is not one of coredns, kube-dns"),
        # cluster
        ("cluster: {nodes: 0}", "1:18: cluster.nodes: 0 is out of range: at least 1 is allowed"),
        ("cluster: {nodes: {count: many}}", "1:26: cluster.nodes.count: a whole number is expected, not 'many'"),
        ("cluster: {nodes: {count: 99999}}", "1:26: cluster.nodes.count: 99999 is out of range: at most 5000 is allowed"),
        ("cluster: {nodes: [{name: a}, {name: a}]}", "1:18: cluster.nodes: two nodes are called 'a'"),
        ("cluster: {nodes: [{name: a, zone: x, zones: [y]}]}", "1:19: cluster.nodes[0]: give either 'zone' or 'zones'"),
        ("cluster: {nodes: {cors: 4}}", "1:19: cluster.nodes.cors: unknown field 'cors' (did you mean 'cores'?)"),
        ("cluster: {network: {rtt: {sameZone: 200}}}",
         "1:37: cluster.network.rtt.sameZone: a duration carries a unit, as in '250ms' or '30s' (got 200)"),
        ("cluster: {network: {rtt: {crossZone: -1ms}}}",
         "1:38: cluster.network.rtt.crossZone: a duration is not negative (got '-1ms')"),
        ("cluster: {network: {loss: 120%}}", "1:27: cluster.network.loss: a share lies between 0 and 1"),
        ("cluster: {network: {bandwidth: 10G}}",
         "1:32: cluster.network.bandwidth: not a bandwidth: '10G' (write '100Mbit/s' or '10Gbit/s')"),
        ("cluster: {network: {cni: calico}}", "1:26: cluster.network.cni: 'calico' is not one of bridge, routed"),
        ("cluster: {network: {links: [{between: [node/worker-1], loss: 1%}]}}",
         "1:39: cluster.network.links[0].between: at least 2 items expected here"),
        ("cluster: {network: {links: [{between: [node/worker-1, node/worker-9], loss: 1%}]}}",
         "1:55: cluster.network.links[0].between[1]: there is no node 'worker-9' (did you mean 'worker-3'?)"),
        ("cluster: {nodes: 300}",
         "1:10: cluster.network.podCIDR: 10.244.0.0/16 has room for 256 nodes, not for 300: take a larger block, such as"),
        ("cluster: {nodes: 20, network: {nodeCIDR: 192.168.1.0/28}}",
         "1:42: cluster.network.nodeCIDR: 192.168.1.0/28 has room for 5 nodes, not for 20"),
        ("cluster: {outside: [{name: db, address: db.example}]}",
         "1:41: cluster.outside[0].address: 'db.example' is not an IP address"),
        ("cluster: {conntrack: {max: 0}}", "1:28: cluster.conntrack.max: 0 is out of range: at least 1 is allowed"),
        # workloads
        ("workloads: [{to: web}]", "1:18: workloads[0].to: not a URL: 'web' (write 'http://web.default.svc:80')"),
        ("workloads: [{to: 'htp://web'}]", "1:18: workloads[0].to: unknown scheme 'htp' (did you mean 'http'?)"),
        ("workloads: [{to: 'tcp://web'}]", "1:18: workloads[0].to: a port is missing: tcp://web:PORT"),
        ("workloads: [{to: 'http://web:99999'}]", "1:18: workloads[0].to: a port lies between 1 and 65535 (got 99999)"),
        ("workloads: [{to: 'http://wep'}]",
         "1:18: workloads[0].to: there is no Service 'wep' in namespace 'default' (did you mean 'web'?)"),
        ("workloads: [{to: 'http://web.shop.svc'}]",
         "1:18: workloads[0].to: there is no Service 'web' in namespace 'shop', but one in 'default'"),
        ("workloads: [{to: 'http://web:81'}]", "1:18: workloads[0].to: Service web has no port 81 (it has 80/TCP 'http')"),
        ("workloads: [{to: 'udp://web:80'}]", "1:18: workloads[0].to: port 80 of Service web is TCP, and udp:// is UDP"),
        ("workloads: [{to: 'nodePort://web:80'}]",
         "1:18: workloads[0].to: Service web is of type ClusterIP and has no node port"),
        ("workloads: [{to: 'http://www.example.com'}]",
         "1:18: workloads[0].to: 'www.example.com' is neither a Service's name (write 'web.default.svc') nor a host"),
        ("workloads: [{from: {deployment: clint}}]", "1:20: workloads[0].from: there is no deployment 'clint' (valid: web)"),
        ("workloads: [{from: {node: worker-7}}]",
         "1:20: workloads[0].from: there is no node 'worker-7' (did you mean 'worker-3'?)"),
        ("workloads: [{from: {outside: laptop}}]",
         "1:20: workloads[0].from: there is no host outside 'laptop' under cluster.outside"),
        ("workloads: [{from: {labels: {app: wep}}}]", "1:20: workloads[0].from: no pod of namespace default has these labels"),
        ("workloads: [{from: {pod: a, node: b}}]",
         "1:20: workloads[0].from: give exactly one of deployment, daemonset, statefulset, pod,"),
        ("workloads: [{from: web}]", "1:20: workloads[0].from: who sends is written as 'deployment/client', not 'web'"),
        ("workloads: [{balancing: least_requests}]",
         "1:25: workloads[0].balancing: 'least_requests' is not one of pick_first, round_robin, random, least_request (did you"),
        ("workloads: [{balancing: {policy: round_robin, choiceCount: 3}}]",
         "1:25: workloads[0].balancing: 'choiceCount' and 'selectionMethod' are for least_request, not for round_robin"),
        ("workloads: [{balancing: {policy: least_request, choiceCount: 1}}]",
         "1:62: workloads[0].balancing.choiceCount: 1 is out of range: at least 2 is allowed"),
        ("workloads: [{balancing: {policy: least_request, selectionMethod: FULL_SCAN, choiceCount: 2}}]",
         "1:25: workloads[0].balancing: FULL_SCAN compares all addresses: leave 'choiceCount' out"),
        ("workloads: [{outlierDetection: {failurePercentage: {}}}]",
         "1:13: workloads[0]: 'outlierDetection' is for clients that choose among addresses: give 'balancing' as well"),
        ("workloads: [{balancing: random, outlierDetection: {interval: 5s}}]",
         "1:51: workloads[0].outlierDetection: give 'failurePercentage', 'successRate' or both: without them no address is"),
        ("workloads: [{balancing: random, resolve: connection}]",
         "1:13: workloads[0]: a client that balances keeps the addresses of a name: resolve is interval(30s) or once"),
        ("workloads: [{arrivals: {poison: 400/s}}]",
         "1:25: workloads[0].arrivals.poison: unknown field 'poison' (did you mean 'poisson'?)"),
        ("workloads: [{arrivals: {poisson: 400}}]",
         "1:34: workloads[0].arrivals.poisson: a rate is expected, as '400/s' or '30/min', not 400"),
        ("workloads: [{arrivals: {poisson: 1/s, constant: 2/s}}]",
         "1:24: workloads[0].arrivals: give exactly one of poisson, constant, onoff, ramp, closed"),
        ("workloads: [{arrivals: {closed: {users: 0}}}]",
         "1:41: workloads[0].arrivals.closed.users: 0 is out of range: at least 1"),
        ("workloads: [{arrivals: {ramp: {from: 0/s, to: 0/s}}}]",
         "1:31: workloads[0].arrivals.ramp: at least one rate is more than zero"),
        ("workloads: [{timeout: 0s}]", "1:23: workloads[0].timeout: the duration is more than zero here (got '0s')"),
        ("workloads: [{timeout: 1e400}]", "1:23: workloads[0].timeout: the number 1e400 is too large"),
        ("workloads: [{timeout: .nan}]", "1:23: workloads[0].timeout: .nan is not a number to compute with"),
        ("workloads: [{timeout: [1s]}]", "1:23: workloads[0].timeout: a duration is expected, as '250ms' or '30s', not a list"),
        ("workloads: [{timeout: 999999d}]", "1:23: workloads[0].timeout: '999999d' is longer than the limit of 366 days"),
        ("workloads: [{retries: {on: [refusd]}}]",
         "1:29: workloads[0].retries.on[0]: 'refusd' is no failure to retry on (did you mean"),
        ("workloads: [{resolve: sometimes}]",
         "1:23: workloads[0].resolve: one of connection, interval(30s), once, never is expected,"),
        ("workloads: [{resolve: interval(0s)}]", "1:23: workloads[0].resolve: the interval is more than zero"),
        ("workloads: [{name: a}, {name: a}]", "1:31: workloads[1].name: two workloads are called 'a'"),
        ("workloads: [{start: 2m}]", "1:21: workloads[0].start: the run ends before, after 1m"),
        ("workloads: {name: a}", "1:12: workloads: a list is expected, not a mapping"),
        # servers
        ("servers: [{serviceTime: 2}]", "1:25: servers[0].serviceTime: a duration carries a unit"),
        ("servers: [{serviceTime: {lognormal: {median: 9ms, p99: 8ms}}}]",
         "1:37: servers[0].serviceTime.lognormal: p99 is not below the median"),
        ("servers: [{serviceTime: {gamma: {mean: 9ms}}}]", "1:33: servers[0].serviceTime.gamma: give either 'cv' or 'shape'"),
        ("servers: [{serviceTime: {uniform: {min: 9ms, max: 8ms}}}]",
         "1:35: servers[0].serviceTime.uniform: max is not below min"),
        ("servers: [{serviceTime: {}}]", "1:25: servers[0].serviceTime: give exactly one of constant, exponential, lognormal,"),
        ("servers: [{serviceTime: {empirical: none.txt}}]", "1:37: servers[0].serviceTime.empirical: cannot read"),
        ("servers: [{drain: maybe}]", "1:19: servers[0].drain: 'maybe' is not one of finish, exit, ignore"),
        ("servers: [{match: {app: 5}}]", "1:25: servers[0].match.app: a string is expected, not 5"),
        # faults
        ("faults: [{at: 3s, kil: deployment/web}]", "1:10: faults[0]: unknown fault 'kil' (did you mean 'kill'?)"),
        ("faults: [{at: 3s}]", "1:10: faults[0]: nothing goes wrong here; name one of kill, delete, hang,"),
        ("faults: [{at: 3s, kill: pod/a, down: node/b}]", "1:10: faults[0]: one fault at a time: both kill and down stand here"),
        ("faults: [5]", "1:10: faults[0]: a fault is a mapping, as {at: 30s, kill: 'deployment/web[1]'}"),
        ("faults: [{kill: deployment/web}]", "1:10: faults[0]: 'at' is missing"),
        ("faults: [{at: 3s, kill: deployment/web, for: 3s}]", "1:41: faults[0].for: unknown field 'for' (valid: at, kill, name)"),
        ("faults: [{at: 3s, kill: web}]", "1:25: faults[0].kill: not a target: 'web' (write 'deployment/web[1]', 'pod/web-0' or"),
        ("faults: [{at: 3s, kill: deploymnt/web}]",
         "1:25: faults[0].kill: unknown kind 'deploymnt' in 'deploymnt/web' (did you mean"),
        ("faults: [{at: 3s, kill: deployment/wep}]", "1:25: faults[0].kill: there is no deployment 'wep' (did you mean 'web'?)"),
        ("faults: [{at: 3s, kill: 'deployment/web[3]'}]", "1:25: faults[0].kill: deployment/web has 3 pods, [0] to [2]"),
        ("faults: [{at: 3s, kill: node/worker-1}]", "1:10: faults[0]: kill is aimed at pods, and node/worker-1 is none of them"),
        ("faults: [{at: 3s, down: deployment/web}]",
         "1:10: faults[0]: down is aimed at nodes, and deployment/web is none of them"),
        ("faults: [{at: 3s, down: node/worker-9}]",
         "1:25: faults[0].down: there is no node 'worker-9' (did you mean 'worker-3'?)"),
        ("faults: [{at: 3s, down: zone/z}]", "1:25: faults[0].down: there is no zone 'z'"),
        ("faults: [{at: 3s, down: node/worker-1, for: 0s}]",
         "1:45: faults[0].for: the duration is more than zero here (got '0s')"),
        ("faults: [{at: -3s, kill: deployment/web}]", "1:15: faults[0].at: a duration is not negative (got '-3s')"),
        ("faults: [{at: 3s, slow: deployment/web, factor: fast}]",
         "1:49: faults[0].factor: a factor is expected, as 10 or '10x', not 'fast'"),
        ("faults: [{at: 3s, loss: 5%}]", "1:10: faults[0]: 'on' is missing"),
        ("faults: [{at: 3s, scale: node/worker-1, replicas: 3}]",
         "1:10: faults[0]: a Deployment, StatefulSet, ReplicaSet or ReplicationController is scaled, not node/worker-1"),
        ("faults: [{at: 3s, scale: deployment/web, replicas: 1000000000}]",
         "1:52: faults[0].replicas: 1000000000 is out of range: at most 150000 is allowed"),
        ("kubernetes: {dns: {replicas: 1000000000}}",
         "1:30: kubernetes.dns.replicas: 1000000000 is out of range: at most 5000 is allowed"),
        ("faults: [{at: 3s, kill: {labels: {app: wep}}}]", "1:25: faults[0].kill: no pod of namespace default has these labels"),
        ("faults: [{at: 3s, apply: {file: none.yaml}}]", "1:26: faults[0].apply: cannot read"),
        ("faults: [{at: 3s, apply: {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {prts: []}}}]",
         "1:86: faults[0].apply.spec.prts: unknown field 'prts' (did you mean 'ports'?)"),
        ("faults: [{at: 1s, name: a, dns: down}, {at: 2s, name: a, dns: down}]",
         "1:55: faults[1].name: two faults are called 'a'"),
        # run
        ("run: {duration: 10s, warmup: 10s}",
         "1:6: run: warmup (10s) is shorter than duration (10s), or nothing would be measured"),
        ("run: {seed: -1}", "1:13: run.seed: -1 is out of range: at least 0 is allowed"),
        ("run: {seed: 1.5}", "1:13: run.seed: a whole number is expected, not 1.5"),
        ("run: {seed: 99999999999999999999}",
         "1:13: run.seed: the number 99999999999999999999… is beyond the limit of 9223372036854775807"),
        ("run: {replications: 0}", "1:21: run.replications: 0 is out of range: at least 1 is allowed"),
        ("run: 5", "1:6: run: a mapping is expected, not 5"),
        ("run:\n  seed: 1\n  seed: 2", "3:3: run.seed: the key 'seed' stands twice in this mapping (first in line 2)"),
        # services
        ("services: {count: 0}", "1:19: services.count: 0 is out of range"),
        ("services: {count: 100000, endpoints: 20, endpointCIDR: 10.0.0.0/24}",
         "1:11: services: 10.0.0.0/24 has room for 254 endpoints, not for 2000000"),
        # compare
        ("compare: {run.seed: 1}",
         "1:10: compare: a list of values for 'run.seed' is expected (or a mapping from label to value), not 1"),
        ("compare: {kubernetes.proxy: [iptables, ipvz]}", "1:40: compare['kubernetes.proxy'][1]: 'ipvz' is no proxy mode"),
        ("compare: {kubernetes.prxy.mode: [iptables]}", "1:34: compare['kubernetes.prxy.mode'][0]"),
        ("compare: {'workloads[7].timeout': [1s]}",
         "1:11: compare['workloads[7].timeout']: the scenario has no workloads to choose '7' from"),
        ("compare: {run.seed: [1, 1]}", "1:10: compare: two combinations are called 'seed=1'; give labels, as {name: value, …}"),
        # expect
        ("expect: [{metric: latency.p9, below: 1ms}]",
         "1:10: expect[0]: there is no metric 'latency.p9' (did you mean 'latency.p"),
        ("expect: [p99 < 20]", "1:10: expect[0]: a bound on latency.p99 carries a unit, as in '20ms' (got '20')"),
        ("expect: [p99 ~ 20ms]", "1:10: expect[0]: not an expectation: 'p99 ~ 20ms' (write 'p99 < 20ms' or"),
        ("expect: [{metric: p99}]", "1:10: expect[0]: a bound is missing: give below, above, atMost or atLeast"),
        ("expect: [{metric: success, above: 99.9}]", "1:10: expect[0]: a share lies between 0 and 1"),
        ("expect: [{metric: p99, below: 1ms, above: 2ms}]", "1:10: expect[0]: no value keeps both bounds"),
        ("expect: [{metric: p99, below: 1ms, during: 5s-30s}]", "1:44: expect[0].during: not a window of time: '5s-30s'"),
        ("expect: [{metric: p99, below: 1ms, during: 30s..5s}]", "1:44: expect[0].during: the window 30s..5s is empty"),
        ("expect: [{metric: p99, below: 1ms, during: 70s..80s}]",
         "1:44: expect[0].during: nothing is sent in the window 1m10s..1m20s of a run of 1m"),
        ("expect: [{metric: p99, below: 1ms, during: 'fault[0]..'}]", "1:10: expect[0]: there is no fault [0] (there are 0)"),
        ("faults: [{name: off, at: 2m, down: node/worker-1}]\nexpect: [{metric: synced, fault: off, below: 65s}]",
         "2:10: expect[0]: synced can't be measured: fault[off] comes at 2m, when the run of 1m is over"),
        ("faults: [{at: 2m, down: node/worker-1}, {at: 1m, down: node/worker-2}]\nexpect: ['outage < 65s']",
         "2:10: expect[0]: outage can't be measured: the first fault comes at 1m, when the run of 1m is over"),
        ("expect: [{metric: p99, below: 1ms, workload: w}]", "1:46: expect[0].workload: there is no workload 'w' (valid: load)"),
        # families of IP
        ("cluster: {network: {podCIDR: 'fd00::/48'}}",
         "1:30: cluster.network.podCIDR: Services have IPv4 (serviceCIDR), but pods have no block of it: fd00::/48"),
        ("kubernetes: {serviceCIDR: 'fd00:10:96::/112'}\ncluster: {network: {nodeCIDR: 10.0.0.0/16}}",
         "2:31: cluster.network.nodeCIDR: pods have IPv6 (podCIDR), but nodes have no block of it: 10.0.0.0/16"),
        ("kubernetes: {serviceCIDR: [10.96.0.0/12, 'fd00:10:96::/112']}\n"
         "cluster: {network: {nodeCIDR: ['fd00::/64', 10.0.0.0/16]}}",
         "2:31: cluster.network.nodeCIDR: the first block is of the primary family, which nodes and pods share: pods"),
        ("kubernetes: {serviceCIDR: '10.96.0.0/12,10.112.0.0/12'}",
         "1:27: kubernetes.serviceCIDR: of two, one is IPv4 and one is IPv6 (both are IPv4: 10.96.0.0/12, 10.112.0.0/12)"),
        ("kubernetes: {serviceCIDR: '10.96.0.0/12,fd00::1/112'}",
         "1:27: kubernetes.serviceCIDR: not a block of addresses: fd00::1/112 has host bits set"),
        ("kubernetes: {serviceCIDR: [10.96.0.0/12, 'fd00::/112', 'fd01::/112']}",
         "1:27: kubernetes.serviceCIDR: a block of addresses is expected, or one of IPv4 and one of IPv6 (got 3)"),
        ("cluster: {outside: [{name: a, address: '2001:db8::1'}]}",
         "1:40: cluster.outside[0].address: 2001:db8::1 is IPv6, and nodes have IPv4 alone (kubernetes.serv"),
        ("cluster: {nodes: {list: [{name: a, address: 'fd00::1'}]}}",
         "1:45: cluster.nodes.list[0].address: fd00::1 is IPv6, and nodes have IPv4 alone"),
        ("workloads: [{family: IPv6}]", "1:22: workloads[0].family: the clients have no address of IPv6"),
        ("workloads: [{to: 'http://10.0.0.1:80', family: IPv5}]", "1:48: workloads[0].family:"),
        ("kubernetes: {serviceCIDR: '10.96.0.0/12,fd00:10:96::/112'}\nworkloads: [{to: 'http://10.0.0.1:80', family: IPv6}]",
         "2:48: workloads[0].family: 10.0.0.1 is IPv4"),
        ("workloads: [{to: 'http://node/worker-1:30080'}]",
         "1:18: workloads[0].to: a node's port is written by the Service that has it, as nodePort://web:80?node=worker-1"),
        ("workloads: [{to: 'https://kubernetes:443'}]",
         "1:18: workloads[0].to: there is no Service 'kubernetes' in namespace 'default' (valid: web)"),
        ("expect: ['outage < 5s']", "1:10: expect[0]: outage is a figure of a fault, and the scenario has none"),
        ("expect: [{metric: p99, below: 1ms, mode: ipvs}]", "1:42: expect[0].mode: there is no variant 'ipvs' (valid: iptables)"),
        ("expect: [{metric: p99, below: 1ms, fault: 0}]",
         "1:10: expect[0]: latency.p99 is not a figure of a fault; choose the time with"),
        ("expect: [{metric: outage, below: 1s, workload: load}]",
         "1:10: expect[0]: outage is a figure of a fault and knows neither workload, endpoint nor window"),
        # calibration
        ("calibration: none.toml", "1:14: calibration.profile: cannot read"),
        ("calibration: linux-6.18-measurd",
         "1:14: calibration.profile: no cost profile 'linux-6.18-measurd' (did you mean 'linux-6.18-measured'?)"),
        ("calibration: {overrides: {path.forwrd: 3}}",
         "1:40: calibration.overrides['path.forwrd']: profile linux-6.18-measured has no entry 'path.forwrd' (did you mean"),
        ("calibration: {overrides: {path.forward: -3}}",
         "1:41: calibration.overrides['path.forward']: -3 is out of range: at least 0"),
        ("calibration: {profil: x}", "1:15: calibration.profil: unknown field 'profil' (did you mean 'profile'?)"),
    ],
)
def test_each_mistake_has_its_place_and_says_what_is_right(text: str, message: str) -> None:
    assert mistake(text)[: len(message)] == message


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ("", "1:1: workloads[0]: 'to' is missing, and the manifests hold no Service (write 'to: http://web.default.svc:80')"),
        ("manifests: {a: 1}\nworkloads: []", "2:12: manifests: a list is expected, not a mapping"),
        ("manifests: [none.yaml]\nworkloads: []", "2:13: manifests[0].file: cannot read"),
        ("manifests: [{file: none.yaml}]\nworkloads: []", "2:20: manifests[0].file: cannot read"),
        ("manifests: [{fil: 1, file: none.yaml}]\nworkloads: []", "2:14: manifests[0].fil: unknown field 'fil' beside 'file'"),
        ("manifests: [7]\nworkloads: []", "2:13: manifests[0]: a Kubernetes object is expected here, not 7"),
    ],
)
def test_mistakes_in_the_list_of_manifests(manifests: str, message: str) -> None:
    assert mistakes("kind: Scenario", manifests)[0].removeprefix("s.yaml:").startswith(message)


@pytest.mark.parametrize("workload", ["{}", "{to: 'http://web', from: deployment/web}"])
def test_a_mistake_in_a_manifest_is_told_once_and_not_as_an_object_that_is_missing(workload: str) -> None:
    broken = MANIFESTS.replace("selector: {app: web}, ports", "selectr: {app: web}, ports").replace("replicas: 3", "replicas: x")
    found = mistakes(f"workloads: [{workload}]\nfaults: [{{at: 1s, kill: deployment/web}}]", broken)
    assert [message.rpartition(": ")[2] for message in found] == [
        "unknown field 'selectr' (did you mean 'selector'?)", "a whole number is expected, not 'x'"]


def test_what_the_api_server_could_not_allocate_is_a_mistake() -> None:
    def service(name: str, spec: str) -> str:
        return f"  - {{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 1}}], {spec}}}}}\n"

    found = mistakes("workloads: [{to: 'http://web'}]", MANIFESTS + service("a", "clusterIP: 10.0.0.1")
                     + service("b", "clusterIP: 10.96.0.77") + service("c", "clusterIP: 10.96.0.77")
                     + service("d", "clusterIP: 10.96.0.10")
                     + service("e", "type: NodePort").replace("port: 1", "port: 1, nodePort: 80"))
    assert [message.removeprefix("s.yaml:").partition(":1: ")[2] for message in found] == [
        "Service default/a: spec.clusterIPs: 10.0.0.1: provided IP is not in the valid range 10.96.0.0/12",
        "Service default/c: spec.clusterIPs: 10.96.0.77: is already allocated",
        "Service default/d: 10.96.0.10 is the address of cluster DNS, kube-system/kube-dns",
        "Service default/e: port 80 is not in the range 30000-32767",
    ]


def test_which_service_is_meant_is_asked_if_there_are_several() -> None:
    spec = "{selector: {app: web}, ports: [{port: 1}]}"
    second = MANIFESTS + f"  - {{apiVersion: v1, kind: Service, metadata: {{name: b}}, spec: {spec}}}\n"
    assert mistake("", second) == "3:1: workloads[0]: 'to' is missing, and there are 2 Services: web, b (write 'to: http://web.default.svc:80')"


def test_mistakes_are_told_together_in_the_order_of_their_lines() -> None:
    faults = "faults:\n  - {at: 5, kill: pod/x}\n"
    found = mistakes("run: {seed: x}\n" + faults + "workloads:\n  - {timeout: .inf, retries: {attempts: 0}}\n")
    assert [message.partition(" ")[0] for message in found] == ["s.yaml:1:13:", "s.yaml:3:10:", "s.yaml:5:15:", "s.yaml:5:41:"]


def test_a_path_that_leads_nowhere_is_told_once_for_all_of_its_values() -> None:
    assert mistake("compare: {'manifests[deployment/wb].spec.replicas': [1, 2]}") == (
        "1:11: compare['manifests[deployment/wb].spec.replicas']: no item is called 'deployment/wb'"
        " (did you mean 'deployment/web'?)")
    assert mistake("compare: {'workloads[a].timeout': [1s, 2s]}") == (
        "1:11: compare['workloads[a].timeout']: the scenario has no workloads to choose 'a' from")


def test_a_node_port_is_not_the_port_to_write() -> None:
    manifests = MANIFESTS.replace("port: 80,", "port: 80, nodePort: 30080,")
    manifests = manifests.replace("spec: {selector", "spec: {type: NodePort, selector")
    assert mistake("workloads: [{to: 'nodePort://web:30080'}]", manifests) == (
        "1:18: workloads[0].to: 30080 is the node port of port 80: write nodePort://web:80")


def test_a_tab_and_a_misspelt_kind_are_called_what_they_are() -> None:
    assert mistake("run:\n\tduration: 3s") == "2:1: not valid YAML: a tab cannot indent; use spaces"
    assert mistake("apiVersion: svcsim/v1\nkind: Scenaro") == "2:7: kind: 'Scenaro' is not Scenario, the kind of a scenario file"


def test_a_manifest_is_not_taken_for_a_scenario() -> None:
    assert mistakes("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "") == [
        "s.yaml:2:7: kind: this is a manifest of kind Service, not a scenario; name it under 'manifests: [{file: …}]'"]
    assert mistakes("- a\n", "") == ["s.yaml:1:1: a scenario is a mapping, not a list"]
    assert mistakes("just text\n", "") == ["s.yaml:1:1: a scenario is a mapping, not 'just text'"]
    assert mistakes("", "") == ["s.yaml:1:1: the file is empty"]


def test_a_mistake_in_an_override_names_the_override() -> None:
    assert mistakes("", overrides={"kubernetes.proxy.mode": "ipvz"})[0].startswith(
        "--set kubernetes.proxy.mode=ipvz: kubernetes.proxy.mode: 'ipvz' is not one of")
    assert mistakes("", overrides={"kubernetes.prxy": 1}) == [
        "--set kubernetes.prxy=1: kubernetes.prxy: unknown field 'prxy' (did you mean 'proxy'?)"]
    assert mistakes("", overrides={"a[": 1}) == ["--set a[=1: not a path: 'a[' (a bracket is open or empty)"]


def test_a_version_is_held_against_each_compared_mode() -> None:
    assert mistake("kubernetes: {version: 1.29}\ncompare:\n  kubernetes.proxy:\n    - iptables\n    - userspace") == (
        "5:7: compare['kubernetes.proxy'][1].mode: mode userspace was removed in Kubernetes 1.26, so 1.29 does not"
        " have it")


def test_a_mistake_in_a_manifest_file_is_told_where_it_stands(tmp_path) -> None:
    from svcsim.errors import InputError
    from svcsim.scenario import load

    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  port: 80\n  ports: [{port: 80}]\n"
    (tmp_path / "web.yaml").write_text(service)
    (tmp_path / "s.yaml").write_text("manifests:\n  - file: web.yaml\nrun: {seed: x}\n")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "s.yaml")
    assert [(problem.file.rpartition("/")[2], problem.line, problem.path) for problem in caught.value.problems] == [
        ("web.yaml", 5, "spec.port"), ("s.yaml", 3, "run.seed")]


def test_a_family_that_the_cluster_does_not_have_is_refused_with_what_would_give_it() -> None:
    text = (
        "workloads: []\n"
        "manifests: [{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ipFamilies: [IPv6], ports: [{port: 80}]}}]\n"
    )
    with pytest.raises(InputError) as caught:
        loads(text)
    assert "2:1: Service default/s: spec.ipFamilies: IPv6 is not configured on this cluster (kubernetes.serviceCIDR: 10" in str(
        caught.value
    )
    assert loads(text, overrides={"kubernetes.serviceCIDR": "fd00:10:96::/112"}).kubernetes.families == ("IPv6",)
