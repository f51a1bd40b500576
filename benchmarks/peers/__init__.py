"""Models of `benchmarks.service_path` in other simulators; each has `run(requests, seed) -> mean latency in ms`."""
