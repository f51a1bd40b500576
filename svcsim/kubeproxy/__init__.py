"""kube-proxy, one a node: change tracking, one translator a mode, the userspace proxy at work."""
