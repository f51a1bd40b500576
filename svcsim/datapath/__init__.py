"""The packet path as events: hosts with CPU queues, sockets, connections, and the trains that travel between them.

What happens to a packet is decided in `svcsim.linux`; here stands when it happens.
"""
