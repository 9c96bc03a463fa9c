"""Every saved report beside the text that it must give, in every form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracecorr.render.all import RENDERERS
from tracecorr.render.json_document import read

REPORTS = Path(__file__).parents[2] / "fixtures" / "reports"
CASES = sorted(path.parent for path in REPORTS.glob("*/report.json"))
GOLDEN = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in CASES
    for name, renderer in RENDERERS.items()
    if (case / f"report{renderer.SUFFIX}").exists()
]


@pytest.mark.parametrize(("case", "name"), GOLDEN)
def test_report_is_rendered_as_the_file_beside_it(case: Path, name: str) -> None:
    golden = case / f"report{RENDERERS[name].SUFFIX}"
    actual = "".join(RENDERERS[name].render(read((case / "report.json").read_bytes())))
    beside = golden.with_name(f"{golden.name}.actual")
    if actual == golden.read_bytes().decode():
        beside.unlink(missing_ok=True)
        return
    beside.write_bytes(actual.encode())
    pytest.fail(f"{beside} differs from {golden.name}")


def test_every_form_has_a_golden_file() -> None:
    assert CASES
    assert {param.values[1] for param in GOLDEN} == set(RENDERERS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_its_text(case: Path) -> None:
    assert (case / "report.txt").exists()
