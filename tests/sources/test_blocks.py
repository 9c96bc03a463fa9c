"""Inputs as blocks of bytes, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tracecorr.errors import UnreadableInput
from tracecorr.sources import blocks
from tracecorr.sources.blocks import LONGEST_LINE, Input

LINES = b"".join(b"7429  06:56:51.%06d close(%d)          = 0 <0.000004>\n" % (n, n % 900) for n in range(60_000))


def zst(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard", reason="the extra tracecorr[zst] is not installed")
    compressed: bytes = zstandard.ZstdCompressor().compress(data)
    return compressed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zst,
}


def read(path: Path) -> list[bytes]:
    source = Input(str(path))
    try:
        return list(source.blocks())
    finally:
        source.close()


@pytest.mark.parametrize("kind", PACKERS)
def test_whatever_packed_it_the_bytes_are_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"  # its first bytes tell, not its name
    path.write_bytes(PACKERS[kind](LINES))
    pieces = read(path)
    assert b"".join(pieces) == LINES
    assert len(pieces) > 1 and all(piece.endswith(b"\n") for piece in pieces)


@pytest.mark.parametrize("kind", PACKERS)
def test_the_head_is_there_before_and_not_lost_after(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(PACKERS[kind](LINES))
    source = Input(str(path))
    assert LINES.startswith(source.head) and 0 < len(source.head) <= 1 << 16
    assert b"".join(source.blocks()) == LINES
    source.close()


@pytest.mark.parametrize("kind", ["gz", "bz2", "zst"])
def test_parts_packed_one_after_the_other_are_one_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(PACKERS[kind](LINES[:1000]) + PACKERS[kind](LINES[1000:5000]))
    assert b"".join(read(path)) == LINES[:5000]


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_a_file_that_is_cut_is_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{kind}"
    packed = PACKERS[kind](LINES)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableInput, match=f"cut.{kind}"):
        read(path)


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_broken_file_is_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken.{kind}"
    path.write_bytes(PACKERS[kind](LINES)[:12] + b"\xa5" * 5000)
    with pytest.raises(UnreadableInput, match=f"broken.{kind}"):
        read(path)


def test_a_last_line_without_its_end_is_a_piece_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(LINES + b"7429  pause(")
    pieces = read(path)
    assert pieces[-1] == b"7429  pause(" and b"".join(pieces) == LINES + b"7429  pause("


@pytest.mark.parametrize("data", [b"", b"\n", b"x", b"x\n", b"\n\n\nx"])
def test_small_files_come_as_they_are(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(data)
    assert b"".join(read(path)) == data


def test_a_line_of_10_mb_is_cut_and_what_follows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(LINES[:5000] + b"x" * (10 << 20) + b"\n" + LINES[5000:])
    source = Input(str(path))
    pieces = list(source.blocks())
    source.close()
    text = b"".join(pieces)
    assert len(text) < len(LINES) + 2 * LONGEST_LINE + blocks.BLOCK
    assert text.endswith(LINES[-5000:]) and text.startswith(LINES[:5000])
    assert source.cut_lines == [LINES[:5000].count(b"\n") + 1]
    assert text.count(b"\n") == LINES.count(b"\n") + 1


def test_a_line_that_never_ends_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(b"x" * (24 << 20))
    source = Input(str(path))
    tracemalloc.start()
    sizes = [len(piece) for piece in source.blocks()]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert sum(sizes) <= 2 * LONGEST_LINE + blocks.BLOCK
    assert peak < 12 << 20


def test_a_bomb_is_unpacked_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "trace.log.gz"
    path.write_bytes(gzip.compress(b"close(4) = 0\n" * (2 << 20)))
    source = Input(str(path))
    tracemalloc.start()
    count = sum(piece.count(b"\n") for piece in source.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert count == 2 << 20
    assert peak < 12 << 20


def test_a_missing_file_and_a_directory_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"nothing\.log: No such file"):
        Input(str(tmp_path / "nothing.log"))
    with pytest.raises(UnreadableInput, match="Is a directory"):
        Input(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "secret.log"
    path.write_bytes(LINES)
    path.chmod(0)
    with pytest.raises(UnreadableInput, match=r"secret\.log: Permission denied"):
        Input(str(path))


def test_zst_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.log.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\0" * 20)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(UnreadableInput, match=r"tracecorr\[zst\]"):
        Input(str(path))


def test_standard_input_is_read_and_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BufferedReader(io.BytesIO(LINES))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
    source = Input("-")
    assert (source.name, source.plain_size) == ("standard input", None)
    assert b"".join(source.blocks()) == LINES
    source.close()
    assert not stdin.closed


def test_progress_counts_bytes_of_the_file_as_it_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "trace.log.gz"
    path.write_bytes(gzip.compress(LINES))
    told: list[tuple[int, int | None]] = []
    source = Input(str(path), lambda done, size: told.append((done, size)))
    list(source.blocks())
    source.close()
    size = path.stat().st_size
    assert told[-1] == (size, size) and told == sorted(told)
