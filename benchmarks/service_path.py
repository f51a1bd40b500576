"""The queueing path that every peer models alike, and what theory bounds its mean latency by.

A request crosses the client's link, the proxy's delay, is given to the backend with the fewest requests outstanding (picked and
not yet served), crosses that backend's link, waits in its FIFO queue for one of two workers, is served, and goes back over two
links: seven events. Times in milliseconds.
"""

from __future__ import annotations

BACKENDS = 16
WORKERS = 2
LINK_MS = 0.25
PROXY_MS = 0.02
SERVICE_MEAN_MS = 4.0
UTILISATION = 0.7
ARRIVALS_PER_MS = UTILISATION * BACKENDS * WORKERS / SERVICE_MEAN_MS
UNLOADED_MS = 4 * LINK_MS + PROXY_MS + SERVICE_MEAN_MS
RANDOM_PICK_MS = 4 * LINK_MS + PROXY_MS + SERVICE_MEAN_MS / (1 - UTILISATION**2)
"""Mean with a backend picked at random: M/M/2 sojourn is s / (1 - rho^2). Least connections lies between the two."""
