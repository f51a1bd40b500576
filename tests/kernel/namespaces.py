"""Network namespaces of the host's own kernel: a node, pods on it, and the world outside, joined by veth pairs.

    client 10.200.9.9 ─┐
    pod-a  10.200.1.1 ─┤ node 192.168.50.1 ── outside 192.168.50.2: clients 198.51.100.1 and .130, pod 10.200.2.1 of another node
    pod-b  10.200.1.2 ─┘      (pods are routed; the node's end of each pair is 169.254.1.1)

IPv4 only. Everything is gone when the `Network` is closed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import count

TOOLS = ("ip", "nft", "iptables-restore", "iptables-legacy-restore", "iptables-nft-restore")
PODS = {"client": "10.200.9.9", "pod-a": "10.200.1.1", "pod-b": "10.200.1.2"}
REMOTE_POD = "10.200.2.1"
NODE = "192.168.50.1"
GATEWAY = "169.254.1.1"
OUTSIDE = ("198.51.100.1", "198.51.100.130")
SERVER_PORT = 8080

_numbers = count()

SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=256)
print("ready", flush=True)
while True:
    connection, peer = listener.accept()
    connection.sendall(f"{sys.argv[1]} {peer[0]}".encode())
    connection.close()
"""

CLIENT = """
import json, socket, sys
answers = []
for source, address, port in json.load(sys.stdin):
    try:
        with socket.create_connection((address, port), timeout=0.6, source_address=(source, 0) if source else None) as one:
            answers.append(one.recv(100).decode())
    except ConnectionRefusedError:
        answers.append("refused")
    except TimeoutError:
        answers.append("silence")
json.dump(answers, sys.stdout)
"""


def missing() -> str:
    """Why tests of the host's kernel cannot run here; empty if they can."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"needs {', '.join(lacking)}"
    probe = f"svcsim-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "needs network namespaces"
    try:
        for tables in (["nft", "list", "ruleset"], ["iptables-legacy", "-t", "nat", "-S"], ["iptables-nft", "-t", "nat", "-S"]):
            tried = subprocess.run(["ip", "netns", "exec", probe, *tables], capture_output=True, check=False)
            if tried.returncode:
                return f"the kernel lacks what `{' '.join(tables)}` needs"
    finally:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return ""


class Namespace:
    """A network namespace of its own."""

    def __init__(self) -> None:
        self.name = f"svcsim-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str, given: str = "") -> str:
        """What a command inside prints; AssertionError with its complaint if it fails."""
        done = subprocess.run(self.command(*words), input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def connect(self, attempts: Sequence[tuple[str, str, int]]) -> list[str]:
        """What each attempt (source or empty, address, port) gives: `server peer`, `refused` or `silence`."""
        return list(json.loads(self.run(sys.executable, "-c", CLIENT, given=json.dumps(attempts))))

    def close(self) -> None:
        """Delete it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


class Network:
    """The namespaces of the picture above, with a server on port 8080 in each pod."""

    def __init__(self) -> None:
        self.node = Namespace()
        self.others = {name: Namespace() for name in (*PODS, "outside")}
        self.servers: list[subprocess.Popen[str]] = []
        for number, (name, address) in enumerate(PODS.items()):
            self._pair(f"veth{number}", self.others[name])
            self.node.run("ip", "addr", "add", f"{GATEWAY}/32", "dev", f"veth{number}")
            self.node.run("ip", "route", "add", f"{address}/32", "dev", f"veth{number}")
            pod = self.others[name]
            pod.run("ip", "addr", "add", f"{address}/32", "dev", "eth0")
            pod.run("ip", "route", "add", f"{GATEWAY}/32", "dev", "eth0")
            pod.run("ip", "route", "add", "default", "via", GATEWAY)
        outside = self.others["outside"]
        self._pair("uplink", outside)
        self.node.run("ip", "addr", "add", f"{NODE}/24", "dev", "uplink")
        self.node.run("ip", "route", "add", "default", "via", "192.168.50.2")
        outside.run("ip", "addr", "add", "192.168.50.2/24", "dev", "eth0")
        for address in (*OUTSIDE, REMOTE_POD):
            outside.run("ip", "addr", "add", f"{address}/32", "dev", "lo")
        outside.run("ip", "route", "add", "default", "via", NODE)
        settings = {"ip_forward": 1, "conf.all.rp_filter": 0, "icmp_ratelimit": 0}
        for key, value in settings.items():
            self.node.run("sysctl", "-qw", f"net.ipv4.{key}={value}")
        for name, address in (("pod-a", PODS["pod-a"]), ("pod-b", PODS["pod-b"]), ("outside", REMOTE_POD)):
            self._serve(self.others[name], address)

    def _pair(self, near: str, far: Namespace) -> None:
        self.node.run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", far.name)
        self.node.run("ip", "link", "set", near, "up")
        far.run("ip", "link", "set", "eth0", "up")

    def _serve(self, where: Namespace, address: str) -> None:
        words = where.command(sys.executable, "-c", SERVER, address, str(SERVER_PORT))
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        self.servers.append(server)

    def close(self) -> None:
        """End the servers and delete the namespaces."""
        for server in self.servers:
            server.terminate()
            server.wait()
            if server.stdout is not None:
                server.stdout.close()
        for each in (self.node, *self.others.values()):
            each.close()
