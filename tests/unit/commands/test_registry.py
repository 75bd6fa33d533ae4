"""Commands: the example of each is a line that parses, and --help opens without any large library."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from lesion.commands.parser import parse
from lesion.commands.registry import COMMANDS
from lesion.evaluation.operating_points import KINDS

# What takes 40 ms and more to import, and is needed for work on data or networks only.
LARGE = {"pydantic", "tqdm", "numpy", "scipy", "pandas", "sklearn", "PIL", "cv2", "torch", "timm", "flask", "openvino"}


def opened_by(*arguments: str) -> set[str]:
    """The packages that one command line imports, in a process of its own."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "from lesion.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert ended.stdout
    return {name.partition(".")[0] for name in ended.stderr.split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_that_command(name):
    lesion, *arguments = shlex.split(COMMANDS[name].EXAMPLE)
    assert lesion == "lesion"
    assert parse(arguments).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_and_shows_its_example(capsys, name):
    with pytest.raises(SystemExit) as ended:
        parse([*name.split(), "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert COMMANDS[name].EXAMPLE in said


def test_the_list_of_commands_has_all_but_the_one_that_people_do_not_type(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    listed = re.findall(r"^ {4}(\S+)", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(dict.fromkeys(name.split()[0] for name in COMMANDS))


@pytest.mark.parametrize("what", ["hyperparameters", "recipes", "sources", "metrics"])
def test_describe_opens_no_large_library(what):
    needed = {"pydantic"} if what == "hyperparameters" else set()
    assert opened_by("describe", what) & LARGE == needed


def test_the_help_of_predict_names_each_operating_point(capsys):
    with pytest.raises(SystemExit):
        parse(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert [kind for kind in (*KINDS, "sigma") if kind not in said.split("operating-point POINT ")[-1]] == []


def test_help_opens_no_large_library():
    assert not opened_by("check", "--help") & LARGE
