"""Validation: a request held against botocore's description of the service, whole, before anything is sent.

botocore's own ParamValidator knows what is required, unknown, of a wrong type or too small. The same description also
says what is too long or too large, which words are known, and which form a text must have: that is checked here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from lesion.errors import UserError, raise_all
from lesion.words import nearest, shortened

# A class of Java's that Python's `re` lacks, such as \p{L}: letters. Its first letter is Unicode's category.
CATEGORY = re.compile(r"\\p\{([LMZSNP])\}")
INSTALL = "pip install 'boto3>=1.40', or install lesion with its extra: 'lesion[jobs]'."
NO_CHARACTER = "\uffff"  # keeps a class of characters from being empty

Requests = Sequence[tuple[str, Mapping[str, Any]]]  # operation, such as "CreateModel" → its request


def check_requests(requests: Requests, *, service: str = "sagemaker") -> None:
    """Raises one UserError with all that AWS would refuse in the form of these requests."""
    raise_all(
        [
            UserError(fault, where=operation, do="Correct it: nothing was sent.", kind="request")
            for operation, request in requests
            for fault in find_faults(operation, request, service=service)
        ]
    )


def check_member(operation: str, member: str, text: str) -> None:
    """Raises UserError for a text that AWS would not take as this member of a request, whatever the others are."""
    shape = _model_of("sagemaker").operation_model(operation).input_shape.members[member]
    faults = _breaches(text, shape, member)
    raise_all(
        [UserError(fault, where=operation, do="Correct it: nothing was sent.", kind="request") for fault in faults]
    )


def find_faults(operation: str, request: Mapping[str, Any], *, service: str = "sagemaker") -> list[str]:
    """A sentence for each place in which the request breaks the service's description of it."""
    shape = _model_of(service).operation_model(operation).input_shape
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(dict(request), shape).generate_report()
    return [*report.splitlines(), *_breaches(request, shape, "")]


@cache
def _model_of(service: str) -> Any:
    try:
        import botocore.session
    except ImportError as error:
        raise UserError("boto3 is not installed", do=INSTALL, kind="sdk") from error
    return botocore.session.get_session().get_service_model(service)


def _breaches(value: Any, shape: Any, path: str) -> Iterator[str]:
    """What ParamValidator does not look at, in `value` and below. Values of a wrong type are its business."""
    most = shape.metadata.get("max")
    match shape.type_name, value:
        case "structure", Mapping():
            for name in (name for name in value if name in shape.members):
                yield from _breaches(value[name], shape.members[name], f"{path}.{name}".lstrip("."))
        case "map", Mapping():
            if most is not None and len(value) > most:
                yield f"{path} has {len(value)} entries, more than {most}"
            for key, one in value.items():
                yield from _breaches(key, shape.key, f"{path}, the name '{shortened(str(key), 40)}',")
                yield from _breaches(one, shape.value, f"{path}.{shortened(str(key), 40)}")
        case "list", list() | tuple():
            if most is not None and len(value) > most:
                yield f"{path} has {len(value)} items, more than {most}"
            for number, one in enumerate(value):
                yield from _breaches(one, shape.member, f"{path}[{number}]")
        case "string", str():
            yield from _breaches_of_text(value, shape, path)
        case "integer" | "long" | "float" | "double", int() | float():
            if most is not None and value > most:
                yield f"{path} is {value}, more than {most}"


def _breaches_of_text(text: str, shape: Any, path: str) -> Iterator[str]:
    shown, most, known = f"'{shortened(text, 60)}'", shape.metadata.get("max"), shape.metadata.get("enum")
    if most is not None and len(text) > most:
        yield f"{path} is {shown}, {len(text)} characters where at most {most} are taken"
    elif known and text not in known:
        near = nearest(text, known)
        hint = f", did you mean {near}?" if near else ""
        yield f"{path} is {shown}, which this version of botocore does not know{hint}"
    elif (pattern := _compile(shape.metadata.get("pattern", ".*"), text)) and not pattern.fullmatch(text):
        yield f"{path} is {shown}, which is not of the form {shape.metadata['pattern']}"


def _compile(pattern: str, text: str) -> re.Pattern[str] | None:
    """The service's pattern for Python, in which Java's \\p{L} is the letters that `text` has; None for the few that
    are no regular expressions in either language."""

    def members(found: re.Match[str]) -> str:
        return "".join(re.escape(c) for c in sorted(set(text)) if unicodedata.category(c)[0] == found[1])

    translated = CATEGORY.sub(members, pattern)
    try:
        return re.compile(translated.replace("[]", f"[{NO_CHARACTER}]"))
    except re.error:
        return None
