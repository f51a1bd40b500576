"""What a kubelet asks of the data plane: sandboxes and the processes in them."""

from __future__ import annotations

from typing import Protocol

from svcsim.kube.api.pod import Pod


class ContainerRuntime(Protocol):
    """What makes pods real: the data plane's sandboxes and servers. `pod.status` has the addresses."""

    def start(self, pod: Pod) -> None:
        """The pod's sandbox is there and its containers run from now on."""

    def terminate(self, pod: Pod) -> None:
        """SIGTERM: the process ends when it likes, and then the kubelet is told (`Kubelet.exited`)."""

    def kill(self, pod: Pod) -> None:
        """SIGKILL: the process ends now."""

    def remove(self, pod: Pod) -> None:
        """The sandbox is gone, its addresses with it; what may still run in it is gone without a word."""
