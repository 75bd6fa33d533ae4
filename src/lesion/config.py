"""Config: a hyperparameter declared once. Strings in any of SageMaker's dialects come in, a frozen object goes out.

Knows no algorithm: each algorithm declares its own subclass of `Hyperparameters`.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lesion.errors import UserError

Scale = Literal["Linear", "Logarithmic"]

# Names that SageMaker's SDK and tuner put beside the user's own; they are the platform's business.
PLATFORM_PREFIX = "sagemaker_"
PLATFORM_NAMES = {"_tuning_objective_metric"}

# What users of SageMaker's built-in image classification would write for the same thing.
BUILT_IN_NAMES = {
    "mini_batch_size": "batch_size_train",
    "num_layers": "model",
    "image_shape": "image_size",
    "use_pretrained_model": "pretrained",
    "early_stopping_patience": "patience",
    "lr_scheduler_factor": "lr_factor",
    "lr": "learning_rate",
    "batch_size": "batch_size_train",
}

# What hyperparameters were called in earlier versions.
OLD_NAMES = {"slide_top_k": "slide_score", "batch_parts": "gradient_accumulation", "head_start": "head_init"}

# Names that lead nowhere here, and why.
UNNEEDED_NAMES = {
    "num_classes": "the target column says how many classes there are",
    "output_size": "the target column says how many classes there are",
    "num_training_samples": "Lesion counts the rows itself",
    "image_size_start": "every epoch trains at image_size: growing images were measured as worse",
    "use_picture_count": "a number that the next patient's images do not have",
}

# For which declared types a value of JSON is taken as what it says; for all others it stays text.
TAKEN_FOR: dict[type, set[type]] = {bool: {bool}, int: {int, float}, float: {int, float}, list: {tuple}, dict: {dict}}


def tunable(
    default: Any,
    *,
    doc: str,
    tune: tuple[float, float] | None = None,
    scale: Scale = "Linear",
    **bounds: Any,
) -> Any:
    """A hyperparameter's declaration: default, sentence, pydantic's bounds (ge, gt, le, lt), the range worth tuning."""
    extra: Any = {"tune": list(tune), "scale": scale} if tune else None
    return Field(default, description=doc, json_schema_extra=extra, **bounds)


class Hyperparameters(BaseModel):
    """The base of every algorithm's configuration: frozen, and closed to names that were not declared."""

    also_named: ClassVar[
        Mapping[str, str]
    ] = {}  # a name that is accepted too → the field, of which the smallest counts

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> Self:
        """The configuration that `raw` (name → text, as in hyperparameters.json) describes.

        Reads the three dialects in which the SDKs and the console write values (contract, P1 to P3). Raises one
        UserError that lists every unknown name, with its nearest known one, and every value that is out of bounds.
        """
        problems: list[str] = []
        given: dict[str, dict[str, object]] = {}  # field → by which name → value
        for name, value in raw.items():
            field = cls.also_named.get(name, name)
            if field in cls.model_fields:
                given.setdefault(field, {})[name] = decode_value(value, cls.model_fields[field].annotation)
            elif not _is_platforms(name, value):
                problems.append(
                    f"{name[:80]}={_short(value)} is not a hyperparameter{_what_instead(name, list(cls.model_fields))}"
                )
        name_of = {field: _smallest(values) for field, values in given.items()}
        try:
            config = cls(**{field: given[field][name] for field, name in name_of.items()})
        except ValidationError as error:
            problems += [_one_line(problem, raw, name_of) for problem in error.errors()]
        if problems:
            raise UserError(
                "hyperparameters refused: " + "; ".join(problems),
                do="Correct them; `lesion describe hyperparameters` lists all.",
                kind="hyperparameters",
            )
        return config

    def as_json(self) -> dict[str, Any]:
        """Every resolved value in JSON's types, for the log line and the artifact."""
        return self.model_dump(mode="json")


def decode_value(value: object, declared: Any) -> object:
    """`value` as the Python object it stands for, as far as the `declared` type allows.

    A text stays text where the declaration takes only text, so "0123" and "1e3" survive; otherwise JSON (also JSON in
    JSON) is tried, then Python's True, False, None and lists, then the text itself. pydantic judges what comes out.
    """
    text = (value if isinstance(value, str) else json.dumps(value)).strip()  # files written by hand hold numbers too
    if text.startswith('"'):  # json.dumps of a text, and for some SDK classes of a number's text
        inner = _json_or_none(text)
        if isinstance(inner, str):
            return decode_value(inner, declared)
    allowed = set(_plain_types(declared))
    literal = _literal(text)
    if literal is None:
        is_null = text in {"None", "null"}
        literal = None if is_null and type(None) in allowed else text
    elif not TAKEN_FOR.get(type(literal), set()) & allowed:
        literal = text
    if isinstance(literal, str) and tuple in allowed:  # bare "sex, age_approx" for a list
        return tuple(part.strip() for part in literal.split(",") if part.strip())
    return tuple(literal) if isinstance(literal, list) and tuple in allowed else literal


def describe(config_class: type[Hyperparameters]) -> str:
    """The Markdown table of every hyperparameter: name, type, default, bounds, range worth tuning, sentence."""
    rows = ["| name | type | default | bounds | tuning range | what it does |", "|---|---|---|---|---|---|"]
    for name, field in config_class.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        tune = f"{_range(extra['tune'])} {extra['scale']}" if extra else ""
        bounds = ", ".join(
            f"{sign} {getattr(bound, key)}"
            for bound in field.metadata
            for key, sign in {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}.items()
            if hasattr(bound, key)
        )
        default = json.dumps(field.get_default(call_default_factory=True))
        cells = [f"`{name}`", _type_name(field.annotation), f"`{default}`", bounds, tune, field.description or ""]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _is_platforms(name: str, value: object) -> bool:
    is_model_uri = name == "model_dir" and str(value).strip(' "').startswith("s3://")
    return name.startswith(PLATFORM_PREFIX) or name in PLATFORM_NAMES or is_model_uri


def _what_instead(name: str, known: list[str]) -> str:
    plain = name.strip().lower().replace("-", "_")
    if plain in UNNEEDED_NAMES:
        return f": {UNNEEDED_NAMES[plain]}"
    renamed = {**BUILT_IN_NAMES, **OLD_NAMES}.get(plain)
    near = [renamed] if renamed in known else difflib.get_close_matches(plain, known, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _smallest(values: Mapping[str, object]) -> str:
    """The name with the smallest whole number; one whose value is none comes first, to be refused."""

    def number(name: str) -> float:
        value = values[name]
        return value if isinstance(value, int | float) and float(value).is_integer() else -math.inf

    return min(values, key=number)


def _one_line(problem: Any, raw: Mapping[str, object], name_of: Mapping[str, str]) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # of several values that do not go together, which the message names
        return str(message)
    name = name_of.get(str(problem["loc"][0]), str(problem["loc"][0]))  # as the user wrote it
    return f"{name}={_short(raw.get(name))}: {message[:1].lower()}{message[1:]}"


def _short(value: object) -> str:
    """A value as it was given; a long one cut, so that it does not push the next problem out of the failure file."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        return None


def _literal(text: str) -> Any:
    """What `text` says in JSON, or as one of Python's True, False or lists; None where it is neither."""
    if (value := _json_or_none(text)) is not None:
        return value
    if text in {"True", "False"} or text.startswith(("[", "(", "{")):
        try:
            return json.loads(json.dumps(ast.literal_eval(text)))  # through JSON: no sets, bytes or complex numbers
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return None


def _plain_types(declared: Any) -> Iterator[type]:
    """The plain types inside an annotation: `int | None` gives int and NoneType, `tuple[str, ...]` gives tuple."""
    origin = get_origin(declared)
    if origin in {Union, types.UnionType}:
        for part in get_args(declared):
            yield from _plain_types(part)
    elif origin is Literal:
        yield from {type(choice) for choice in get_args(declared)}
    elif hasattr(declared, "__metadata__"):  # Annotated[…]
        yield from _plain_types(get_args(declared)[0])
    else:
        yield origin or declared


def _range(ends: Any) -> str:
    return " to ".join(f"{end:g}" for end in ends)


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type_name(part) for part in parts)
    if hasattr(annotation, "__metadata__"):
        return _type_name(parts[0])
    if origin is tuple:
        return f"list of {_type_name(parts[0])}"
    names: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "none"}
    return names.get(annotation) or ("object" if (origin or annotation) is dict else str(annotation))
