"""Model cards: Hugging Face's own reader finds the metrics; SageMaker's schema and lengths hold for any facts."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from huggingface_hub import ModelCard

from lesion.report.model_card import model_card, sagemaker_card, sagemaker_text
from lesion.report.sections import JudgedSet
from report_facts import FACTS, binary, thousand

# The schema of a Model Card's content (docs.aws.amazon.com/sagemaker/latest/dg, "Model card JSON schema"). Lengths as
# CloudFormation's resource AWS::SageMaker::ModelCard states them.
TEXT_1024, TEXT_2048 = {"type": "string", "maxLength": 1024}, {"type": "string", "maxLength": 2048}
AXIS = {"type": "string", "maxLength": 63}
AXES = {"type": "array", "items": AXIS}


def record(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def metric_of(types: list[str], value: dict[str, Any], axes: dict[str, Any]) -> dict[str, Any]:
    name = {"type": "string", "pattern": "^.{1,255}$"}
    kind = {"type": "string", "enum": types}
    fields = {"name": name, "type": kind, "value": value, "notes": TEXT_1024, "x_axis_name": axes, "y_axis_name": axes}
    return record(("name", "type", "value"), **fields)


SIMPLE = metric_of(
    ["number", "string", "boolean"],
    {"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 63}, {"type": "boolean"}]},
    AXIS,
)
ROW = {"type": "array", "minItems": 1, "maxItems": 20, "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}}
MATRIX = metric_of(["matrix"], {"type": "array", "minItems": 1, "maxItems": 20, "items": ROW}, AXES)
GROUP = record(
    ("name", "metric_data"),
    name={"type": "string", "pattern": "^.{1,63}$"},
    metric_data={"type": "array", "items": {"anyOf": [SIMPLE, MATRIX]}},
)
NAMED = {"type": "string", "pattern": "^.{1,255}$"}
SCHEMA = record(
    model_overview=record(
        model_id=TEXT_1024, model_name=TEXT_1024, model_description=TEXT_1024,
        model_version={"type": "number", "minimum": 1}, problem_type=TEXT_1024, algorithm_type=TEXT_1024,
        model_creator=TEXT_1024, model_owner=TEXT_1024,
    ),
    intended_uses=record(
        purpose_of_model=TEXT_2048, intended_uses=TEXT_2048, factors_affecting_model_efficiency=TEXT_2048,
        risk_rating={"type": "string", "enum": ["High", "Medium", "Low", "Unknown"]},
        explanations_for_risk_rating=TEXT_2048,
    ),
    business_details=record(business_problem=TEXT_2048, business_stakeholders=TEXT_2048, line_of_business=TEXT_2048),
    training_details=record(
        objective_function=record(
            function=record(
                function={"type": "string", "enum": ["Maximize", "Minimize"]}, facet=AXIS, condition=AXIS
            ),
            notes=TEXT_1024,
        ),
        training_observations=TEXT_1024,
        training_job_details=record(
            training_arn=TEXT_1024,
            user_provided_training_metrics={
                "type": "array", "maxItems": 50,
                "items": record(("name", "value"), name=NAMED, value={"type": "number"}, notes=TEXT_1024),
            },
            user_provided_hyper_parameters={
                "type": "array", "maxItems": 100, "items": record(("name", "value"), name=NAMED, value=NAMED)
            },
        ),
    ),
    evaluation_details={
        "type": "array",
        "items": record(
            ("name",),
            name={"type": "string", "pattern": "^.{1,63}$"},
            evaluation_observation={"type": "string", "maxLength": 2096},
            evaluation_job_arn={"type": "string", "maxLength": 256},
            datasets={"type": "array", "maxItems": 10, "items": TEXT_1024},
            metric_groups={"type": "array", "items": GROUP},
        ),
    },
    additional_information=record(ethical_considerations=TEXT_2048, caveats_and_recommendations=TEXT_2048),
)  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_sagemakers_card_obeys_its_schema(name):
    card = sagemaker_card(FACTS[name]())
    jsonschema.validate(card, SCHEMA)
    assert len(json.dumps(card)) <= 100_000
    assert card["intended_uses"]["risk_rating"] == "Unknown"


def test_long_words_are_cut_to_what_sagemaker_takes():
    facts = binary()
    long = "w" * 5_000
    settings = tuple(facts.settings[0].model_copy(update={"name": f"{long}{k}", "value": long}) for k in range(300))
    metrics = tuple(facts.metrics[0].model_copy(update={"name": long}) for _ in range(300))
    changed = {"title": long, "settings": settings, "metrics": metrics, "statements": {"intended_use": long}}
    judging = facts.judging.model_copy(update={"how": long})
    card = sagemaker_card(facts.model_copy(update={**changed, "judging": judging}))
    jsonschema.validate(card, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):  # the schema does refuse
        jsonschema.validate({**card, "intended_uses": {"intended_uses": long}}, SCHEMA)


@pytest.mark.parametrize("letter", ["w", "\u826f"])  # one that JSON writes as it is, one as six characters
@pytest.mark.parametrize("num_sets", [0, 1, 40])
def test_however_much_there_is_to_say_the_card_is_short_enough_and_whole(letter, num_sets):
    facts, long = binary(), letter * 5_000
    setting = facts.settings[0]
    settings = tuple(setting.model_copy(update={"name": f"{k}{long}", "value": long}) for k in range(200))
    metrics = tuple(facts.metrics[0].model_copy(update={"name": f"{k}{long}"}) for k in range(80))
    one = JudgedSet(name="Test set", judged=long, num_rows=9, metrics=metrics)
    changed = {"title": long, "settings": settings, "metrics": metrics, "sets": (one,) * num_sets}
    statements = {"intended_use": long, "context": long, "ethics": long}
    text = sagemaker_text(facts.model_copy(update={**changed, "statements": statements}))
    assert 20_000 < len(text) <= 100_000
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_card_at_the_limit_is_not_cut():
    """Texts are cut only where the whole is too long: a card of nearly the limit holds what a smaller one does."""
    facts = binary()
    metrics = tuple(facts.metrics[0].model_copy(update={"key": f"k{k}"}) for k in range(50))
    one = JudgedSet(name="Test set", judged="Judged.", num_rows=9, metrics=metrics)
    longest = facts
    for num in range(1, 40):
        more = facts.model_copy(update={"sets": (one,) * num})
        if len(json.dumps(sagemaker_card(more), indent=1)) + 1 > 100_000:
            assert len(sagemaker_text(more)) <= 100_000
            break
        longest = more
    assert len(longest.sets) >= 1 and json.loads(sagemaker_text(longest)) == sagemaker_card(longest)


@pytest.mark.parametrize("name", FACTS)
def test_hugging_faces_reader_finds_the_metrics(name):
    facts = FACTS[name]()
    card = ModelCard(model_card(facts))
    known = [metric for metric in facts.metrics if metric.number.value is not None]
    assert card.data.pipeline_tag == "image-classification" and "medical-imaging" in card.data.tags
    found = [(result.metric_type, result.metric_value) for result in card.data.eval_results or []]
    assert found == [(metric.key, metric.number.value) for metric in known]
    assert card.text.count("## ") >= 7 and "not a medical device" in card.text


@pytest.mark.parametrize(
    "word", ["a: b", "- x", "#", '"', "'", "---", "\n---\nlicense: mit", "<script>", "{{ x }}", "良性"]
)
def test_no_word_of_a_user_changes_the_metadata(word):
    card = ModelCard(model_card(binary().model_copy(update={"title": word})))
    assert card.data.license == "other" and len(card.data.eval_results) == 3
    assert "<script>" not in card.text.replace("\\<script\\>", "")


def test_a_thousand_classes_have_a_card_that_can_be_read():
    assert len(model_card(thousand())) < 20_000
