"""Who makes the traffic and who serves it: clients with arrivals, connections, time-outs and retries; servers with workers."""
