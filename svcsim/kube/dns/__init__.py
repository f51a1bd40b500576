"""Cluster DNS: what the server answers, what a pod's stub resolver asks, and the resolv.conf between them."""
