"""Imports point one way: what each layer may know is a table, and whatever imports upward fails here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tracecorr"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A layer is the first name below tracecorr.  A row allows layers, or single modules of one, beside the layer itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "kernel": set(),
    "events": {"kernel"},
    "snapshot": {"kernel", "events"},
    "captured": {"kernel", "events"},
    "syscalls": {"errors", "kernel", "events"},
    "sources": {"errors", "kernel", "events", "snapshot", "captured", "syscalls"},
    "model": {"errors", "kernel", "events"},
    "verdicts": {"errors", "kernel", "events", "snapshot", "captured", "model"},
    "render": {
        "errors",
        "kernel",
        "verdicts.report",
        "verdicts.explanations",
        "verdicts.timeline",
        "verdicts.changes",
        "verdicts.json_values",
    },
    "recorded": {"syscalls", "sources", "verdicts"},
    "diagnosis": {"recorded", "errors", "kernel", "events", "syscalls", "sources", "model", "verdicts"},
    "joining": {
        "errors",
        "kernel",
        "events",
        "snapshot",
        "captured",
        "syscalls",
        "sources",
        "model",
        "verdicts",
        "diagnosis",
    },
    "joined": {"kernel", "events", "captured", "sources", "model", "verdicts", "joining"},
    "api": {
        "errors",
        "kernel",
        "events",
        "captured",
        "syscalls",
        "sources",
        "model",
        "verdicts",
        "diagnosis",
        "joining",
        "joined",
        "__init__",
    },
    "live": {
        "errors",
        "kernel",
        "events",
        "syscalls",
        "sources",
        "model",
        "verdicts",
        "diagnosis",
        "api",
        "scanning",
    },
    "scanning": {"errors", "kernel", "events", "snapshot", "sources", "verdicts", "__init__"},
    "doctor": {"errors", "kernel", "sources", "render"},
    "console": {"errors", "render", "live", "verdicts.report"},
    "demo": {"errors", "console", "api", "live", "sources.engine", "render", "verdicts.report", "__init__"},
    "options": {"render", "sources.engines", "__init__"},
    "cli": {
        "errors",
        "options",
        "console",
        "api",
        "live",
        "scanning",
        "doctor",
        "demo",
        "render",
        "verdicts.report",
        "verdicts.changes",
        "__init__",
    },
    "__main__": {"cli"},
    "__init__": {"api", "scanning", "verdicts"},
}

# What is loaded at once is paid by `tracecorr --version`; the library itself is not.
LAZY = {
    "__init__": {"api", "scanning", "verdicts"},
    "options": {"render", "sources"},
    "cli": {"api", "live", "scanning", "doctor", "demo", "render", "verdicts"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def layer_of(path: Path) -> str:
    return module_name(path).split(".")[0]


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yield the dotted names below tracecorr that are imported, "__init__" for the package itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide their layer"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (_below(name) for name in names if name.split(".")[0] == "tracecorr")


def _below(name: str) -> str:
    """Return the module part of tracecorr.model.system.System, as far as there is one."""
    parts: list[str] = []
    place = PACKAGE
    for part in name.split(".")[1:]:
        place = place / part
        if not place.is_dir() and not place.with_suffix(".py").is_file():
            break
        parts.append(part)
    return ".".join(parts) or "__init__"


def allowed(target: str, may: set[str]) -> bool:
    parts = target.split(".")
    return any(".".join(parts[:length]) in may for length in range(1, len(parts) + 1))


def forbidden(path: Path) -> list[str]:
    layer = layer_of(path)
    may = MAY_IMPORT[layer] | ({layer} if (PACKAGE / layer).is_dir() else set())
    return [target for target in imports(ast.parse(path.read_text())) if not allowed(target, may)]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    assert forbidden(path) == []


def test_every_layer_is_in_the_table_and_the_table_has_no_other() -> None:
    assert {layer_of(path) for path in MODULES} == MAY_IMPORT.keys()


def test_the_table_itself_has_no_cycle_but_that_of_the_package_with_its_own_api() -> None:
    below = {layer: {target.split(".")[0] for target in may} - {"__init__"} for layer, may in MAY_IMPORT.items()}
    ordered: list[str] = []
    while len(ordered) < len(below):
        ready = [layer for layer, needs in below.items() if layer not in ordered and needs <= set(ordered)]
        assert ready, f"a cycle among {below.keys() - set(ordered)}"
        ordered += ready


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("model/system.py", "from tracecorr.verdicts.base import Case"),
        ("kernel.py", "from tracecorr import events"),
        ("syscalls/table.py", "import tracecorr.sources.base"),
        ("render/terminal.py", "from tracecorr.verdicts import base"),
        ("verdicts/base.py", "from tracecorr.sources.base import Tally"),
        ("model/system.py", "def late():\n    from tracecorr import api"),
    ],
)
def test_an_import_upward_is_found_wherever_it_stands(module: str, line: str) -> None:
    layer = layer_of(PACKAGE / module)
    found = list(imports(ast.parse(line)))
    assert found and not any(allowed(target, MAY_IMPORT[layer] | {layer}) for target in found)


@pytest.mark.parametrize("layer", LAZY)
def test_the_library_is_loaded_only_when_it_is_used(layer: str) -> None:
    tree = ast.parse((PACKAGE / f"{layer}.py").read_text())
    at_once = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    assert not [target for target in imports(at_once) if target.split(".")[0] in LAZY[layer]]


def test_only_the_edges_open_files_or_read_clocks() -> None:
    pure = [path for path in MODULES if layer_of(path) in ("kernel", "events", "syscalls", "model", "verdicts")]
    impure = {"os", "pathlib", "io", "subprocess", "socket", "sys", "tempfile", "datetime"}
    found = {
        (module_name(path), alias.name)
        for path in pure
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] in impure
    }
    assert found == set()
