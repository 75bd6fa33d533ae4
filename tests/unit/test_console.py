"""Console: no word begins a line of its own or passes for a metric, and output that cannot be written ends no work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from lesion.algorithms.classify.metric_lines import METRIC_LINES

FORGED = "metric validation:roc_auc=0.99"
START = "import logging, sys, warnings\nfrom lesion import console\nconsole.open_streams()\nconsole.log_to_stdout()\n"
START += "log = logging.getLogger('lesion.somewhere')\n"


def run(code: str, *, stdout: IO[Any] | int = subprocess.PIPE, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + code]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False, **options
    )  # fmt: skip


def metrics_in(text: str) -> list[str]:
    return re.findall(METRIC_LINES["validation:roc_auc"].regex, text)


# Every way in which words of the user's come to be said.
WAYS = """
log.info('classes=%s', WORD)
log.info('classes=benign|%s', WORD.strip())
log.warning(WORD + ' is no class')
console.say('column ' + WORD)
console.complain(WORD)
logging.getLogger('pydicom').warning('invalid value: %s', WORD)
warnings.warn(WORD)
try:
    raise ValueError(WORD)
except ValueError as error:
    log.exception('failed')
    console.complain_of_bug(error)
console.log_as(WORD, is_first=True)
log.error('as a process of that name')
"""


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\x85", " "])
def test_a_word_makes_no_line_and_no_metric_anywhere(end):
    ended = run(f"WORD = {f'a{end}{FORGED}'!r}\n{WAYS}")
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0 and said.count("validation:roc_auc=0.99") >= WAYS.count("WORD")
    assert metrics_in(said) == []
    assert not any(line.startswith(FORGED) for line in said.splitlines())


def test_a_metrics_own_line_is_as_it_was():
    ended = run(f"log.info({METRIC_LINES['validation:roc_auc'].line(0.75)!r})")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ metric validation:roc_auc=0.750000\n", ended.stdout)


def test_words_that_can_be_read_stand_as_they_are():
    word = r"costs $5_$ \frac %s {x} <b> _a_ 🔬 良性"
    assert word in run(f"log.info('class=%s', {word!r})").stdout


def test_several_errors_are_complained_of_in_a_line_each():
    code = "from lesion.errors import UserError, UserErrors\n"
    said = run(
        code + "console.complain(UserErrors([UserError(f'{word} is wrong', do='Mend it.') for word in 'ab']))"
    ).stderr
    assert said == "error 1 of 2: a is wrong. Mend it.\nerror 2 of 2: b is wrong. Mend it.\n"


def test_escape_codes_and_lone_surrogates_are_written_as_escapes():
    ended = run(r"log.info('%s', 'a\x1b[2J\0\udce9b')")
    assert r"a\x1b[2J\x00\udce9b" in ended.stdout and ended.stderr == ""


def test_a_terminal_of_few_letters_gets_escapes(tmp_path):
    ended = run("log.info('良性')", env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)})
    assert r"\u826f\u6027" in ended.stdout and ended.stderr == ""


LINES = "for _ in range(2000): log.info('a line')\n"


def test_a_reader_that_goes_ends_nothing(tmp_path):
    """As in `lesion check | head`."""
    code = f"{LINES}console.say('text')\nopen({str(tmp_path / 'done')!r}, 'w').close()\n"
    code += "console.raise_lost_lines()\nconsole.finish()"
    with subprocess.Popen(
        [sys.executable, "-c", START + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 0 and told == b"" and (tmp_path / "done").exists()


def test_a_log_on_a_full_disk_is_told_once_and_ends_the_command_only_at_its_end(tmp_path):
    code = f"{LINES}open({str(tmp_path / 'done')!r}, 'w').close()\nconsole.finish()\nconsole.raise_lost_lines()"
    with Path("/dev/full").open("w") as full:
        ended = run(code, stdout=full)
    assert (tmp_path / "done").exists()
    assert ended.stderr.count("the work goes on without it: No space left on device (/dev/full)") == 1
    assert "PlatformError: the log cannot be written, though all else was done" in ended.stderr


def test_what_was_asked_for_and_cannot_be_printed_is_an_error():
    with Path("/dev/full").open("w") as full:
        ended = run("console.say('text')", stdout=full)
    assert "PlatformError: cannot be written: No space left on device (/dev/full)" in ended.stderr


def test_streams_that_are_closed_are_no_place_for_files(tmp_path):
    """The first file that is opened would be file 1, and all that is printed would land in it."""
    code = f"open({str(tmp_path / 'file')!r}, 'w').write('content')\n"
    code += "console.say('text')\nlog.info('line')\nconsole.finish()"
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", START + code], check=True)
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("", {"of the job", "warning of the job", "of a fold", "warning of a fold", "of a process", "error"}),
        (
            "console.log_as('host/0', is_first=True)",
            {"of the job", "warning of the job", "of a fold", "warning of a fold", "of a process", "error"},
        ),
        ("console.log_as('host/1', is_first=False)", {"of a fold", "warning of a fold", "of a process", "error"}),
        (
            "leave_to_first('fold', below=logging.WARNING)",
            {"of the job", "warning of the job", "warning of a fold", "of a process", "error"},
        ),
        (
            "console.log_as('host/1', is_first=False)\nleave_to_first('fold', below=logging.WARNING)",
            {"warning of a fold", "of a process", "error"},
        ),
    ],
    ids=["alone", "first of a host", "another of a host", "another of a group", "another of a host and of a group"],
)
def test_what_several_processes_would_say_alike_the_first_says_and_of_itself_each(setup, said):
    """Errors are said by all: only one process may have met them."""
    code = f"""
from lesion.logs import leave_to_first, scoped_logger
{setup}
log.info('of the job'), log.warning('warning of the job'), log.error('error')
of_fold, own = scoped_logger('lesion.engine.some', 'fold'), scoped_logger('lesion.engine.other', 'process')
of_fold.info('of a fold'), of_fold.warning('warning of a fold'), own.info('of a process')
"""
    lines = run(code).stdout.splitlines()
    assert {re.sub(r"^\S+ (process=\S+ )?", "", line) for line in lines} == said
    assert all(("process=host" in line) == ("log_as" in setup) for line in lines)
