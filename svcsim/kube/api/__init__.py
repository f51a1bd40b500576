"""Kubernetes API objects as typed, immutable values; an update is a new value in the store."""
