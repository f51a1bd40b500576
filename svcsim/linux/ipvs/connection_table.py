"""The connection table of one node: entries and persistence templates, their counters, and their time.

Everything that happens by itself happens in `advance`, which whoever touches the table calls first. Nothing is scheduled.

Source: Linux net/netfilter/ipvs/ip_vs_conn.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.linux.ipvs.connections import NEVER_NS, Entry, ExpiryQueue, IpvsConnection, Template
from svcsim.linux.ipvs.services import RealServer
from svcsim.linux.ipvs.settings import HELD_TEMPLATE_NS, IpvsKernel, IpvsSysctls, IpvsTimeouts
from svcsim.linux.ipvs.states import ACTIVE, State

_ESTABLISHED = State.ESTABLISHED


class ConnectionTable:
    """Entries by five-tuple. An entry that another one of its five-tuple replaces stays beside until the next tick."""

    __slots__ = (
        "_displaced", "_flush_ns", "_leaving", "_life_ns", "_next_ns", "_queue", "_templates", "_unflushed", "connections",
        "kernel", "sysctls", "timeouts",
    )

    def __init__(
        self, sysctls: IpvsSysctls | None = None, timeouts: IpvsTimeouts | None = None, kernel: IpvsKernel | None = None
    ) -> None:
        self.sysctls = sysctls or IpvsSysctls()
        self.timeouts = timeouts or IpvsTimeouts()
        self.kernel = kernel or IpvsKernel()
        self._life_ns = self.timeouts.by_state()
        self.connections: dict[int, IpvsConnection] = {}
        self._templates: dict[int, Template] = {}
        self._displaced: dict[Template, None] = {}
        self._leaving: dict[IpvsConnection, None] = {}
        self._unflushed: list[RealServer] = []
        self._flush_ns = NEVER_NS
        self._queue = ExpiryQueue()
        self._next_ns = NEVER_NS

    def _move(self, connection: IpvsConnection, state: State, now_ns: int) -> None:
        """Take the entry to a state and start that state's time."""
        old = connection.state
        if state is not old:
            connection.state = state
            if ACTIVE[old] is not ACTIVE[state]:
                server = connection.server
                if ACTIVE[state]:
                    server.inactive -= 1
                    server.active += 1
                else:
                    server.active -= 1
                    server.inactive += 1
            if state is _ESTABLISHED and connection.template is not None:
                connection.template.assured = True
        life_ns = self._life_ns[state]
        connection.expires_ns = expires_ns = now_ns + life_ns
        if expires_ns < connection.due_ns:
            self._look_at(connection, life_ns, expires_ns)

    def _renew(self, entry: Entry, life_ns: int, now_ns: int) -> None:
        entry.expires_ns = expires_ns = now_ns + life_ns
        if expires_ns < entry.due_ns:
            self._look_at(entry, life_ns, expires_ns)

    def _look_at(self, entry: Entry, life_ns: int, due_ns: int) -> None:
        self._queue.put(entry, life_ns, due_ns)
        if due_ns < self._next_ns:
            self._next_ns = due_ns

    def _expire_at_tick(self, connection: IpvsConnection, now_ns: int) -> None:
        """The entry goes at the next timer tick, unless a packet renews it before."""
        tick_ns = now_ns + self.sysctls.tick_ns
        if tick_ns < connection.expires_ns:
            connection.expires_ns = tick_ns
            self._queue.put(connection, 0, tick_ns)
            self._next_ns = min(self._next_ns, tick_ns)

    def advance(self, now_ns: int) -> None:
        """Let happen, in order, what was due up to and including `now_ns`."""
        queue = self._queue
        while self._next_ns <= now_ns:
            if self._flush_ns <= queue.next_ns:
                if self._flush_ns > now_ns:
                    break
                self._flush()
            else:
                entry = queue.pop()
                if entry is not None:
                    if entry.expires_ns > entry.due_ns:
                        queue.put(entry, self._lane(entry), entry.expires_ns)
                    else:
                        self._expire(entry)
            self._next_ns = min(queue.next_ns, self._flush_ns)

    def _lane(self, entry: Entry) -> int:
        if entry.__class__ is IpvsConnection:
            return self._life_ns[entry.state]
        return entry.timeout_ns  # type: ignore[union-attr]

    def _expire(self, entry: Entry) -> None:
        """The time of an entry is up; a template that controls entries gets a minute more."""
        if isinstance(entry, IpvsConnection):
            self._remove(entry)
        elif entry.held:
            entry.timeout_ns = HELD_TEMPLATE_NS
            due_ns = entry.due_ns
            entry.due_ns = NEVER_NS
            self._renew(entry, HELD_TEMPLATE_NS, due_ns)
        else:
            self._remove_template(entry)

    def _remove(self, connection: IpvsConnection) -> None:
        if connection in self._leaving:
            del self._leaving[connection]
        else:
            del self.connections[connection.key]
        if ACTIVE[connection.state]:
            connection.server.active -= 1
        else:
            connection.server.inactive -= 1
        if connection.template is not None:
            connection.template.held -= 1
        connection.expires_ns = 0
        connection.due_ns = NEVER_NS

    def _remove_template(self, template: Template) -> None:
        if template.displaced:
            del self._displaced[template]
        else:
            del self._templates[template.key]
        template.server.templates -= 1
        template.expires_ns = 0
        template.due_ns = NEVER_NS

    def _flush_soon(self, server: RealServer, now_ns: int) -> None:
        """expire_nodest_conn: what belongs to a deleted server goes a tick later, without any traffic (Linux 5.9 and later)."""
        self._unflushed.append(server)
        if self._flush_ns == NEVER_NS:
            self._flush_ns = now_ns + self.sysctls.tick_ns
            self._next_ns = min(self._next_ns, self._flush_ns)

    def _flush(self) -> None:
        """The entries of deleted servers go, and the templates that then control none."""
        self._flush_ns = NEVER_NS
        gone = {id(server) for server in self._unflushed if not server.available and server.in_use()}
        self._unflushed.clear()
        if not gone:
            return
        for connection in [one for one in self.entries() if id(one.server) in gone]:
            self._remove(connection)
        for templates in (list(self._templates.values()), list(self._displaced)):
            for template in templates:
                if id(template.server) in gone and not template.held:
                    self._remove_template(template)

    def flush(self) -> None:
        """Forget all entries, as when the node loses power."""
        for connection in self.entries():
            connection.expires_ns = 0
        self.connections.clear()
        self._leaving.clear()
        self._templates.clear()
        self._displaced.clear()
        self._unflushed.clear()
        self._flush_ns = NEVER_NS
        self._queue.clear()
        self._next_ns = NEVER_NS

    # ---- sight -------------------------------------------------------------------------------------------------------

    def next_change_ns(self) -> int:
        """When, at the earliest, something here changes by itself."""
        return self._next_ns

    def entries(self) -> Iterator[IpvsConnection]:
        """All entries, last those that another entry of the same five-tuple replaces until they go at the next tick."""
        yield from self.connections.values()
        yield from self._leaving

    def templates(self) -> Iterator[Template]:
        """All persistence templates, the displaced ones last."""
        yield from self._templates.values()
        yield from self._displaced
