"""Numbers as DWARF and .eh_frame have them, read one after the other.  What is not there raises IndexError."""

from __future__ import annotations

from typing import Final

_WIDTHS: Final = {0x0: 8, 0x2: 2, 0x3: 4, 0x4: 8, 0xA: 2, 0xB: 4, 0xC: 8}
_PC_RELATIVE: Final = 0x10
_ABSENT: Final = 0xFF  # DW_EH_PE_omit
_LONGEST_LEB: Final = 10  # bytes of 64 bits


class Cursor:
    """A place in bytes.  `address` is that of the first one, for pointers that are relative to themselves."""

    def __init__(self, data: bytes, address: int = 0) -> None:
        self.data = data
        self.at = 0
        self._address = address

    def more(self) -> bool:
        """Whether there is anything left."""
        return self.at < len(self.data)

    def block(self, size: int) -> bytes:
        """Return the next bytes."""
        found = self.data[self.at : self.at + size]
        if size < 0 or len(found) < size:
            raise IndexError("the end of the data")
        self.at += size
        return found

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return a number of so many bytes."""
        return int.from_bytes(self.block(size), "little", signed=signed)

    def text(self) -> bytes:
        """Return what is before the next zero."""
        end = self.data.find(b"\0", self.at)
        found = self.block(end - self.at)
        self.at += 1
        return found

    def uleb(self) -> int:
        """Return an unsigned LEB128."""
        return self._leb()[0]

    def sleb(self) -> int:
        """Return a signed LEB128."""
        value, bits, last = self._leb()
        return value - (1 << bits) if last & 0x40 else value

    def _leb(self) -> tuple[int, int, int]:
        value = bits = 0
        for _ in range(_LONGEST_LEB):
            byte = self.block(1)[0]
            value |= (byte & 0x7F) << bits
            bits += 7
            if byte < 0x80:
                return value, bits, byte
        raise IndexError("a number without an end")

    def pointer(self, encoding: int) -> int:
        """Return a pointer in one of the encodings DW_EH_PE_*; IndexError for one that needs the running program."""
        if encoding == _ABSENT:
            return 0
        here, form = self._address + self.at, encoding & 0x0F
        if form in (0x1, 0x9):
            value = self.uleb() if form == 0x1 else self.sleb()
        elif form in _WIDTHS:
            value = self.number(_WIDTHS[form], signed=form > 0x8)
        else:
            raise IndexError("an unknown encoding")
        return value + here & (1 << 64) - 1 if encoding & 0x70 == _PC_RELATIVE else value
