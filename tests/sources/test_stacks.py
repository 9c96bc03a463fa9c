"""Stacks that the ptrace engine takes of real programs, beside those of strace -k, and ELF files that are no good."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.live import line_of, program, wait_for
from tests.tracees import SOURCES, touched
from tracecorr.events import TaskId
from tracecorr.sources import ptrace_engine, strace_engine, strace_log
from tracecorr.sources.base import Tally
from tracecorr.sources.dwarf_expression import evaluate
from tracecorr.sources.elf_file import Bytes
from tracecorr.sources.memory_map import Code, MemoryMap
from tracecorr.sources.program_image import Image, Images
from tracecorr.sources.unwind import MACHINES, Snapshot, frames
from tracecorr.syscalls.record import STACK_FRAMES, Record, SignalRecord, StackRecord, SyscallRecord

pytestmark = [
    pytest.mark.skipif(
        bool(ptrace_engine.missing()), reason="; ".join(f"{each.what}: {each.why}" for each in ptrace_engine.missing())
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed"),
]

POINTERS = ("-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables")
KINDS = {
    "tables": ("-O2", "-fomit-frame-pointer"),
    "frame pointers": ("-O1", "-fno-omit-frame-pointer"),
    "no tables": ("-O1", *POINTERS),
    "not optimised": ("-O0",),
    "at a fixed place": ("-O1", "-no-pie"),
}
FRAME = re.compile(r"(.*?)\((?:(.*)\+0x[0-9a-f]+)?\) \[(0x[0-9a-f]+)\]")
# What each call lies under, in the order in which the program makes them.
CLOSES = [
    ["close_plainly", "close_below_much", "main"],
    ["close_plainly", "close_while_sorting", "sort", "main"],
    ["close_plainly", "close_in_handler", "raise_signal", "main"],
    ["close_plainly", *["recurse"] * (STACK_FRAMES - 2)],
    ["close_plainly", "close_in_thread"],
    ["close_plainly", "main"],
]


def compiled(where: Path, *flags: str) -> Path:
    done = subprocess.run(
        ["cc", "-Wall", "-Wextra", "-pthread", *flags, "-o", where, SOURCES / "stacks.c"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"cc cannot make it with {' '.join(flags)}: {done.stderr}")
    return where


def stacks(records: Iterable[Record | None]) -> Iterator[tuple[SyscallRecord, list[tuple[str, str, str]]]]:
    """Each call that has a stack: file, function and offset of its frames."""
    last: dict[TaskId, SyscallRecord] = {}
    told = list(records)  # a stack of strace grows until the next line
    for record in told:
        if isinstance(record, SignalRecord):
            last.pop(record.task, None)  # strace tells where it came, too
        elif isinstance(record, StackRecord) and record.task in last:
            yield last[record.task], [match.groups() for frame in record.frames if (match := FRAME.fullmatch(frame))]
        elif isinstance(record, SyscallRecord):
            last[record.task] = record


def ours(command: Path) -> list[tuple[SyscallRecord, list[tuple[str, str, str]]]]:
    with closing(ptrace_engine.launch([str(command)], stacks=True)) as tracing:
        records = [record for record in tracing.records(0.05) if record is not None]
    # Before its exec the process was held back, in our own program.
    began = next(i for i, it in enumerate(records) if isinstance(it, SyscallRecord) and it.name == "execve")
    return [(call, told) for call, told in stacks(records[began:]) if not loads(told)]


def loads(told: list[tuple[str, str, str]]) -> bool:
    """Whether it is the loader at work, before there is a program."""
    return "/ld-" in told[0][0] or "/ld." in told[0][0]


def functions(told: list[tuple[str, str, str]], file: Path) -> list[str]:
    names = [name for path, name, _ in told if path == str(file)]
    return names[: names.index("main") + 1] if "main" in names else [name for name in names if name != "_start"]


@pytest.mark.parametrize("flags", KINDS.values(), ids=KINDS)
def test_calls_lie_under_the_functions_that_make_them(tmp_path: Path, flags: tuple[str, ...]) -> None:
    file = compiled(tmp_path / "stacks", *flags)
    told = ours(file)

    inside = {
        name: [found for call, frames in told if call.name == name and (found := own(frames, file))]
        for name in ("accept", "clone", "close")
    }
    assert inside["accept"] == [["take_client", "main"]]
    assert inside["clone"] == [["start_helper", "main"]]
    assert inside["close"] == CLOSES


def own(told: list[tuple[str, str, str]], file: Path) -> list[str]:
    """Those of the functions that are asked about."""
    return [name for name in functions(told, file) if name in OWN]


OWN = {name for names in CLOSES for name in names} | {"take_client", "start_helper"}


@pytest.mark.skipif(
    bool(strace_engine.missing(stacks=True)),
    reason="; ".join(f"{each.what}: {each.why}" for each in strace_engine.missing(stacks=True)),
)
@pytest.mark.parametrize("kind", ["tables", "frame pointers", "not optimised"])
def test_stacks_are_those_of_strace(tmp_path: Path, kind: str) -> None:
    file = compiled(tmp_path / "stacks", *KINDS[kind])
    log = tmp_path / "trace.log"
    subprocess.run(["strace", "-f", "-k", "-ttt", "-o", log, file], check=True)
    names = {"accept", "clone", "close", "dup"}
    theirs = [
        (call.name, frames)
        for call, frames in stacks(strace_log.read([log.read_bytes()], Tally("trace.log", "strace")))
        if call.name in names and not loads(frames)
    ]
    told = [(call.name, frames) for call, frames in ours(file) if call.name in names]

    # libunwind names also what lies behind the end of a function.
    assert [(name, [(path, offset) for path, _, offset in frames]) for name, frames in told] == [
        (name, [(path, offset) for path, _, offset in frames]) for name, frames in theirs
    ]
    assert [functions(frames, file) for _, frames in told] == [functions(frames, file) for _, frames in theirs]


def test_without_symbols_there_are_places_and_no_wrong_names(tmp_path: Path) -> None:
    whole = compiled(tmp_path / "whole", *KINDS["tables"])
    bare = compiled(tmp_path / "bare", *KINDS["tables"], "-s")
    told, nameless = ours(whole), ours(bare)

    assert [[offset for *_, offset in frames] for _, frames in nameless] == [
        [offset for *_, offset in frames] for _, frames in told
    ]
    assert {name for _, frames in nameless for path, name, _ in frames if path == str(bare)} == {None}


def test_a_deleted_program_is_read_all_the_same(tmp_path: Path) -> None:
    file = compiled(tmp_path / "stacks", *KINDS["tables"])
    with closing(ptrace_engine.launch([str(file)], stacks=True)) as tracing:
        found: list[Record | None] = []
        for record in tracing.records(0.05):
            found.append(record)
            if isinstance(record, SyscallRecord) and record.name == "execve":
                file.unlink()
    accepts = [functions(frames, file) for call, frames in stacks(found) if call.name == "accept"]

    assert accepts == [["take_client", "main"]]


PYTHON_SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.readline()
client = socket.create_connection(listener.getsockname())
connection, _ = listener.accept()
connection.close()
print("done", flush=True)
sys.stdin.readline()
"""


def test_a_python_server_shows_frames_of_the_interpreter() -> None:
    with program(PYTHON_SERVER) as process:
        line_of(process)
        assert process.stdin is not None
        with closing(ptrace_engine.attach([process.pid], stacks=True)) as tracing:
            found: list[Record | None] = []
            for record in tracing.records(0.05):
                found.append(record)
                if record is None and found.count(None) == 1:
                    process.stdin.write("\n")
                    process.stdin.flush()
                if isinstance(record, StackRecord) and is_close_of_accepted(found):
                    break
        wait_for(lambda: not touched(process.pid), "nobody traces it any more")
    told = {call.name: frames for call, frames in stacks(found)}

    for name in ("accept4", "close"):
        assert len(told[name]) == STACK_FRAMES
        assert any("python" in path for path, *_ in told[name])


def is_close_of_accepted(found: list[Record | None]) -> bool:
    calls = [record for record in found if isinstance(record, SyscallRecord)]
    accepted = {call.result for call in calls if call.name == "accept4"}
    return calls[-1].name == "close" and calls[-1].args[0] in accepted


# What is wrong is absent: nothing is raised, and everything ends.


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """A file in which some bytes are others, or that is cut."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 8, 400))):
        changed[chance.randrange(len(data))] = chance.choice((0, 0xFF, chance.randrange(256)))
    start = chance.randrange(64)
    changed[start : start + 8] = chance.randbytes(8) if chance.random() < 0.3 else changed[start : start + 8]
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.3 else changed)


@pytest.mark.parametrize("seed", range(8))
def test_a_spoilt_file_tells_less_and_raises_nothing(tmp_path: Path, seed: int) -> None:
    data = compiled(tmp_path / "stacks", *KINDS["tables"]).read_bytes()
    chance = random.Random(seed)
    machine = MACHINES["x86_64"]
    for _ in range(40):
        image = Image(Bytes(spoilt(data, chance)))
        codes = MemoryMap(0, Images())
        codes.add(Code(0x1000, 0x100000, 0, "/spoilt", image))
        for _ in range(20):
            registers = {number: chance.choice((0x2000, 0x2100, 1 << 63, 7)) for number in range(17)}
            registers[machine.counter] = 0x1000 + chance.randrange(0x4000)
            stack = b"".join((0x1000 + chance.randrange(0x4000)).to_bytes(8, "little") for _ in range(200))
            assert len(list(frames(Snapshot(machine, registers, stack, codes), STACK_FRAMES))) <= STACK_FRAMES


def test_expressions_that_ask_for_too_much_are_unknown() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        evaluate(chance.randbytes(chance.randrange(1, 40)), {7: 0x1000}, lambda _: None, 1)
    # DW_OP_breg7 8, DW_OP_breg16 0, and what PLT entries go on with
    text = bytes.fromhex("77088000 3f 1a 3b 2a 33 24 22".replace(" ", ""))
    assert evaluate(text, {7: 0x1000, 16: 0x40001B}, lambda _: None) == 0x1010
    assert evaluate(text, {7: 0x1000, 16: 0x400013}, lambda _: None) == 0x1008


def test_a_process_that_has_ended_has_no_code() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert MemoryMap(process.pid, Images()).code(0x1000) is None
