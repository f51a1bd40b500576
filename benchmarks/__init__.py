"""Benchmarks of svcsim and of peers on the same queueing path; `run.py` is the command."""
