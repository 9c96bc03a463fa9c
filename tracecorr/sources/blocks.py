"""Inputs as blocks of bytes that end at line ends: plain, compressed or standard input, all in constant memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import sys
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from tracecorr.errors import UnreadableInput
from tracecorr.sources.dressing import Undress

BLOCK: Final = 1 << 20

# A longer line is cut: no call that we read needs more, and a hostile file must not fill the memory.
LONGEST_LINE: Final = 1 << 20

_MAGIC: Final = ((b"\x1f\x8b", "gz"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zst"), (b"BZh", "bz2"))

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Progress = Callable[[int, "int | None"], None]


class Input:
    """One file (or "-", standard input): its first bytes, and then all of it as blocks.

    `undress`, where it is set, is applied to each block, and `unwrap` to all of them then: both must leave the number
    of lines before each as it is.  `kept` has the bytes of a path that can be read only once (see keep()).
    """

    def __init__(self, path: str, progress: Progress | None = None, kept: IO[bytes] | None = None) -> None:
        self.name = "standard input" if path == "-" else path
        self.cut_lines: list[int] = []
        self.progress = progress
        self.undress: Undress | None = None
        self.unwrap: Callable[[Iterable[bytes]], Iterator[bytes]] | None = None
        self._kept = kept
        self._raw, self._size = _open(path) if kept is None else (kept, kept.seek(0, 2))
        if kept is not None:
            kept.seek(0)
        try:
            self._stream = _decompressed(self._raw, self.name)
            self._head = self._read(1 << 16)
        except BaseException:
            self.close()
            raise
        self._lines = 0

    @property
    def plain_size(self) -> int | None:
        """The size of a file whose bytes are those of its blocks, None of anything else."""
        return self._size if self._stream is self._raw and not (self.undress or self.unwrap) else None

    @property
    def head(self) -> bytes:
        """The first 64 KiB at most, decompressed."""
        return self._head

    def close(self) -> None:
        """Close the file; standard input stays open, and what is kept."""
        if self._raw is not sys.stdin.buffer and self._kept is None:
            self._raw.close()

    @property
    def once(self) -> bool:
        """Whether it can be read only once: standard input, a pipe, <(command) of a shell."""
        return self._size is None

    def keep(self) -> IO[bytes]:
        """Read all of it into a file without a name, for an Input that is to be read again."""
        kept = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as what reads it
        for piece in self.pieces():
            kept.write(piece)
        return kept

    def blocks(self) -> Iterator[bytes]:
        """Yield pieces that end at a line end (the last one may lack it); lines over LONGEST_LINE are cut."""
        blocks, undress = self._blocks(), self.undress
        if undress is not None:
            blocks = map(undress, blocks)
        return blocks if self.unwrap is None else self.unwrap(blocks)

    def _blocks(self) -> Iterator[bytes]:
        rest = self._head
        self._head = b""
        while True:
            piece = self._read(BLOCK)
            if not piece:
                break
            rest += piece
            end = rest.rfind(b"\n") + 1
            if end:
                self._lines += rest.count(b"\n", 0, end)
                yield rest[:end]
                rest = rest[end:]
            elif len(rest) > LONGEST_LINE:
                rest = yield from self._cut_line(rest)
        if rest:
            yield rest

    def pieces(self) -> Iterator[bytes]:
        """Yield all of it in pieces that end anywhere."""
        piece, self._head = self._head, b""
        while piece:
            yield piece
            piece = self._read(BLOCK)

    # Skips to the end of a line that is too long; its beginning stays as a line of its own.
    def _cut_line(self, start: bytes) -> Generator[bytes, None, bytes]:
        self.cut_lines.append(self._lines + 1)
        self._lines += 1
        yield start[:LONGEST_LINE] + b"\n"
        while piece := self._read(BLOCK):
            end = piece.find(b"\n")
            if end >= 0:
                return piece[end + 1 :]
        return b""

    def _read(self, size: int) -> bytes:
        try:
            piece: bytes = self._stream.read(size)
        except _read_errors() as error:
            raise UnreadableInput(f"{self.name}: {error}") from error
        if self.progress is not None:
            self.progress(self._raw.tell() if self._size is not None else 0, self._size)
        return piece


def _open(path: str) -> tuple[IO[bytes], int | None]:
    if path == "-":
        return sys.stdin.buffer, None
    try:
        file = Path(path).open("rb")  # noqa: SIM115 -- Input.close() closes it
    except OSError as error:
        raise UnreadableInput(f"{path}: {error.strerror}") from error
    return file, Path(path).stat().st_size if file.seekable() else None


def _decompressed(raw: IO[bytes], name: str) -> Any:
    peek = raw.peek(8)[:8] if hasattr(raw, "peek") else b""
    kind = next((kind for magic, kind in _MAGIC if peek.startswith(magic)), None)
    if kind == "gz":
        return gzip.GzipFile(fileobj=raw)
    if kind == "xz":
        return lzma.LZMAFile(raw)
    if kind == "bz2":
        return bz2.BZ2File(raw)
    if peek.startswith(_UTF_16):
        return codecs.EncodedFile(raw, "utf-8", "utf-16", errors="replace")  # what PowerShell redirects
    if peek.startswith(codecs.BOM_UTF8):
        return _Rest(raw, len(codecs.BOM_UTF8))
    return _zstd(raw, name) if kind == "zst" else raw


class _Rest:
    """What follows the first bytes of a stream."""

    def __init__(self, raw: IO[bytes], skipped: int) -> None:
        raw.read(skipped)
        self.read = raw.read


_ZSTD_ERRORS: list[type[Exception]] = []


def _read_errors() -> tuple[type[Exception], ...]:
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *_ZSTD_ERRORS)


def _zstd(raw: IO[bytes], name: str) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UnreadableInput(f"{name}: reading .zst needs the extra: pip install 'tracecorr[zst]'") from error
    if zstandard.ZstdError not in _ZSTD_ERRORS:
        _ZSTD_ERRORS.append(zstandard.ZstdError)
    return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
