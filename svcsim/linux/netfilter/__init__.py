"""Netfilter as iptables drives it: rules as values, their text, the walk of a packet, and the state of `recent`."""
