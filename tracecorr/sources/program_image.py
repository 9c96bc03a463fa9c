"""Files that programs run, each with what unwinding and naming asks of it, kept while they are needed."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from tracecorr.sources.elf_file import Bytes, ElfFile, File
from tracecorr.sources.frame_rules import FrameRules, Rules
from tracecorr.sources.symbols import Symbols

_MOST: Final = 128  # files that are open at a time
_MOST_PLACES: Final = 1 << 16


class Place(NamedTuple):
    """A place in a file: the rules of its frame, and its name as strace -k writes it, without the path."""

    rules: Rules | None
    name: str


class Image:
    """An ELF file, read as far as it is asked for."""

    def __init__(self, file: Bytes | File) -> None:
        self._elf = ElfFile(file)
        self._rules = FrameRules(self._elf)
        self._symbols: Symbols | None = None
        self._places: dict[tuple[int, bool], Place] = {}
        self.close = self._elf.close

    def place(self, offset: int, *, after_call: bool) -> Place:
        """Return what is at an offset.

        What follows a call is told of the call itself: that may be the last instruction of its function.
        """
        key = (offset, after_call)
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            found = self._places[key] = self._look_up(offset, int(after_call))
        return found

    def _look_up(self, offset: int, back: int) -> Place:
        address = self._elf.address(offset)
        if address is None:
            return Place(None, "()")
        if self._symbols is None:
            self._symbols = Symbols(self._elf)
        symbol = self._symbols.at(address - back)
        name = f"({symbol[0]}+{address - symbol[1]:#x})" if symbol is not None else "()"
        return Place(self._rules.at(address - back), name)


class Images:
    """The files, by device and inode: what many processes run is read once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Image] = {}

    def of(self, tid: int, device: str, inode: int, where: str, path: str) -> Image:
        """Return a file that a thread runs; `where` is the range of its mapping.

        The mapping itself leads to the file, also to a deleted one, if we may follow it (proc_pid_map_files(5)); else
        the path does, in the thread's own mount namespace.  What cannot be opened is an image of nothing.
        """
        key = (device, inode)
        if key not in self._found:
            if len(self._found) >= _MOST:
                self._found.pop(next(iter(self._found))).close()
            self._found[key] = Image(_opened(tid, inode, where, path))
        return self._found[key]

    def close(self) -> None:
        """Close all files."""
        for image in self._found.values():
            image.close()
        self._found.clear()


def _opened(tid: int, inode: int, where: str, path: str) -> Bytes | File:
    for name in (f"/proc/{tid}/map_files/{where}", f"/proc/{tid}/root{path}"):
        with suppress(OSError, ValueError):
            file = File(name)
            if file.inode == inode:
                return file
            file.close()
    return Bytes(b"")
