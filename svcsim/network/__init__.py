"""The network between hosts: a graph of hosts, zones and links, with delay, jitter, bandwidth, queue and loss."""
