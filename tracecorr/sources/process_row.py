"""All that a look needs to know of one process that has to do with a stuck connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.snapshot import DescriptorRow, ProcessRow, Watch
from tracecorr.sources import procfs
from tracecorr.sources.namespace import namespace_of
from tracecorr.sources.threads import FREEZERS, threads

_EPOLL: Final = "anon_inode:[eventpoll]"
_URING: Final = "anon_inode:[io_uring]"
_REGISTERED: Final = re.compile(r"^\s*\d+: socket:\[(\d+)\]", re.MULTILINE)
_IN_FLIGHT: Final = re.compile(r"^scm_fds:\s*(\d+)", re.MULTILINE)
# Flags of thousands of descriptors would say the same thousands of times.
_FLAGS: Final = 64


def process_row(
    about: procfs.Stat, targets: Mapping[int, str] | None, wanted: frozenset[str], *, has_children: bool, queues: bool
) -> ProcessRow:
    """Return a process with its threads, and with its descriptors where `targets` or the process itself tells them.

    Close-on-exec is read of the first of those that `wanted` names.  `has_children` says that it has some now, with
    `queues` descriptors in flight are counted.
    Raises NoSuchProcess.
    """
    pid = about.pid
    if targets is None:
        targets = _targets(pid)
    status = procfs.status(pid)
    tasks = threads(pid)
    rings = [fd for fd, target in targets.items() if target == _URING]
    return ProcessRow(
        pid=pid,
        started=about.started,
        parent=about.parent,
        comm=about.comm,
        command=procfs.command(pid),
        program=procfs.program(pid),
        namespace=_namespace(pid),
        tracer=status.tracer or None,
        frozen=bool(tasks) and all(task.wait_channel in FREEZERS for task in tasks),
        limit=procfs.limit(pid),
        forked=has_children or about.reaped or status.ignores_children,
        threads=tasks,
        descriptors=_descriptors(pid, targets, wanted),
        watches=_watches(pid, targets),
        in_flight=_in_flight(pid, targets, wanted) if queues else {},
        registered=frozenset(int(inode) for fd in rings for inode in _REGISTERED.findall(_fdinfo(pid, fd))),
        io_uring=bool(rings),
    )


def _targets(pid: int) -> Mapping[int, str]:
    try:
        return procfs.targets(pid)
    except PermissionDenied:
        return {}


def _namespace(pid: int) -> int | None:
    try:
        return namespace_of(pid)
    except PermissionDenied:
        return None


def _descriptors(pid: int, targets: Mapping[int, str], wanted: frozenset[str]) -> dict[int, DescriptorRow]:
    found = {fd: DescriptorRow(fd, target) for fd, target in targets.items()}
    for fd in [fd for fd, target in targets.items() if target in wanted][:_FLAGS]:
        try:
            found[fd] = procfs.descriptor(pid, fd, targets[fd])
        except NoSuchProcess:
            continue  # closed since
    return found


def _watches(pid: int, targets: Mapping[int, str]) -> dict[int, tuple[Watch, ...]]:
    found: dict[int, tuple[Watch, ...]] = {}
    for fd, target in targets.items():
        if target == _EPOLL:
            try:
                found[fd] = procfs.watches(pid, fd)
            except (NoSuchProcess, PermissionDenied):
                continue
    return found


# A unix socket counts the descriptors in its queue (unix_show_fdinfo() in net/unix/af_unix.c, Linux 5.10).
def _in_flight(pid: int, targets: Mapping[int, str], wanted: frozenset[str]) -> dict[int, int]:
    sockets = [fd for fd, target in targets.items() if target.startswith("socket:[") and target not in wanted]
    counts = {fd: _IN_FLIGHT.search(_fdinfo(pid, fd)) for fd in sockets[:_SOCKETS]}
    return {fd: int(found[1]) for fd, found in counts.items() if found and int(found[1])}


_SOCKETS: Final = 4096


def _fdinfo(pid: int, fd: int) -> str:
    try:
        return procfs.fdinfo(pid, fd)
    except (NoSuchProcess, PermissionDenied):
        return ""
