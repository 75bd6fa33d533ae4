"""Arguments: a command's options as the words that a container is started with, refused here as they would be there."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import NoReturn

from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed, nearest
from lesion_jobs.requests.training import as_text

# What `parse` keeps beside the options: the command itself, and its folder of data.
NO_OPTIONS = {"command", "run", "check_values", "input"}


class _Parser(ArgumentParser):
    """Raises what argparse would end the program with."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message, where=self.prog, do="Correct it.", kind="options")


def command_arguments(command: Sequence[str], options: Mapping[str, object], *, own: Sequence[str]) -> list[str]:
    """The options to be added to a `command` that is whole without; the value of `set` is a mapping of hyperparameters.

    Raises UserError with all that is wrong: options that the command does not have, those of a job's folders, `own`,
    and values that the command would refuse in the container, whatever the data.
    """
    from lesion.commands.parser import whole_parser

    parser = whole_parser(_Parser)
    known = sorted(set(vars(parser.parse_args(list(command)))) - NO_OPTIONS - set(own))
    problems = [_unknown(name, known, own) for name in options if name not in known]
    arguments: list[str] = []
    for name in (name for name in options if name in known):
        words = _words(name, options[name])
        with collecting(problems):  # each by itself: argparse stops at the first
            parser.parse_args([*command, *words])
            arguments += words
    values = parser.parse_args([*command, *arguments])
    if hasattr(values, "check_values"):
        with collecting(problems):
            values.check_values(values)
    raise_all(problems)
    return arguments


def _words(name: str, value: object) -> list[str]:
    values = [f"{key}={as_text(one)}" for key, one in value.items()] if isinstance(value, Mapping) else [str(value)]
    return [word for text in values for word in (f"--{name.replace('_', '-')}", text)]


def _unknown(name: str, known: Sequence[str], own: Sequence[str]) -> UserError:
    if name in own:
        return UserError(f"{name} cannot be set for a job", do="Leave it out.", kind="options")
    near = nearest(name, known)
    hint = f"Did you mean {near}? " if near else ""
    return UserError(
        f"the command has no option {name}", do=f"{hint}Its options: {listed(known, most=20)}.", kind="options"
    )
