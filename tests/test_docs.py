"""The README against the code: what exists is described, and what is shown is what is printed."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import tracecorr
from tracecorr import cli, demo
from tracecorr.errors import TracecorrError
from tracecorr.options import FormatName
from tracecorr.render.all import RENDERERS
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.captures import CAPTURES
from tracecorr.sources.engines import ENGINES
from tracecorr.sources.listings.all import LISTINGS
from tracecorr.verdicts.base import Cause, Confidence
from tracecorr.verdicts.explanations import EXPLANATIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"`(--?[\w-]+)")
SESSION = "$ tracecorr parse fixtures/demo/trace.log\n"


def rows(*header: str) -> list[tuple[str, ...]]:
    """The rows of the table that has this header."""
    start = TEXT.index(f"| {' | '.join(header)} |\n")
    table = TEXT[start:].split("\n\n", 1)[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table]


def names(*header: str) -> list[str]:
    """The identifiers in the first column of a table."""
    return [row[0].strip("`") for row in rows(*header)]


def shell_lines() -> Iterator[str]:
    for language, block in BLOCKS:
        if language == "console":
            yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
        elif language == "sh":
            yield from block.splitlines()


def commands_shown(program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program in a code block."""
    for line in shell_lines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((i for i, word in enumerate(words) if word in ("|", "||", "&&", ";", ">")), len(words))
            if words[0] == program:
                yield words[1:end]
            words = words[end + 1 :]


# Tables.


def test_every_command_is_described() -> None:
    assert {name.split()[1] for name in names("command", "does")} == set(cli.cli.commands)


@pytest.mark.parametrize("name", cli.cli.commands)
def test_every_option_is_described(name: str) -> None:
    told = rows("option", "of", "means")
    described = {option for row in told if name in row[1] or row[1] == "all" for option in OPTION.findall(row[0])}
    for parameter in cli.cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert set(parameter.opts) <= described


def test_every_format_is_described() -> None:
    assert names("format", "is") == list(RENDERERS)
    assert names("log format", "is") == list(LOG_FORMATS)


def test_every_cause_and_sub_case_is_described_in_order() -> None:
    found: dict[str, list[str]] = {}
    for cause, detail, sentence in rows("cause", "sub-case", "what is true"):
        if cause:
            found[cause.strip("`")] = []
        if detail:
            found[list(found)[-1]].append(detail.strip("`"))
        assert sentence.endswith(".")

    assert found == {cause: list(each.details) for cause, each in EXPLANATIONS.items()}
    assert set(found) == {cause.value for cause in Cause}


def test_every_confidence_is_described() -> None:
    assert set(names("confidence", "means")) == {confidence.word for confidence in Confidence}


def test_every_exit_code_is_described() -> None:
    def codes(error: type[TracecorrError]) -> set[int]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    ends = {0, 1, cli.WRONG_USE, cli.BUG, cli.INTERRUPTED, demo.IMPOSSIBLE} | codes(TracecorrError)

    assert {int(code) for code in names("exit code", "means")} == ends


# What is shown.


def updated() -> str:
    """The README with what tracecorr prints today in its two examples."""
    name = SESSION.split()[-1]
    report = tracecorr.parse([name])
    text = SESSION + "".join(RENDERERS["text"].render(report))
    document = json.loads("".join(RENDERERS["json"].render(report)))
    del document["graph"]
    data = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    readme = TEXT
    for language, new in (("console", text), ("json", data)):
        old = next(block for found, block in BLOCKS if found == language)
        assert old.startswith((SESSION, "{"))
        readme = readme.replace(f"```{language}\n{old}", f"```{language}\n{new}")
    return readme


def test_the_session_and_the_json_are_what_is_printed_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    beside = README.with_name("README.md.actual")
    today = updated()
    if today == TEXT:
        beside.unlink(missing_ok=True)
        return
    beside.write_text(today, encoding="utf-8")
    pytest.fail(f"the session or the JSON in README.md is not what is printed today: see {beside}")


def test_python_examples_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, str(README), "exec"), {})

    assert "inherited-copy forked-worker certain" in capsys.readouterr().out


@pytest.mark.parametrize("args", list(commands_shown("tracecorr")), ids=" ".join)
def test_commands_shown_exist_with_their_options(args: list[str]) -> None:
    command = cli.cli.commands[args[0]]
    context = click.Context(command)
    values, rest, _ = command.make_parser(context).parse_args(args[1:])

    assert rest == []
    for parameter in command.params:
        value = values.get(str(parameter.name))
        if isinstance(parameter.type, click.Choice | FormatName | click.IntRange) and isinstance(value, str):
            parameter.type_cast_value(context, value)


def test_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    shown = {args[0] for args in commands_shown("make")}

    assert shown == {"demo", "test"}
    assert shown | set(re.findall(r"`make\s(\w+)`", TEXT)) <= targets


def test_every_further_input_is_described() -> None:
    described = {name for row in rows("further input", "is", "tells") for name in re.findall(r"`([\w-]+)`", row[0])}

    assert described == CAPTURES.keys() | LISTINGS.keys()


def test_every_engine_is_described() -> None:
    assert names("engine", "does to the traced program", "needs") == list(ENGINES)


def test_the_extras_that_are_shown_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"'\.\[(\w+)\]'", TEXT):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_one_module_at_most_imports_what_is_under_the_gpl() -> None:
    def imports(path: Path) -> set[str]:
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        modules = [
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for node in tree
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        return {name.partition(".")[0] for each in modules for name in each}

    users = [path for path in (ROOT / "tracecorr").rglob("*.py") if "ptrace" in imports(path)]

    assert [path.name for path in users] == ["other_calls.py"]
