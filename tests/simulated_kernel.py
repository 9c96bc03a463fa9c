"""A small kernel that runs a random program and writes what strace -f -ttt -T would have seen of it.

It knows what every table holds at the end, so it can grade a report: see `complaints`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tracecorr.verdicts.report import Report

FIRST = 4100
LISTENER = 3
THREAD = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"
SETUP = (
    ('execve("/srv/app/httpd", ["httpd"], 0x7ffd0c1e5a10 /* 12 vars */)', "0"),
    ("brk(NULL)", "0x55c1f0a2b000"),
    ("getpid()", str(FIRST)),
    ("ioctl(1, TCGETS, 0x7ffd0c1e5a10)", "-1 ENOTTY (Inappropriate ioctl for device)"),
    ('write(2, "ready\\n", 6)', "6"),
    ("socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)", "3"),
    ('bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16)', "0"),
    ("listen(3, 128)", "0"),
)

# How often each action is tried.
ACTIONS = {
    "accept": 4, "read": 6, "close": 4, "write": 1, "dup": 1, "dup2": 1, "fork": 3, "thread": 1, "exit": 1,
    "exit_group": 1, "kill": 1, "exec": 1, "shutdown": 1, "mark": 1, "close_range": 1, "open": 1,
}  # fmt: skip
BIRTHS = ("fork", "thread")
ENDS = ("exit", "exit_group", "kill")


@dataclass(eq=False)
class Connection:
    """One connection; `holders` are the tables and numbers that refer to it."""

    port: int
    fin: bool = False
    eof: bool = False
    shut: bool = False
    holders: set[tuple[Table, int]] = field(default_factory=set)


@dataclass(eq=False)
class Table:
    """Numbers to what they refer to (None for a file) and close-on-exec."""

    slots: dict[int, tuple[Connection | str | None, bool]] = field(default_factory=dict)
    tasks: set[Task] = field(default_factory=set)


@dataclass(eq=False)
class Task:
    """A thread; `rest` is called to end the call that it is inside of."""

    tid: int
    pid: int
    table: Table
    rest: Callable[[], None] | None = None
    dead: bool = False


class Kernel:
    """`lines` are (task, text without the task) in the order in which strace would have written them."""

    def __init__(self, seed: int, steps: int) -> None:
        self.random = random.Random(seed)
        self.now = 1760000000.0
        self.lines: list[tuple[int, str]] = []
        self.connections: list[Connection] = []
        self.tasks: list[Task] = []
        self.last_tid, self.last_port = FIRST - 1, 19999
        first = self._born(Table(), None)
        for fd in range(3):
            self._put(first.table, fd, None, marked=False)
        self._put(first.table, LISTENER, "listener", marked=False)
        for call, result in SETUP:
            self._whole(first, call, result)
        for _ in range(steps):
            self._step()
        self._rest_of_the_day()

    @property
    def log(self) -> str:
        return "".join(f"{tid:<5} {text}\n" for tid, text in self.lines)

    # Every call that has begun ends, and time passes: the age of each end of file is beyond doubt.
    def _rest_of_the_day(self) -> None:
        alive = [task for task in self.tasks if not task.dead]
        for task in alive:
            if task.rest is not None:
                task.rest()
        self.now += 5
        for task in alive:
            self._whole(task, "getpid()", str(task.pid))

    def _step(self) -> None:
        for connection in self.connections:
            connection.fin = connection.fin or self.random.random() < 0.08
        alive = [task for task in self.tasks if not task.dead]
        task = self.random.choice(alive)
        if task.rest is not None:
            task.rest()
            return
        barred = {*(BIRTHS if len(alive) > 6 else ()), *(ENDS if len(alive) < 2 else ())}
        names = [name for name, weight in ACTIONS.items() if name not in barred for _ in range(weight)]
        getattr(self, f"_do_{self.random.choice(names)}")(task)

    # -- what strace writes

    def _tick(self) -> str:
        self.now = round(self.now + self.random.choice([1e-5, 1e-4, 1e-4, 1e-3, 1e-2, 0.3]) + 3e-6, 6)
        return f"{self.now:.6f} "

    def _whole(self, task: Task, call: str, result: str) -> None:
        self.lines.append((task.tid, f"{self._tick()}{call} = {result}" + (" <0.000003>" if result != "?" else "")))

    # The call is printed in two halves; `result` takes effect when it returns and gives what is printed then.
    def _halves(self, task: Task, name: str, args: str, result: Callable[[], tuple[str, str]]) -> None:
        self.lines.append((task.tid, f"{self._tick()}{name}({args} <unfinished ...>"))
        began = self.now

        def rest() -> None:
            task.rest = None
            more, value = result()
            text = f"{self._tick()}<... {name} resumed>{more}) = {value} <{self.now - began:.6f}>"
            self.lines.append((task.tid, text))

        task.rest = rest

    # -- tables

    def _put(self, table: Table, fd: int, what: Connection | str | None, *, marked: bool) -> None:
        self._drop(table, fd)
        table.slots[fd] = (what, marked)
        if isinstance(what, Connection):
            what.holders.add((table, fd))

    def _drop(self, table: Table, fd: int) -> None:
        what, _ = table.slots.pop(fd, (None, False))
        if isinstance(what, Connection):
            what.holders.discard((table, fd))

    def _lowest(self, table: Table, at: int = 0) -> int:
        return next(fd for fd in range(at, 9999) if fd not in table.slots)

    def _copy(self, table: Table) -> Table:
        copy = Table()
        for fd, (what, marked) in table.slots.items():
            self._put(copy, fd, what, marked=marked)
        return copy

    def _born(self, table: Table, pid: int | None) -> Task:
        self.last_tid += 1
        task = Task(self.last_tid, pid or self.last_tid, table)
        table.tasks.add(task)
        self.tasks.append(task)
        return task

    def _end(self, task: Task, how: str) -> None:
        task.dead, task.rest = True, None
        task.table.tasks.discard(task)
        if not task.table.tasks:
            for fd in list(task.table.slots):
                self._drop(task.table, fd)
        self.lines.append((task.tid, f"{self._tick()}+++ {how} +++"))

    def _siblings(self, task: Task) -> list[Task]:
        return [other for other in self.tasks if other.pid == task.pid and not other.dead]

    def _number(self, task: Task) -> int | None:
        numbers = [fd for fd, (what, _) in task.table.slots.items() if isinstance(what, Connection)]
        return self.random.choice(numbers) if numbers else None

    # -- calls

    def _do_accept(self, task: Task) -> None:
        if task.table.slots.get(LISTENER, (None,))[0] != "listener":
            return
        self.last_port += 1
        port, marked = self.last_port, self.random.random() < 0.5
        flags = "SOCK_CLOEXEC" if marked else "0"
        address = (
            f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("192.0.2.20")}}, [128 => 16], {flags}'
        )

        def result() -> tuple[str, str]:
            connection = Connection(port)
            self.connections.append(connection)
            fd = self._lowest(task.table)
            self._put(task.table, fd, connection, marked=marked)
            return address, str(fd)

        if self.random.random() < 0.4:
            self._halves(task, "accept4", "3, ", result)
        else:
            self._whole(task, f"accept4(3, {address})", result()[1])

    def _do_read(self, task: Task) -> None:
        fd = self._number(task)
        if fd is None:
            return
        connection = task.table.slots[fd][0]
        assert isinstance(connection, Connection)
        connection.eof = connection.eof or connection.fin
        text, size = ("", 0) if connection.fin else ("hello", 5)
        name, rest = self.random.choice([("read", "512"), ("recvfrom", "512, 0, NULL, NULL")])
        self._whole(task, f'{name}({fd}, "{text}", {rest})', str(size))

    def _do_write(self, task: Task) -> None:
        fd = self._number(task)
        if fd is not None:
            connection = task.table.slots[fd][0]
            shut = isinstance(connection, Connection) and connection.shut
            self._whole(task, f'write({fd}, "hi\\n", 3)', "-1 EPIPE (Broken pipe)" if shut else "3")

    def _do_close(self, task: Task) -> None:
        fd = self._number(task) if self.random.random() < 0.8 else self.random.choice([0, 1, 2, 4, 5])
        if fd is None or fd not in task.table.slots:
            return
        self._drop(task.table, fd)
        if self.random.random() < 0.25:
            self._halves(task, "close", str(fd), lambda: ("", "0"))
        else:
            self._whole(task, f"close({fd})", "0")

    def _do_shutdown(self, task: Task) -> None:
        fd = self._number(task)
        if fd is not None:
            connection = task.table.slots[fd][0]
            assert isinstance(connection, Connection)
            connection.shut = True
            self._whole(task, f"shutdown({fd}, {self.random.choice(['SHUT_WR', 'SHUT_RDWR'])})", "0")

    def _do_dup(self, task: Task) -> None:
        fd = self._number(task)
        if fd is None:
            return
        kind, at = self.random.choice([("dup", 0), ("F_DUPFD", 0), ("F_DUPFD", 50), ("F_DUPFD_CLOEXEC", 3)])
        new = self._lowest(task.table, at)
        self._put(task.table, new, task.table.slots[fd][0], marked=kind == "F_DUPFD_CLOEXEC")
        self._whole(task, f"dup({fd})" if kind == "dup" else f"fcntl({fd}, {kind}, {at})", str(new))

    def _do_dup2(self, task: Task) -> None:
        fd, new = self._number(task), self.random.choice([0, 1, 4, 5, 6, 9])
        if fd is None or fd == new:
            return
        marked = self.random.random() < 0.3
        self._put(task.table, new, task.table.slots[fd][0], marked=marked)
        self._whole(task, f"dup3({fd}, {new}, O_CLOEXEC)" if marked else f"dup2({fd}, {new})", str(new))

    def _do_mark(self, task: Task) -> None:
        fd = self._number(task)
        if fd is None:
            return
        marked = self.random.random() < 0.6
        task.table.slots[fd] = (task.table.slots[fd][0], marked)
        calls = [
            f"fcntl({fd}, F_SETFD, {'FD_CLOEXEC' if marked else 0})",
            f"ioctl({fd}, {'FIOCLEX' if marked else 'FIONCLEX'})",
        ]
        self._whole(task, self.random.choice(calls), "0")

    def _do_close_range(self, task: Task) -> None:
        first = self.random.choice([4, 5, 6])
        last = self.random.choice([first, first + 1, 4294967295])
        flags = self.random.choice(["0", "CLOSE_RANGE_CLOEXEC", "CLOSE_RANGE_UNSHARE"])
        if flags == "CLOSE_RANGE_UNSHARE":
            self._unshare(task)
        for fd in [fd for fd in task.table.slots if first <= fd <= last]:
            if flags == "CLOSE_RANGE_CLOEXEC":
                task.table.slots[fd] = (task.table.slots[fd][0], True)
            else:
                self._drop(task.table, fd)
        self._whole(task, f"close_range({first}, {last}, {flags})", "0")

    def _unshare(self, task: Task) -> None:
        if task.table.tasks != {task}:
            task.table.tasks.discard(task)
            task.table = self._copy(task.table)
            task.table.tasks.add(task)

    def _do_open(self, task: Task) -> None:
        fd = self._lowest(task.table)
        self._put(task.table, fd, None, marked=True)
        self._whole(task, 'openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC)', str(fd))

    # The child may be seen before the call that made it has returned.
    def _spawn(self, task: Task, name: str, args: str, *, thread: bool) -> None:
        if self.random.random() < 0.3:
            made: list[Task] = []
            self._halves(task, name, args, lambda: ("", str(made[0].tid)))
            made.append(self._born(task.table if thread else self._copy(task.table), task.pid if thread else None))
            for action in self.random.sample(
                [self._do_close, self._do_read, self._do_open], self.random.choice([0, 1, 2])
            ):
                if made[0].rest is None:
                    action(made[0])
            assert task.rest is not None
            task.rest()
        else:
            child = self._born(task.table if thread else self._copy(task.table), task.pid if thread else None)
            self._whole(task, f"{name}({args})", str(child.tid))

    def _do_fork(self, task: Task) -> None:
        clone = "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"
        self._spawn(task, *self.random.choice([("fork", ""), ("vfork", ""), ("clone", clone)]), thread=False)

    def _do_thread(self, task: Task) -> None:
        self._spawn(task, "clone", f"child_stack=0x7f1c2b7fefb0, flags={THREAD}", thread=True)

    def _do_exit(self, task: Task) -> None:
        if len(self._siblings(task)) > 1 and task.table.tasks != {task}:
            self._whole(task, "exit(0)", "?")
            self._end(task, "exited with 0")

    def _do_exit_group(self, task: Task) -> None:
        if task.pid != FIRST:
            self._whole(task, "exit_group(0)", "?")
            for each in self._siblings(task):
                self._end(each, "exited with 0")

    def _do_kill(self, task: Task) -> None:
        if task.pid != FIRST:
            for each in self._siblings(task):
                self._end(each, "killed by SIGKILL")

    def _do_exec(self, task: Task) -> None:
        if len(self._siblings(task)) > 1:
            return
        self._unshare(task)
        for fd in [fd for fd, (_, marked) in task.table.slots.items() if marked]:
            self._drop(task.table, fd)
        self._whole(task, 'execve("/srv/app/tool", ["tool"], 0x7ffd0c1e5a10 /* 12 vars */)', "0")


def complaints(kernel: Kernel, report: Report) -> list[tuple[object, ...]]:
    """Return what the report says that is not so, and what it should have said."""
    wrong = accusations(kernel, report)
    named = {_port(verdict.socket.peer) for verdict in report.verdicts if not verdict.released}
    for connection in kernel.connections:
        if connection.eof and connection.holders and not connection.shut and connection.port not in named:
            wrong.append((connection.port, "is stuck and not told of", _holders(connection)))
    return wrong


def accusations(kernel: Kernel, report: Report) -> list[tuple[object, ...]]:
    """Return what the report says of connections that are held no longer, or by others."""
    wrong: list[tuple[object, ...]] = []
    connections = {connection.port: connection for connection in kernel.connections}
    for verdict in report.verdicts:
        port = _port(verdict.socket.peer)
        if port is None:
            continue
        connection = connections[port]
        held = bool(connection.holders) and not connection.shut
        said = sorted((holder.pid, holder.fd) for holder in verdict.holders)
        if verdict.released is held:
            wrong.append((port, "is held" if held else "is not held", verdict.cause, verdict.confidence))
        elif held and said != _holders(connection):
            wrong.append((port, "is held by", _holders(connection), "not", said, verdict.confidence))
    return wrong


def _port(address: str | None) -> int | None:
    return int(address.rpartition(":")[2]) if address else None


def _holders(connection: Connection) -> list[tuple[int, int]]:
    return sorted((next(iter(table.tasks)).pid, fd) for table, fd in connection.holders)
