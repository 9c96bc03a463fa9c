"""The names of functions in an ELF file: from .symtab, .dynsym, and the separate file with debug information."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from tracecorr.sources.elf_file import SHT_DYNSYM, SHT_SYMTAB, ElfFile, File

_ENTRY: Final = 24  # bytes of an Elf64_Sym: st_name, st_info, st_other, st_shndx, st_value, st_size
_FUNCTIONS: Final = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_MOST: Final = 1 << 20  # symbols of a table
_NESTED: Final = 8  # symbols that may begin inside of a function
_LONGEST: Final = 1024  # bytes of a name
_DEBUG: Final = "/usr/lib/debug/.build-id/{}/{}.debug"


class Symbols:
    """Functions by address.  What lies in no function has no name: that of the nearest one before would be wrong."""

    def __init__(self, elf: ElfFile) -> None:
        self._tables = [_Table(elf, kind) for kind in (SHT_SYMTAB, SHT_DYNSYM)]
        if not self._tables[0].starts and (apart := _debug_file(elf.build_id())) is not None:
            self._tables.insert(0, _Table(apart, SHT_SYMTAB))
            apart.close()

    def at(self, address: int) -> tuple[str, int] | None:
        """Return the name of the function that an address lies in, and where the function begins."""
        return next((found for table in self._tables if (found := table.at(address)) is not None), None)


class _Table:
    def __init__(self, elf: ElfFile, kind: int) -> None:
        section = next((each for each in elf.sections if each.kind == kind), None)
        self._names = b""
        self._found: list[tuple[int, int, int]] = []
        if section is not None and section.link < len(elf.sections):
            self._found = sorted(_functions(elf.content(section)))
            self._names = elf.content(elf.sections[section.link])
        self.starts = [start for start, _, _ in self._found]

    def at(self, address: int) -> tuple[str, int] | None:
        place = bisect_right(self.starts, address)
        for start, size, name in reversed(self._found[max(0, place - _NESTED) : place]):
            if address - start < size:
                # Behind it may stand its version: name@GLIBC_2.2.5
                text = self._names[name : name + _LONGEST].partition(b"\0")[0].partition(b"@")[0]
                return (text.decode("utf-8", "replace"), start) if text else None
        return None


# Columns are taken as a whole: a large program has a million symbols.
def _functions(data: bytes) -> Iterator[tuple[int, int, int]]:
    words = memoryview(data[: min(len(data) // _ENTRY, _MOST) * _ENTRY]).cast("Q")
    firsts, starts, sizes = (words[place::3].tolist() for place in range(3))
    for first, start, size in zip(firsts, starts, sizes, strict=True):
        if size and first >> 32 & 0xF in _FUNCTIONS and first >> 48:
            yield start, size, first & 0xFFFFFFFF


def _debug_file(build_id: str | None) -> ElfFile | None:
    if not build_id:
        return None
    try:
        return ElfFile(File(_DEBUG.format(build_id[:2], build_id[2:])))
    except OSError:
        return None
