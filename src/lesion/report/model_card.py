"""Model card: the facts as Markdown with the metadata of Hugging Face's hub, and as SageMaker's Model Card.

SageMaker's content has fixed names and lengths (docs.aws.amazon.com/sagemaker, Model Cards, JSON schema; the same
limits stand in CloudFormation's AWS::SageMaker::ModelCard): what is longer is cut with an ellipsis, lists are cut to
what they may hold, and what only the user can say is left out, except that the risk rating is "Unknown".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lesion.report.facts import Facts
from lesion.report.guidelines import gaps
from lesion.report.page import CAUTION
from lesion.report.sections import Metric, Missing, Reproduction
from lesion.report.words import METRIC_NAMES, answers, doubts, shown, whom
from lesion.words import listed, one_line, shortened

SHORT, TEXT, LONG = 1024, 2048, 2096  # characters of SageMaker's fields
MAX_METRICS, MAX_SETTINGS, MAX_MATRIX = 50, 100, 20
MAX_CONTENT = 100_000  # characters of the whole, as it is written
NO_LICENSE = "other"  # the hub's word for what it does not know: the user's own


def model_card(facts: Facts) -> str:
    """model_card.md: YAML metadata between two lines of dashes, then Markdown.

    The metadata's `model-index` holds the metrics with a value, as Hugging Face's hub shows them. Each gap that only
    the user can fill stands as a question at its place.
    """
    parts = [
        f"---\n{_metadata(facts)}---\n",
        f"# {_plain(facts.title)}\n\n{CAUTION}",
        "## What it answers\n\n" + _bullets(answers(facts)),
        "## Intended use\n\n" + _stated(facts, "intended_use", "users", "impact"),
        "## Data\n\n" + _bullets([*whom(facts), *_stated_lines(facts, "data_source", "setting", "acquisition")]),
        f"## Evaluation\n\n{_plain(facts.judging.how)} {_plain(facts.judging.interval)}\n\n{_table(facts)}",
        "## Risks and limits\n\n"
        + _bullets([*(text for level, text in doubts(facts) if level != "note"), *_stated_lines(facts, "limitations")]),
        "## How to use it\n\n```bash\nlesion serve --root JOB --port 8081  # JOB/model holds the artifact\n```",
        "## How it was made\n\n" + _made(facts),
    ]
    if questions := gaps(facts):
        parts.append("## What only you can say\n\n" + _bullets(questions))
    return "\n\n".join(parts) + "\n"


def _metadata(facts: Facts) -> str:
    """YAML, whose strings are JSON's: that is YAML too, and no word of a user can leave its place."""
    name = _plain(facts.title)
    known = [metric for metric in facts.metrics if metric.number.value is not None]
    lines = [
        f"license: {NO_LICENSE}",
        "library_name: lesion",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in ("image-classification", "medical-imaging", "lesion")),
    ]
    if known:
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "      name: Image Classification",
            "    dataset:",
            f"      name: {json.dumps(_data_name(facts))}",
            "      type: private",
            "    metrics:",
        ]
        for metric in known:
            lines += [
                f"    - type: {json.dumps(metric.key)}",
                f"      value: {json.dumps(metric.number.value)}",
                f"      name: {json.dumps(_plain(metric.name))}",
            ]
    return "\n".join(lines) + "\n"


def _data_name(facts: Facts) -> str:
    return f"held-out rows of {facts.data.fingerprint[:12] or 'the training set'}"


def _plain(text: str) -> str:
    """A user's words as one line that starts no markup of Markdown or HTML."""
    line = one_line(text)
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in line)


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines) or "- nothing is known"


def _stated(facts: Facts, *keys: str) -> str:
    lines = _stated_lines(facts, *keys)
    return _bullets(lines) if lines else "Only you can say: see the questions below."


def _stated_lines(facts: Facts, *keys: str) -> list[str]:
    return [facts.statements[key] for key in keys if facts.statements.get(key)]


def _table(facts: Facts) -> str:
    rows = [f"| {_plain(metric.name)} | {_plain(shown(metric.number))} |" for metric in facts.metrics]
    for one in facts.sets:
        rows += [f"| {_plain(one.name)}: {_plain(m.name)} | {_plain(shown(m.number))} |" for m in one.metrics]
    head = "| metric | value (95 % interval) |\n|---|---|"
    return "\n".join([head, *rows]) if rows else "No metric could be computed."


def _made(facts: Facts) -> str:
    known = {setting.name: setting.value for setting in facts.settings if not setting.is_default}
    lines = [f"Made {facts.made} by Lesion {facts.versions.get('lesion', '')}".strip()]
    lines.append(f"Network: {_algorithm(facts)}")
    if isinstance(facts.reproduction, Reproduction):
        made_of = facts.reproduction
        lines.append(f"Seed {made_of.seed}, data {made_of.data_fingerprint}")
        if made_of.pretrained_sha256:
            lines.append(f"Pretrained weights: {made_of.pretrained_file}, SHA-256 {made_of.pretrained_sha256}")
    return _bullets([*lines, *(f"{name}: {json.dumps(value)}" for name, value in known.items())])


def sagemaker_text(facts: Facts) -> str:
    """sagemaker_model_card.json: the `Content` of SageMaker's CreateModelCard, at most 100,000 characters.

    What is too long is cut where it costs least: all texts to shorter and shorter ones, each with an ellipsis; then
    settings and metrics from the end, of all lists alike. It stays JSON of the schema.
    """
    content = sagemaker_card(facts)
    for most in (LONG, SHORT, SHORT // 2, SHORT // 4, SHORT // 8, 63):
        text = _written(_cut_texts(content, most))
        if len(text) <= MAX_CONTENT:
            return text
    content, longest = _cut_texts(content, 63), MAX_SETTINGS
    while len(text := _written(content)) > MAX_CONTENT and longest > 1:
        longest //= 2
        content = _cut_lists(content, longest)
    return text


def _written(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _cut_texts(value: Any, most: int) -> Any:
    """The same with every text of at most `most` characters."""
    if isinstance(value, dict):
        return {name: _cut_texts(one, most) for name, one in value.items()}
    if isinstance(value, list):
        return [_cut_texts(one, most) for one in value]
    return shortened(value, most) if isinstance(value, str) else value


def _cut_lists(value: Any, most: int) -> Any:
    """The same with at most `most` entries of every list of records; a matrix of counts is whole or not there."""
    if isinstance(value, dict):
        return {name: _cut_lists(one, most) for name, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_cut_lists(one, most) for one in value[:most] if len(one.get("x_axis_name", ())) <= most]
    return value


def sagemaker_card(facts: Facts) -> dict[str, Any]:
    """The content as JSON of SageMaker's schema, each field within its own length."""
    statements = facts.statements
    points = answers(facts)
    content: dict[str, Any] = {
        "model_overview": _without_none(
            {
                "model_name": shortened(facts.title, SHORT),
                "model_description": shortened(f"{' '.join(points)} {CAUTION}", SHORT),
                "problem_type": {"binary": "Binary", "multiclass": "Multiclass", "multilabel": "Multilabel"}[
                    facts.question.kind
                ]
                + " Classification",
                "algorithm_type": shortened(_algorithm(facts), SHORT),
            }
        ),
        "intended_uses": _without_none(
            {
                "purpose_of_model": _cut(statements.get("context"), TEXT),
                "intended_uses": _cut(statements.get("intended_use"), TEXT),
                "factors_affecting_model_efficiency": shortened(
                    " ".join(text for level, text in doubts(facts) if level != "note") or "None were found.", TEXT
                ),
                "risk_rating": "Unknown",
                "explanations_for_risk_rating": "Your organisation rates the risk of its use: no program can.",
            }
        ),
        "training_details": _training(facts),
        "evaluation_details": _evaluations(facts),
        "additional_information": _without_none(
            {
                "ethical_considerations": _cut(statements.get("ethics"), TEXT),
                "caveats_and_recommendations": shortened(f"{CAUTION} Not answered yet: {' '.join(gaps(facts))}", TEXT),
            }
        ),
    }
    return content


def _training(facts: Facts) -> dict[str, Any]:
    settings = [
        {"name": shortened(setting.name, 255), "value": shortened(json.dumps(setting.value), 255)}
        for setting in sorted(facts.settings, key=lambda setting: setting.is_default)
    ]
    metric = {setting.name: setting.value for setting in facts.settings}.get("metric", "roc_auc")
    better = "Minimize" if metric in {"log_loss", "brier"} else "Maximize"
    return {
        "objective_function": {
            "function": {"function": better, "facet": shortened(METRIC_NAMES.get(str(metric), str(metric)), 63)},
            "notes": "Selects the epoch of each fold.",
        },
        "training_observations": shortened(facts.judging.how, SHORT),
        "training_job_details": {
            "user_provided_training_metrics": _training_metrics(facts.metrics),
            "user_provided_hyper_parameters": settings[:MAX_SETTINGS],
        },
    }


def _training_metrics(metrics: tuple[Metric, ...]) -> list[dict[str, Any]]:
    known = [metric for metric in metrics if metric.number.value is not None]
    return [
        {"name": shortened(m.name, 255), "value": m.number.value, "notes": shortened(shown(m.number), SHORT)}
        for m in known[:MAX_METRICS]
    ]


def _evaluations(facts: Facts) -> list[dict[str, Any]]:
    groups = [{"name": "Metrics", "metric_data": _metric_data(facts.metrics)}]
    if not isinstance(facts.confusion, Missing) and 0 < len(facts.confusion.counts) <= MAX_MATRIX:
        matrix = {
            "name": "Confusion matrix",
            "type": "matrix",
            "value": [list(row) for row in facts.confusion.counts],
            "x_axis_name": [shortened(name, 63) for name in facts.confusion.classes],
            "y_axis_name": [shortened(name, 63) for name in facts.confusion.classes],
            "notes": "Rows are the truth, columns the answers.",
        }
        groups.append({"name": "Confusion", "metric_data": [matrix]})
    observation = f"{facts.judging.how} {facts.judging.interval} {' '.join(answers(facts))}"
    first = {
        "name": "Held-out rows",
        "evaluation_observation": shortened(observation, LONG),
        "metric_groups": groups,
    }
    others = [
        {
            "name": shortened(one.name, 63),
            "evaluation_observation": shortened(f"{one.judged} {one.num_rows:,} rows.", LONG),
            "metric_groups": [{"name": "Metrics", "metric_data": _metric_data(one.metrics)}],
        }
        for one in facts.sets
    ]
    return [first, *others]


def _metric_data(metrics: tuple[Metric, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": shortened(m.name, 255),
            "type": "number",
            "value": m.number.value,
            "notes": shortened(shown(m.number), SHORT),
        }
        if m.number.value is not None
        else {"name": shortened(m.name, 255), "type": "string", "value": shortened(m.number.why, 63)}
        for m in metrics[:MAX_METRICS]
    ]


def _algorithm(facts: Facts) -> str:
    known = {setting.name: setting.value for setting in facts.settings}
    folds = 0 if isinstance(facts.folds, Missing) else len(facts.folds)
    network = known.get("model", "a convolutional network or transformer of timm")
    served = facts.judging.served or (f"mean of {folds} networks" if folds > 1 else "one network")
    return listed([f"{network}", served])


def _cut(text: str | None, most: int) -> str | None:
    return None if text is None else shortened(text, most)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
