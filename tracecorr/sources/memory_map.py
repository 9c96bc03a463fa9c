"""Where the code of a process is: the executable mappings of /proc/PID/maps (proc_pid_maps(5))."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.sources import procfs
from tracecorr.sources.elf_file import Bytes
from tracecorr.sources.program_image import Image, Images, Place
from tracecorr.sources.ptrace_calls import memory

_NOTHING: Final = Place(None, "()")


class Code(NamedTuple):
    """An executable mapping; `image` is None where it is of no file."""

    start: int
    end: int
    offset: int
    path: str
    image: Image | None


class MemoryMap:
    """The executable mappings of a process at one moment, its files opened."""

    def __init__(self, tid: int, images: Images) -> None:
        """Read them; none where the process has ended, or hides them."""
        try:
            text = procfs.read(f"/proc/{tid}/maps", tid)
        except (NoSuchProcess, PermissionDenied, OSError):
            text = ""
        self._codes: list[Code] = []
        self._starts: list[int] = []
        for code in _codes(tid, text, images):
            self.add(code)

    def add(self, code: Code) -> None:
        """Take in a mapping above all others."""
        self._codes.append(code)
        self._starts.append(code.start)

    def code(self, address: int) -> Code | None:
        """Return the mapping that an address lies in, None where there is no code."""
        place = bisect_right(self._starts, address) - 1
        return self._codes[place] if place >= 0 and address < self._codes[place].end else None

    def place(self, address: int, *, after_call: bool) -> tuple[Place, str] | None:
        """Return what is known of an address, and how strace -k writes it; None where there is no code."""
        code = self.code(address)
        if code is None:
            return None
        offset = address - code.start + code.offset
        place = code.image.place(offset, after_call=after_call) if code.image is not None else _NOTHING
        return place, f"{code.path}{place.name} [{offset:#x}]"


# 7f5e1c026000-7f5e1c17a000 r-xp 00026000 fe:00 393240      /usr/lib/x86_64-linux-gnu/libc.so.6
def _codes(tid: int, text: str, images: Images) -> Iterator[Code]:
    for line in text.split("\n"):
        words = line.split(None, 5)
        if len(words) < 5 or "x" not in words[1]:
            continue
        where, _, offset, device, inode = words[:5]
        start, _, end = where.partition("-")
        path = words[5] if len(words) > 5 else "[anon]"
        code = Code(int(start, 16), int(end, 16), int(offset, 16), path.removesuffix(" (deleted)"), None)
        if path == "[vdso]":
            yield code._replace(image=Image(Bytes(memory(tid, code.start, code.end - code.start))))
        elif inode != "0":
            yield code._replace(image=images.of(tid, device, int(inode), f"{code.start:x}-{code.end:x}", code.path))
        else:
            yield code
