"""The same sweep on an existing Dask cluster: its client as an executor (extra `svcsim[dask]`)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from svcsim.errors import UsageError


class Cluster(Executor):
    """Runs calls on a Dask cluster; closing it leaves the cluster alone.

    A call is pure, and one whose worker dies is begun again elsewhere by the scheduler.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False, retries=5)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call on some worker."""
        future: Future[Any] = self._executor.submit(function, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take leave of the cluster."""
        self._executor.shutdown(wait=wait)
        self._client.close()


def dask_executor(address: str) -> Executor:
    """An executor that runs tasks on the cluster of a scheduler at `tcp://host:port`.

    UsageError if Dask is not installed or the scheduler does not answer.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("Dask is not installed: pip install 'svcsim[dask]'")
    distributed: Any = importlib.import_module("distributed")
    try:
        return Cluster(distributed.Client(address, timeout=10, set_as_default=False))
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from None
