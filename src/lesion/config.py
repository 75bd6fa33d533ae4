"""Config: a hyperparameter declared once. Strings in any of SageMaker's dialects come in, a frozen object goes out.

Knows no algorithm: each algorithm composes its own subclass of `Hyperparameters` from groups of fields, of which those
in settings.py are common to all.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesion.dialects import decode_value
from lesion.errors import UserError
from lesion.words import nearest

Scale = Literal["Linear", "Logarithmic"]

# What another value of a field changes first. What comes earlier in this list changes all that comes after it.
#   weights      which images are learned from, or how: the networks must be trained again
#   predictions  out-of-fold and test predictions of the same networks
#   output       what is written or evaluated at the end from these predictions
#   nothing      only how fast, how safely or where the job runs; numbers differ by rounding at most, and where
#                `parallel` cuts batches by what BatchNorm sees of them
Affects = Literal["weights", "predictions", "output", "nothing"]

# Names that SageMaker's SDK and tuner put beside the user's own; they are the platform's business.
PLATFORM_PREFIX = "sagemaker_"
PLATFORM_NAMES = {"_tuning_objective_metric"}

# What users of SageMaker's built-in image classification would write for the same thing.
BUILT_IN_NAMES = {
    "mini_batch_size": "batch_size_train",
    "num_layers": "model",
    "image_shape": "image_size",
    "use_pretrained_model": "pretrained",
    "early_stopping": "patience",
    "early_stopping_patience": "patience",
    "lr_scheduler_factor": "lr_factor",
    "precision_dtype": "precision",
    "use_weighted_loss": "class_weight",
    "lr": "learning_rate",
    "batch_size": "batch_size_train",
}

# What hyperparameters were called in earlier versions.
OLD_NAMES = {"slide_top_k": "slide_score", "batch_parts": "gradient_accumulation", "head_start": "head_init"}

# What pydantic says of how it reads a text says nothing of what is needed.
NEEDED = dict.fromkeys(("float_parsing", "float_type"), "needs a number")
NEEDED |= {"too_short": "needs at least one", "dict_type": 'needs a JSON object, such as {"drop_rate": 0.1}'}
NEEDED |= dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "needs a whole number")

# Names that lead nowhere here, and why.
UNNEEDED_NAMES = {
    "num_classes": "the target column says how many classes there are",
    "multi_label": "several target columns of 0 and 1 say it",
    "output_size": "the target column says how many classes there are",
    "num_training_samples": "Lesion counts the rows itself",
    "image_size_start": "every epoch trains at image_size: growing images were measured as worse",
    "use_picture_count": "a number that the next patient's images do not have",
}


def tunable(
    default: Any,
    *,
    doc: str,
    affects: Affects = "weights",
    tune: tuple[float, float] | None = None,
    scale: Scale = "Linear",
    **bounds: Any,
) -> Any:
    """A hyperparameter's declaration: default, sentence, what it affects, pydantic's bounds (ge, gt, le, lt), the
    range worth tuning.

    By default a checkpoint that was made with another value is refused; `affects` can relax that.
    """
    extra: Any = {"affects": affects} | ({"tune": list(tune), "scale": scale} if tune else {})
    return Field(default, description=doc, json_schema_extra=extra, **bounds)


class Hyperparameters(BaseModel):
    """The base of every algorithm's configuration: frozen, and closed to names that were not declared.

    A subclass with a `heading` is a group of fields; a configuration inherits from its groups, in their order.
    """

    heading: ClassVar[str]
    unused: ClassVar[Collection[str]] = ()  # fields of shared groups that an algorithm refuses: not listed
    also_named: ClassVar[
        Mapping[str, str]
    ] = {}  # a name that is accepted too → the field; of several the smallest counts

    # defer_build: the validator of a class is built when a configuration is parsed. Groups never need one.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> Self:
        """The configuration that `raw` (name → text, as in hyperparameters.json) describes.

        Reads the three dialects in which the SDKs and the console write values (contract, P1 to P3). Raises one
        UserError that lists every unknown name, with its nearest known one, and every value that is out of bounds.
        """
        problems: list[str] = []
        fields = cls.other_names()
        known = [*cls.model_fields, *fields]
        given: dict[str, dict[str, object]] = {}  # field → by which name → value
        for name, value in raw.items():
            field = fields.get(name, name)
            if field in cls.model_fields:
                try:
                    given.setdefault(field, {})[name] = decode_value(value, cls.model_fields[field].annotation)
                except (TypeError, ValueError):  # from Python: a set, or a number of NumPy's
                    problems.append(f"{name}={_short(value)} is neither text nor a value of JSON")
            elif not _is_platforms(name, value):
                problems.append(f"{name[:80]}={_short(value)} is not a hyperparameter{_what_instead(name, known)}")
        problems += [
            f"{' and '.join(values)} are one hyperparameter, with two values here: leave one out"
            for values in given.values()
            if len(values) > 1 and any(isinstance(value, str) for value in values.values())
            if len(set(map(str, values.values()))) > 1
        ]
        name_of = {field: _smallest(values) for field, values in given.items()}
        try:
            config = cls(**{field: given[field][name] for field, name in name_of.items()})
        except ValidationError as error:
            problems += [_one_line(problem, raw, name_of) for problem in error.errors()]
            bad = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
            problems += cls._contradictions_without(bad, {field: given[field][name] for field, name in name_of.items()})
        if problems:
            algorithm = cls.model_fields.get("algorithm")
            option = "" if algorithm is None else f" --algorithm {algorithm.default}"
            raise UserError(
                "hyperparameters refused: " + "; ".join(problems),
                do=f"Correct them; `lesion describe hyperparameters{option}` lists all.",
                kind="hyperparameters",
            )
        return config

    @classmethod
    def _contradictions_without(cls, bad: Collection[str], values: Mapping[str, object]) -> list[str]:
        """What does not go together among the values that are not `bad` themselves, to be said in the same pass."""
        if not bad:
            return []
        try:
            cls(**{field: value for field, value in values.items() if field not in bad})
        except ValidationError as error:
            found = [str(problem["msg"]).removeprefix("Value error, ") for problem in error.errors()]
            return [text for text in found if not any(field in text for field in bad)]
        return []

    @classmethod
    def other_names(cls) -> dict[str, str]:
        """Every group's names that are accepted too → the field."""
        named = [vars(base)["also_named"] for base in cls.__mro__ if "also_named" in vars(base)]
        return {name: field for names in named for name, field in names.items()}

    @classmethod
    def groups(cls) -> list[type[Hyperparameters]]:
        """The groups that this configuration is composed of, in its order."""
        return [base for base in cls.__mro__ if issubclass(base, Hyperparameters) and "heading" in vars(base)]

    def contradictions(self) -> Iterator[str]:
        """A sentence for each pair of values of this group that do not go together."""
        yield from ()

    def affects(self, name: str) -> Affects:
        """What another value of the field would change first, beside the values that the others have."""
        return _extra(type(self), name)["affects"]  # type: ignore[no-any-return]

    def that_affect(self, result: Literal["weights", "predictions"]) -> dict[str, Any]:
        """The resolved settings that a fold's weights, or its predictions, follow from, in JSON's types.

        The fingerprint of a checkpoint. Since predictions follow from weights, theirs holds the other.
        """
        kept = {"weights"} if result == "weights" else {"weights", "predictions"}
        return {name: value for name, value in self.as_json().items() if self.affects(name) in kept}

    def as_json(self) -> dict[str, Any]:
        """Every resolved value in JSON's types, for the log line and the artifact."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems: list[str] = []
        for base in type(self).__mro__:
            if issubclass(base, Hyperparameters) and "contradictions" in vars(base):
                problems += base.contradictions(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self


def describe(config_class: type[Hyperparameters]) -> str:
    """The page of every hyperparameter, in Markdown: a heading and a table a group."""
    return "\n\n".join(
        [PAGE_START]
        + [f"## {group.heading}\n\n{table(config_class, list(group.model_fields))}" for group in config_class.groups()]
        + ([f"## Others\n\n{table(config_class, others)}"] if (others := _in_no_group(config_class)) else [])
    )


def _in_no_group(config_class: type[Hyperparameters]) -> list[str]:
    grouped = {name for group in config_class.groups() for name in group.model_fields}
    return [name for name in config_class.model_fields if name not in grouped]


PAGE_START = """# Hyperparameters

Give them to SageMaker as hyperparameters, or write them as JSON into `input/config/hyperparameters.json`. A value may
be written as text: `"5"`, `"0.001"`, `"true"`, `"none"`. Lists are JSON or words with commas: `"sex, age_approx"`.

*changes* says what another value changes: **weights** (a job with another value must train again), **predictions** of
the same networks, **output** that is written at the end, or **nothing** but where and how fast the job runs. A stopped
job continues from its checkpoints unless a value that changes weights is different.

[glossary.md](glossary.md) explains the words."""


def table(config_class: type[Hyperparameters], names: Sequence[str]) -> str:
    """The Markdown table of some hyperparameters: values, default, range worth tuning, what changes, sentence."""
    rows = ["| name | values | default | tuning range | changes | what it does |", "|---|---|---|---|---|---|"]
    for name in names:
        if name in config_class.unused:
            continue
        field, extra = config_class.model_fields[name], _extra(config_class, name)
        tune = f"{_range(extra['tune'])} {extra['scale'].lower()}" if "tune" in extra else ""
        values = _type_name(field.annotation) + _bounds(field.metadata)
        cells = [
            f"`{name}`",
            values,
            f"`{_as_written(field.default)}`",
            tune,
            extra["affects"],
            field.description or "",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _extra(config_class: type[Hyperparameters], name: str) -> dict[str, Any]:
    """The fields that `tunable` adds to pydantic's."""
    extra = config_class.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)  # else it was not declared by `tunable`
    return extra


def _is_platforms(name: str, value: object) -> bool:
    is_model_uri = name == "model_dir" and str(value).strip(' "').startswith("s3://")
    return name.startswith(PLATFORM_PREFIX) or name in PLATFORM_NAMES or is_model_uri


def _what_instead(name: str, known: list[str]) -> str:
    plain = name.strip().lower().replace("-", "_")
    if plain in UNNEEDED_NAMES:
        return f": {UNNEEDED_NAMES[plain]}"
    renamed = {**BUILT_IN_NAMES, **OLD_NAMES}.get(plain)
    near = renamed if renamed in known else nearest(plain, known)
    return f" (did you mean {near}?)" if near else ""


def _smallest(values: Mapping[str, object]) -> str:
    """The name with the smallest whole number; a value that is not one comes first, to be refused."""

    def number(name: str) -> float:
        value = values[name]
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return value if is_whole else -math.inf  # type: ignore[return-value]

    return min(values, key=number)


def _one_line(problem: Any, raw: Mapping[str, object], name_of: Mapping[str, str]) -> str:
    message = NEEDED.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # of several values that do not go together, which the message names
        return str(message)
    name = name_of.get(str(problem["loc"][0]), str(problem["loc"][0]))  # as the user wrote it
    return f"{name}={_short(raw.get(name))}: {message[:1].lower()}{message[1:]}"


def _short(value: object) -> str:
    """A value as it was given; a long one cut, so that it does not push the next problem out of the failure file."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _range(ends: Any) -> str:
    return " to ".join(f"{end:g}" for end in ends)


def _as_written(default: Any) -> str:
    """A default as a user would write it."""
    if default is None:
        return "none"
    return default if isinstance(default, str) else json.dumps(default)


def _bounds(metadata: Sequence[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(one, key):,}" for one in metadata for key, sign in signs.items() if hasattr(one, key)]
    return f" {', '.join(limits)}" if limits else ""


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type_name(part) for part in parts)
    if hasattr(annotation, "__metadata__"):
        return _type_name(parts[0]) + "".join(_bounds(field.metadata) for field in annotation.__metadata__)
    if origin is tuple:
        return f"list of {_type_name(parts[0])}"
    names: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "`none`"}
    return names.get(annotation) or ("JSON object" if (origin or annotation) is dict else str(annotation))
