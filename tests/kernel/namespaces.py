"""Network namespaces of the host's own kernel, entered and left by this process.

A namespace lives as long as its file is open here, so nothing is left behind however the process ends. A socket belongs to the
namespace in which it was made, so one process holds both ends of a connection: on veth pairs a packet goes all its way within
the system call that sent it.

Source: namespaces(7), setns(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

TOOLS = (
    "ip", "nft", "conntrack",
    "iptables-legacy-restore", "iptables-nft-restore", "ip6tables-legacy-restore", "ip6tables-nft-restore",
)  # fmt: skip
_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """A fresh network namespace with loopback up; OSError if this process may not make one."""

    def __init__(self) -> None:
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _must(_libc().unshare(_CLONE_NEWNET))
            self.file = os.open(_OWN, os.O_RDONLY)
            _must(_libc().setns(home, _CLONE_NEWNET))
        finally:
            os.close(home)
        done = self.tried("ip", "link", "set", "lo", "up")
        if done.returncode:
            os.close(self.file)
            raise OSError(errno.EPERM, _complaint(done))

    @property
    def path(self) -> str:
        """Where other tools find it while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.file}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread stands in the namespace meanwhile."""
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _must(_libc().setns(self.file, _CLONE_NEWNET))
            yield
        finally:
            _must(_libc().setns(home, _CLONE_NEWNET))
            os.close(home)

    def run(self, *words: str, given: str = "") -> str:
        """What a command inside prints; AssertionError with its complaint if it fails."""
        done = self.tried(*words, given=given)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def tried(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command inside, which may fail."""
        with self.inside():
            return subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=60)

    def ip(self, lines: Iterable[str], family: int = 4) -> None:
        """Commands of ip(8) at once; the family counts for addresses and routes that do not say it."""
        self.run("ip", f"-{family}", "-batch", "-", given="".join(f"{line}\n" for line in lines))

    def set(self, values: dict[str, int | str]) -> None:
        """Write settings below /proc/sys/net, those of a missing protocol left out."""
        with self.inside():
            for key, value in values.items():
                name = f"/proc/sys/net/{key}"
                if os.path.exists(name):
                    with open(name, "w") as file:
                        file.write(f"{value}\n")

    def close(self) -> None:
        """Let it go."""
        os.close(self.file)


def _complaint(command: subprocess.CompletedProcess[str]) -> str:
    lines = command.stderr.strip().splitlines()
    return lines[0] if lines else f"it ended with {command.returncode}"


@lru_cache(maxsize=1)
def missing() -> str:
    """Why tests of the host's kernel cannot run here, all reasons together; empty if they can."""
    if sys.platform != "linux":
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    try:
        probe = Namespace()
    except OSError as error:
        return f"no network namespace can be made: {error.strerror}"
    reasons = []
    try:
        for words in (
            ("ip", "link", "add", "probe", "type", "veth", "peer", "name", "other"),
            ("ip", "-6", "addr", "add", "fd00::1/128", "dev", "lo"),
            ("nft", "list", "ruleset"),
            *((f"{tool}-{backend}", "-t", "nat", "-S") for tool in ("iptables", "ip6tables") for backend in ("legacy", "nft")),
        ):
            done = probe.tried(*words)
            if done.returncode:
                reasons.append(f"`{' '.join(words)}` fails: {_complaint(done)}")
        try:
            probe.set({"ipv4/ip_forward": 1})
        except OSError as error:
            reasons.append(f"/proc/sys/net cannot be written: {error.strerror}")
    finally:
        probe.close()
    return "; ".join(reasons)


@lru_cache(maxsize=1)
def missing_ipset() -> str:
    """Why ipsets cannot be made here; empty if they can."""
    if reason := missing():
        return reason
    if shutil.which("ipset") is None:
        return "not installed: ipset"
    probe = Namespace()
    done = probe.tried("ipset", "create", "PROBE", "hash:ip,port,net")
    probe.close()
    return f"the kernel has no ipset: {_complaint(done)}" if done.returncode else ""


@lru_cache(maxsize=1)
def missing_ipvs() -> str:
    """Why there is no IPVS here; empty if there is."""
    if reason := missing():
        return reason
    if os.path.exists("/proc/net/ip_vs"):
        return ""
    if shutil.which("modprobe") is not None:
        subprocess.run(["modprobe", "ip_vs"], capture_output=True, check=False)
    return "" if os.path.exists("/proc/net/ip_vs") else "the kernel has no IPVS (module ip_vs)"
