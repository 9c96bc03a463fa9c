"""What a kernel must have for the engine `tracefs`: any lack is told, with what would make up for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tracecorr.sources.tracefs_mount import NEEDED, lacking


@pytest.fixture
def tracefs(tmp_path: Path) -> Path:
    """Directories of the names that a tracefs with everything has."""
    for name in (*NEEDED, "instances"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_a_kernel_that_has_everything_lacks_nothing(tracefs: Path) -> None:
    assert lacking(str(tracefs)) == []


@pytest.mark.parametrize("name", NEEDED)
def test_each_thing_that_a_kernel_has_not_is_told(tracefs: Path, name: str) -> None:
    shutil.rmtree(tracefs / name)
    what, why = NEEDED[name]

    assert [(each.what, each.why) for each in lacking(str(tracefs))] == [(what, why)]
