"""What most tests begin with: a log on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tracecorr
from tracecorr.verdicts.report import Report

Log = Callable[..., Path]
Parse = Callable[..., Report]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Write a log and return its path."""

    def write(text: str | bytes, name: str = "trace.log") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def parse(log: Log) -> Parse:
    """Write a log and return the report on it."""

    def parsed(text: str | bytes, **options: float | bool) -> Report:
        return tracecorr.parse([log(text)], **options)

    return parsed
