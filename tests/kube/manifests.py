"""Manifests in the shapes that published demo applications and kubectl have, for tests."""

GUESTBOOK = """
# SOURCE: a small guestbook
apiVersion: v1
kind: Service
metadata:
  name: redis-master
  labels: {app: redis, tier: backend, role: master}
spec:
  ports:
  - port: 6379
    targetPort: 6379
  selector: {app: redis, tier: backend, role: master}
---
apiVersion: apps/v1 # for versions before 1.9.0 use apps/v1beta2
kind: Deployment
metadata:
  name: redis-master
spec:
  selector:
    matchLabels: {app: redis, role: master, tier: backend}
  replicas: 1
  template:
    metadata:
      labels: {app: redis, role: master, tier: backend}
    spec:
      containers:
      - name: master
        image: registry.example/redis:e2e  # or just image: redis
        resources:
          requests: {cpu: 100m, memory: 100Mi}
        ports:
        - containerPort: 6379
---
apiVersion: v1
kind: ReplicationController
metadata: {name: frontend}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: guestbook, tier: frontend}}
    spec:
      containers:
      - name: php-redis
        image: example/gb-frontend:v4
        env:
        - name: GET_HOSTS_FROM
          value: dns
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: frontend}
spec:
  # comment or delete the following line if you want to use a LoadBalancer
  type: NodePort
  ports: [{port: 80}]
  selector: {app: guestbook, tier: frontend}
"""

BOUTIQUE = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: emailservice
  labels: {app: emailservice}
spec:
  selector: {matchLabels: {app: emailservice}}
  template:
    metadata:
      labels: {app: emailservice}
      annotations: {sidecar.istio.io/rewriteAppHTTPProbers: "true"}
    spec:
      serviceAccountName: emailservice
      terminationGracePeriodSeconds: 5
      securityContext: {fsGroup: 1000, runAsGroup: 1000, runAsNonRoot: true, runAsUser: 1000}
      initContainers:
      - command: ["/bin/sh", "-exc", "until curl -f http://${FRONTEND_ADDR}; do sleep 2; done"]
        name: frontend-check
        image: example/busybox:latest@sha256:aaaa
        env: [{name: FRONTEND_ADDR, value: "frontend:80"}]
      containers:
      - name: server
        securityContext:
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          privileged: false
          readOnlyRootFilesystem: true
        image: registry.example/emailservice:v0.10.2
        ports: [{containerPort: 8080}]
        env:
        - {name: PORT, value: "8080"}
        - {name: DISABLE_PROFILER, value: "1"}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        readinessProbe: {periodSeconds: 5, grpc: {port: 8080}}
        livenessProbe:
          periodSeconds: 5
          httpGet:
            path: "/_healthz"
            port: 8080
            httpHeaders: [{name: "Cookie", value: "shop_session-id=x-liveness-probe"}]
        volumeMounts: [{mountPath: /data, name: redis-data}]
        resources:
          requests: {cpu: 100m, memory: 64Mi}
          limits: {cpu: 200m, memory: 128Mi}
      volumes: [{name: redis-data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: emailservice, labels: {app: emailservice}}
spec:
  type: ClusterIP
  selector: {app: emailservice}
  ports: [{name: grpc, port: 5000, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: frontend-external}
spec:
  type: LoadBalancer
  selector: {app: frontend}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: emailservice}
"""

BOOKINFO = """
apiVersion: v1
kind: Service
metadata: {name: details, labels: {app: details, service: details}}
spec:
  ports: [{port: 9080, name: http}]
  selector: {app: details}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bookinfo-details, labels: {account: details}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: details-v1, labels: {app: details, version: v1}}
spec:
  replicas: 1
  selector: {matchLabels: {app: details, version: v1}}
  template:
    metadata: {labels: {app: details, version: v1}}
    spec:
      serviceAccountName: bookinfo-details
      containers:
      - name: details
        image: docker.io/example/details-v1:1.20.1
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 9080}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bookinfo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
"""

SOCK_SHOP = """
---
apiVersion: v1
kind: Namespace
metadata: {name: sock-shop}
---
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: carts, labels: {name: carts}, namespace: sock-shop}
spec:
  replicas: 1
  template:
    metadata: {labels: {name: carts}}
    spec:
      containers:
      - name: carts
        image: example/carts:0.4.8
        env:
        - {name: JAVA_OPTS, value: -Xms64m -Xmx128m -Djava.security.egd=file:/dev/urandom -Dspring.zipkin.enabled=false}
        ports: [{containerPort: 80}]
        securityContext:
          runAsNonRoot: true
          runAsUser: 10001
          capabilities: {drop: [all], add: [NET_BIND_SERVICE]}
          readOnlyRootFilesystem: true
        livenessProbe: {httpGet: {path: /, port: 80}, initialDelaySeconds: 300, periodSeconds: 3}
      volumes: [{name: tmp-volume, emptyDir: {medium: Memory}}]
      nodeSelector: {beta.kubernetes.io/os: linux}
---
apiVersion: v1
kind: Service
metadata:
  name: front-end
  annotations: {prometheus.io/scrape: 'true'}
  labels: {name: front-end}
  namespace: sock-shop
spec:
  type: NodePort
  ports:
    # the port that this service should serve on
  - port: 80
    targetPort: 8079
    nodePort: 30001
  selector: {name: front-end}
"""

KUBECTL_DUMP = """
apiVersion: v1
items:
- apiVersion: v1
  kind: Node
  metadata:
    annotations: {node.alpha.kubernetes.io/ttl: "0"}
    creationTimestamp: "2024-03-01T10:00:00Z"
    labels: {kubernetes.io/hostname: kind-worker, kubernetes.io/os: linux, topology.kubernetes.io/zone: a}
    name: kind-worker
    resourceVersion: "1234"
    uid: 6b1c2f9e-1111-4c4a-9f6c-aaaaaaaaaaaa
  spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24], providerID: kind://docker/kind/kind-worker}
  status:
    addresses: [{address: 172.18.0.3, type: InternalIP}, {address: kind-worker, type: Hostname}]
    allocatable: {cpu: "8", ephemeral-storage: 1055762868Ki, memory: 32874552Ki, pods: "110"}
    capacity: {cpu: "8", ephemeral-storage: 1055762868Ki, memory: 32874552Ki, pods: "110"}
    conditions:
    - {lastHeartbeatTime: "2024-03-01T10:05:00Z", lastTransitionTime: "2024-03-01T10:00:30Z", message: ready,
       reason: KubeletReady, status: "True", type: Ready}
    daemonEndpoints: {kubeletEndpoint: {Port: 10250}}
    images: [{names: [a, b], sizeBytes: 123}]
    nodeInfo: {architecture: amd64, bootID: x, kubeletVersion: v1.29.2}
- apiVersion: v1
  kind: Pod
  metadata:
    creationTimestamp: "2024-03-01T10:01:00Z"
    generateName: web-6d4cf56db6-
    labels: {app: web, pod-template-hash: 6d4cf56db6}
    name: web-6d4cf56db6-abcde
    namespace: default
    ownerReferences:
    - {apiVersion: apps/v1, blockOwnerDeletion: true, controller: true, kind: ReplicaSet, name: web-6d4cf56db6, uid: u}
    resourceVersion: "2345"
  spec:
    containers:
    - image: nginx
      name: web
      resources: {}
      terminationMessagePath: /dev/termination-log
      volumeMounts: [{mountPath: /var/run/secrets, name: kube-api-access-x, readOnly: true}]
    nodeName: kind-worker
    priority: 0
    tolerations:
    - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}
    volumes:
    - {name: kube-api-access-x, projected: {defaultMode: 420, sources: [{serviceAccountToken: {expirationSeconds: 3607}}]}}
  status:
    conditions:
    - {lastProbeTime: null, lastTransitionTime: "2024-03-01T10:01:05Z", status: "True", type: Ready}
    containerStatuses:
    - {containerID: x, image: nginx, imageID: y, lastState: {}, name: web, ready: true, restartCount: 0, started: true,
       state: {running: {startedAt: "2024-03-01T10:01:04Z"}}}
    hostIP: 172.18.0.3
    phase: Running
    podIP: 10.244.1.5
    podIPs: [{ip: 10.244.1.5}]
    qosClass: BestEffort
    startTime: "2024-03-01T10:01:00Z"
- apiVersion: v1
  kind: Service
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"v1","kind":"Service"}
    creationTimestamp: "2024-03-01T10:00:50Z"
    managedFields:
    - {apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:ports": {".": {}, "k:{\\"port\\":80}": {}}}},
       manager: kubectl}
    name: web
    namespace: default
    resourceVersion: "2001"
    uid: aaa
  spec:
    clusterIP: 10.96.12.34
    clusterIPs: [10.96.12.34]
    internalTrafficPolicy: Cluster
    ipFamilies: [IPv4]
    ipFamilyPolicy: SingleStack
    ports: [{port: 80, protocol: TCP, targetPort: 8080}]
    selector: {app: web}
    sessionAffinity: None
    type: ClusterIP
  status: {loadBalancer: {}}
- apiVersion: v1
  kind: Endpoints
  metadata:
    annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2024-03-01T10:01:05Z"}
    creationTimestamp: "2024-03-01T10:00:50Z"
    name: web
    namespace: default
    resourceVersion: "2346"
  subsets:
  - addresses:
    - ip: 10.244.1.5
      nodeName: kind-worker
      targetRef: {kind: Pod, name: web-6d4cf56db6-abcde, namespace: default, uid: bbb}
    ports: [{port: 8080, protocol: TCP}]
- addressType: IPv4
  apiVersion: discovery.k8s.io/v1
  endpoints:
  - addresses: [10.244.1.5]
    conditions: {ready: true, serving: true, terminating: false}
    nodeName: kind-worker
    targetRef: {kind: Pod, name: web-6d4cf56db6-abcde, namespace: default, uid: bbb}
    zone: a
  kind: EndpointSlice
  metadata:
    creationTimestamp: "2024-03-01T10:00:50Z"
    generateName: web-
    generation: 3
    labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io, kubernetes.io/service-name: web}
    name: web-x7k2p
    namespace: default
    ownerReferences: [{apiVersion: v1, blockOwnerDeletion: true, controller: true, kind: Service, name: web, uid: aaa}]
    resourceVersion: "2347"
  ports: [{name: "", port: 8080, protocol: TCP}]
- apiVersion: apps/v1
  kind: Deployment
  metadata: {annotations: {deployment.kubernetes.io/revision: "1"}, generation: 1, name: web, namespace: default}
  spec:
    progressDeadlineSeconds: 600
    replicas: 1
    revisionHistoryLimit: 10
    selector: {matchLabels: {app: web}}
    strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}, type: RollingUpdate}
    template:
      metadata: {creationTimestamp: null, labels: {app: web}}
      spec: {containers: [{image: nginx, imagePullPolicy: Always, name: web, resources: {}}], dnsPolicy: ClusterFirst,
             restartPolicy: Always, schedulerName: default-scheduler, securityContext: {}, terminationGracePeriodSeconds: 30}
  status: {availableReplicas: 1, observedGeneration: 1, readyReplicas: 1, replicas: 1, updatedReplicas: 1,
           conditions: [{lastTransitionTime: "2024-03-01T10:01:05Z", status: "True", type: Available}]}
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata: {name: web, namespace: default, generation: 1}
  spec:
    ingressClassName: nginx
    rules:
    - host: shop.example.com
      http: {paths: [{backend: {service: {name: web, port: {number: 80}}}, path: /, pathType: Prefix}]}
  status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}
kind: List
metadata:
  resourceVersion: ""
"""
