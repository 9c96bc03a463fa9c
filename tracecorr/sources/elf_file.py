"""An ELF file (elf(5)) of 64 bits, little endian, read piece by piece: what is truncated or wrong in it is absent.

Nothing is mapped: a file that somebody truncates gives short reads, no SIGBUS.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_NOTE: Final = struct.Struct("<III")
_IDENT: Final = b"\x7fELF\x02\x01"
_MOST_SECTIONS: Final = 4096
_LARGEST: Final = 256 << 20  # bytes of one section

PT_LOAD: Final = 1
PT_NOTE: Final = 4
PT_GNU_EH_FRAME: Final = 0x6474E550
SHT_SYMTAB: Final = 2
SHT_NOBITS: Final = 8
SHT_DYNSYM: Final = 11
_NT_GNU_BUILD_ID: Final = 3


class Bytes:
    """What can be read of a file that is in memory, as the vdso is."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """Return a piece, shorter where the file ends."""
        return self._data[offset : offset + size] if offset >= 0 and size > 0 else b""

    def close(self) -> None:
        """Forget it."""


class File:
    """An open regular file."""

    def __init__(self, path: str) -> None:
        """Open it.  Raises OSError."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        found = os.fstat(self._fd)
        self.inode = found.st_ino
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(f"{path} is no regular file")

    def read(self, offset: int, size: int) -> bytes:
        """Return a piece, shorter where the file ends or cannot be read."""
        if self._fd < 0 or size <= 0 or not 0 <= offset < 1 << 63:
            return b""
        try:
            return os.pread(self._fd, min(size, _LARGEST), offset)
        except OSError:
            return b""

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Segment(NamedTuple):
    """A program header."""

    kind: int
    offset: int
    address: int
    size: int


class Section(NamedTuple):
    """A section header; `link` is the number of the section that this one refers to."""

    kind: int
    offset: int
    size: int
    link: int


class ElfFile:
    """The headers of an ELF file; one that is none has no segments and no sections."""

    def __init__(self, file: Bytes | File) -> None:
        self.read = file.read
        self.close = file.close
        self.segments: list[Segment] = []
        self.sections: list[Section] = []
        header = self.read(0, _HEADER.size)
        if len(header) == _HEADER.size and header.startswith(_IDENT):
            _, _, _, _, _, segments, sections, _, _, size, count, each, many, _ = _HEADER.unpack(header)
            if size == _SEGMENT.size:
                self.segments = [
                    Segment(kind, offset, address, length)
                    for kind, _, offset, address, _, length, _, _ in self._table(_SEGMENT, segments, count)
                ]
            if each == _SECTION.size:
                self.sections = [
                    Section(kind, offset, length, link)
                    for _, kind, _, _, offset, length, link, _, _, _ in self._table(_SECTION, sections, many)
                ]

    def _table(self, layout: struct.Struct, offset: int, count: int) -> Iterator[tuple[int, ...]]:
        data = self.read(offset, layout.size * min(count, _MOST_SECTIONS))
        return layout.iter_unpack(data[: len(data) // layout.size * layout.size])

    def content(self, section: Section) -> bytes:
        """Return what is in a section."""
        return self.read(section.offset, section.size) if section.kind != SHT_NOBITS else b""

    def segment(self, kind: int) -> Segment | None:
        """Return the first program header of a kind."""
        return next((each for each in self.segments if each.kind == kind), None)

    def address(self, offset: int) -> int | None:
        """Return the address, in the file's own numbering, of what is at an offset."""
        for each in self.segments:
            if each.kind == PT_LOAD and each.offset <= offset < each.offset + each.size:
                return offset - each.offset + each.address
        return None

    def offset(self, address: int) -> int | None:
        """Return where in the file an address is."""
        for each in self.segments:
            if each.kind == PT_LOAD and each.address <= address < each.address + each.size:
                return address - each.address + each.offset
        return None

    def build_id(self) -> str | None:
        """Return the build id in hexadecimal."""
        for segment in self.segments:
            if segment.kind != PT_NOTE:
                continue
            data, at = self.read(segment.offset, min(segment.size, 4096)), 0
            while at + _NOTE.size <= len(data):
                name, described, kind = _NOTE.unpack_from(data, at)
                at += _NOTE.size
                begin = at + (name + 3) // 4 * 4
                if kind == _NT_GNU_BUILD_ID and data[at : at + name] == b"GNU\0":
                    return data[begin : begin + described].hex() or None
                at = begin + (described + 3) // 4 * 4
        return None
