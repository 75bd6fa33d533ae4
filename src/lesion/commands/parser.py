"""Parser: the words of a command line, as the command that runs and the values of its options."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lesion.commands import train_process
from lesion.commands.registry import COMMANDS, GROUPS
from lesion.commands.root_folder import advise_root


def parse(arguments: Sequence[str]) -> Namespace:
    """The command line as `command`, its name; `run`, the function that executes it; and its options.

    Ends the program, as argparse does, where it is wrong.
    """
    if arguments[:1] == [train_process.NAME]:  # not for people: --help does not list it
        process = ArgumentParser(prog=f"lesion {train_process.NAME}")
        process.set_defaults(command=train_process.NAME, run=train_process.run)
        train_process.add(process)
        return process.parse_args(arguments[1:])
    whole = whole_parser()
    args, others = whole.parse_known_args(arguments)
    is_folder = len(others) == 1 and not others[0].startswith("-")
    if is_folder and args.command in ("train", "serve"):
        whole.error(advise_root(args.command, Path(others[0])))
    if others:
        whole.error(f"unrecognized arguments: {' '.join(others)}")
    return args


def whole_parser(kind: type[ArgumentParser] = ArgumentParser) -> ArgumentParser:
    """The parser of all commands that people type, of a class of argparse's."""
    whole = kind(prog="lesion", description="Train and serve classifiers of medical images.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    second_words = {}
    for name, command in COMMANDS.items():
        first, _, second = name.partition(" ")
        if second and first not in second_words:
            summary, metavar = GROUPS[first]
            group = commands.add_parser(first, help=summary, description=summary)
            second_words[first] = group.add_subparsers(required=True, metavar=metavar)
        words = second_words[first] if second else commands
        parser = words.add_parser(
            second or first, help=command.SUMMARY, description=command.SUMMARY, epilog=f"example: {command.EXAMPLE}"
        )
        parser.set_defaults(command=name, run=command.run)
        command.add(parser)
    return whole
