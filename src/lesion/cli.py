"""CLI: `lesion COMMAND`. Parses, runs, and turns errors into lines on stderr and an exit code; the one place that does.

The commands are in commands/, one file each.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from lesion import console, launch, sagemaker
from lesion.commands import train_process
from lesion.commands.parser import parse
from lesion.errors import EXIT_BUG, LesionError, PlatformError


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits. Exit code 0: done; 2: a user's mistake; 3: a platform failure; 1: our bug."""
    console.open_streams()
    args = parse(sys.argv[1:] if arguments is None else list(arguments))
    sagemaker.prepare_libraries()
    console.log_to_stdout()
    status = _run(args)
    console.finish()
    if args.command == train_process.NAME:
        # At once: Python's tidying up would end the threads that wait for peers within gloo's own frames, and abort.
        os._exit(status)
    sys.exit(status)


def _run(args: Namespace) -> int:
    """The command's exit status; every error is printed on a line of its own."""
    try:
        status: int = args.run(args)
        console.raise_lost_lines()
        return status
    except LesionError as error:
        console.complain(error)
        return error.exit_code
    except MemoryError:
        console.complain("out of memory: choose a larger machine")
        return PlatformError.exit_code
    except KeyboardInterrupt:
        return launch.INTERRUPTED
    except Exception as error:
        console.complain_of_bug(error)
        return EXIT_BUG


if __name__ == "__main__":
    main()
