"""What a live engine saw, as a file: written by `--record FILE`, read back by `parse`.

The file is JSON Lines.  The first line is an object: `tracecorr` is the version of this format (1), `engine` the name
of the engine, `began` nanoseconds since the epoch.  Each further line is an array, one record: a word for its kind
(see KINDS), then the fields that tracecorr.syscalls.record gives that kind, in that order, without `origin`, which is
the line itself.  A task is its thread id; a call that was entered in an earlier line has that line's number as `began`,
others null.  Trailing nulls, empty arrays and `false` are left out.  Of the bytes that were read and written there is
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.sources.base import Tally
from tracecorr.syscalls.record import (
    DescriptorFound,
    DetachedRecord,
    ExitRecord,
    LookRecord,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    StateRecord,
    SupersededRecord,
    SyscallRecord,
    TaskFound,
    TransferRecord,
    UnfinishedRecord,
    Value,
)
from tracecorr.syscalls.table import READ_FAMILY, WRITE_FAMILY

NAME: Final = "tracecorr"
VERSION: Final = 1

KINDS: Final[dict[str, Any]] = {
    "call": SyscallRecord,
    "in": UnfinishedRecord,
    "exit": ExitRecord,
    "superseded": SupersededRecord,
    "signal": SignalRecord,
    "name": NameRecord,
    "detached": DetachedRecord,
    "stack": StackRecord,
    "task": TaskFound,
    "fd": DescriptorFound,
    "state": StateRecord,
    "moved": TransferRecord,
    "look": LookRecord,
    "gap": Gap,
}
_WORDS: Final = {kind: word for word, kind in KINDS.items()}

# Calls whose strings are what was read or written.
_PAYLOAD: Final = READ_FAMILY.keys() | WRITE_FAMILY.keys()

# What may be null in other kinds.
_REQUIRED: Final[dict[Any, tuple[str, ...]]] = {
    StateRecord: ("old", "new", "local", "peer"),
    NameRecord: ("comm",),
}

_TASKS: Final = {"task", "by", "table"}
_ENDS: Final = {"local", "peer"}
_STATES: Final = {"state", "old", "new"}
_LONGEST: Final = 1 << 20


class Writer:
    """Writes records, each a line, to a text stream."""

    def __init__(self, stream: IO[str], engine: str, began: int) -> None:
        self._stream = stream
        self._write({"tracecorr": VERSION, "engine": engine, "began": began})

    def write(self, record: Record) -> None:
        """Write the next line."""
        line: list[Any] = [_WORDS[type(record)]]
        for name, value in zip(record._fields, record, strict=True):
            if name == "origin" or (name == "source" and isinstance(record, Gap)):
                continue
            line.append(_written(record, name, value))
        while len(line) > 1 and (line[-1] is None or line[-1] is False or line[-1] == []):
            line.pop()
        self._write(line)

    def flush(self) -> None:
        """Hand over what was written so far: it is to be there when we are killed."""
        self._stream.flush()

    def _write(self, value: Any) -> None:
        self._stream.write(json.dumps(value, separators=(",", ":"), ensure_ascii=True) + "\n")


def _written(record: Record, name: str, value: Any) -> Any:
    if name in _TASKS and isinstance(value, TaskId):
        return value.tid
    if name in _ENDS and isinstance(value, Endpoint):
        return list(value)
    if name == "began":
        return None if value is getattr(record, "origin", None) else value.line
    if name == "args":
        payload = getattr(record, "name", None) in _PAYLOAD
        return [_plain(item, payload=payload) for item in value]
    if name == "note":
        return _plain(value, payload=False)
    return [list(item) if isinstance(item, tuple) else item for item in value] if isinstance(value, tuple) else value


def _plain(value: Value, *, payload: bool) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, payload=payload) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, payload=payload) for item in value]
    if isinstance(value, str):
        return None if payload else value
    return int(value) if isinstance(value, int) else value


# Engines that read the kernel's events: of reads and writes those have only what concerns a connection whose peer has
# closed.
OF_EVENTS: Final = frozenset(["tracefs"])
_HEADER: Final = 256


def recognises(head: list[bytes]) -> bool:
    """Say whether the first line is ours."""
    return bool(head) and head[0].startswith(b'{"tracecorr":')


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a recording; a line that is none is counted."""
    tally.clock = "epoch"
    for block in blocks:
        for text, origin in tally.lines_of(block):
            if origin.line == 1 and recognises([text]):
                tally.uses = not any(b'"engine":"%s"' % engine.encode() in text[:_HEADER] for engine in OF_EVENTS)
            else:
                yield from _line(text, origin, tally)


def _line(text: bytes, origin: Origin, tally: Tally) -> Iterator[Record]:
    try:
        record = _record(json.loads(text) if len(text) <= _LONGEST else None, origin)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        tally.skip(origin.line, text)
        return
    tally.calls += isinstance(record, SyscallRecord)
    tally.saw(time_of(record))
    yield record


def time_of(record: Record) -> int | None:
    """Return when what the record tells was done, in nanoseconds; None where it does not say."""
    if isinstance(record, SyscallRecord):
        return record.returned
    return record.entered if isinstance(record, UnfinishedRecord) else getattr(record, "at", None)


def _record(line: Any, origin: Origin) -> Record:
    if not isinstance(line, list):
        raise TypeError("a record is an array")
    kind = KINDS[line[0]]
    given = iter(line[1:])
    fields: list[Any] = []
    for name in kind._fields:
        if name == "origin":
            fields.append(origin)
        elif name == "source" and kind is Gap:
            fields.append(origin.source)
        else:
            fields.append(_READ.get(name, _as_it_is)(next(given, None), origin))
    record: Record = kind(*fields)
    if any(getattr(record, name) is None for name in _REQUIRED.get(kind, ())):
        raise TypeError("a field is missing")
    return record


def _as_it_is(value: Any, origin: Origin) -> Any:
    return value


def _number(value: Any, origin: Origin) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError("not a number")
    return value


def _int(value: Any, origin: Origin) -> int:
    if type(value) is not int:
        raise TypeError("not a number")
    return value


def _text(value: Any, origin: Origin) -> str | None:
    if value is not None and type(value) is not str:
        raise TypeError("not a text")
    return value


def _name(value: Any, origin: Origin) -> str:
    if type(value) is not str:
        raise TypeError("not a name")
    return value


def _task(value: Any, origin: Origin) -> TaskId:
    return TaskId(_int(value, origin))


def _end(value: Any, origin: Origin) -> Endpoint | None:
    if value is None:
        return None
    address, port = value
    return Endpoint(_name(address, origin), int(port))


def _state(value: Any, origin: Origin) -> TcpState | None:
    return None if value is None else TcpState(value)


def _began(value: Any, origin: Origin) -> Origin:
    return origin if value is None else Origin(origin.source, int(value))


def _values(value: Any, origin: Origin) -> Sequence[Value]:
    return [] if value is None else [_value(item) for item in list(value)]


# JSON has no numbers as keys: members without a name are numbered.
def _value(value: Any) -> Value:
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: _value(item) for key, item in value.items()}
    return [_value(item) for item in value] if isinstance(value, list) else value


def _watches(value: Any, origin: Origin) -> Sequence[tuple[int, int, int | None]]:
    return tuple((int(fd), int(events), _number(data, origin)) for fd, events, data in value or ())


_READ: Final[dict[str, Callable[[Any, Origin], Any]]] = {
    "task": _task, "by": _task, "table": _task,
    "local": _end, "peer": _end, "state": _state, "old": _state, "new": _state,
    "began": _began, "args": _values, "frames": _values, "verdicts": _values, "watches": _watches,
    "note": lambda value, origin: _value(value),
    "at": _number, "entered": _number, "returned": _number, "result": _number, "fd": _int, "pid": _int,
    "about": _number,
    "parent": _number, "unread": _number, "sender": _number, "line": _number,
    "name": _name, "how": _name, "signal": _name, "what": _name, "why": _name,
    "errno": _text, "result_path": _text, "comm": _text, "target": _text, "role": _text, "code": _text, "try_": _text,
    "sent": lambda value, origin: bool(value), "peeked": lambda value, origin: bool(value), "size": _int,
    "as_child": lambda value, origin: bool(value), "close_on_exec": lambda value, origin: value,
}  # fmt: skip
