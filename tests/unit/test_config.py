"""Config: SageMaker's texts in, one frozen object out, or one error that says all."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.recipes import RECIPES
from lesion.config import BUILT_IN_NAMES, OLD_NAMES, UNNEEDED_NAMES
from lesion.data.sources.formats import FORMATS
from lesion.errors import UserError
from lesion.evaluation.metrics import METRICS
from lesion.geometry import NUM_VIEWS

# What the SDKs and the console do to a value before it is in hyperparameters.json (contract, P1).
DIALECTS = {
    "str": str,
    "json": json.dumps,
    "json of str": lambda value: json.dumps(str(value)),
}

words = st.text("abcxyz_/.é", min_size=1, max_size=12)
names = st.text("abcxyz_.é", min_size=1, max_size=12)  # no path
colours = st.lists(st.floats(0.01, 1), min_size=3, max_size=3)
VALID = {
    "algorithm": st.just("classify"),
    "recipe": st.sampled_from(["none", "good", "histology"]),
    "model": words,
    "model_args": st.dictionaries(names, st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-1, 1), names)),
    "pretrained": st.one_of(st.booleans(), words.map(lambda word: f"/weights/{word}")),
    "final_model": st.sampled_from(["ensemble", "refit", "soup"]),
    "calibration": st.sampled_from(["auto", "none", "temperature", "platt", "isotonic"]),
    "operating_point": st.sampled_from(["youden", "sensitivity=0.95", "specificity=0.9", "cost=10", "threshold=0.3"]),
    "deployment_prevalence": st.one_of(st.none(), st.floats(0.001, 0.999)),
    "image_size": st.integers(32, 2048),
    "fit": st.sampled_from(["crop", "pad", "stretch"]),
    "image_mean": st.one_of(st.none(), colours),
    "image_std": st.one_of(st.none(), colours),
    "source": st.sampled_from(["auto", *FORMATS]),
    "table_file": st.one_of(st.none(), words),
    "image_column": st.one_of(st.none(), words),
    "target_column": st.lists(words, min_size=1, max_size=4),
    "positive_class": st.one_of(st.none(), words),
    "label_separator": st.one_of(st.none(), words),
    "task_type": st.just("auto"),
    "on_uncertain": st.sampled_from(["error", "drop", "positive", "negative"]),
    "class_name_column": st.one_of(st.none(), words),
    "group_column": words,
    "on_missing_group": st.sampled_from(["own_group", "drop", "error"]),
    "metadata_columns": st.one_of(st.none(), st.lists(words, max_size=4)),
    "log_columns": st.lists(words, max_size=4),
    "metadata_dropout": st.floats(0, 1, exclude_max=True),
    "folds": st.integers(2, 100),
    "split": words,
    "repeats": st.integers(1, 20),
    "head_init": st.sampled_from(["random", "probe"]),
    "freeze_epochs": st.integers(0, 99),
    "batch_norm": st.sampled_from(["train", "frozen"]),
    "epochs": st.integers(1, 10_000),
    "patience": st.integers(1, 99),
    "batch_size_train": st.one_of(st.just("auto"), st.integers(4, 999)),
    "gradient_accumulation": st.integers(1, 2),
    "batch_size_predict": st.integers(1, 999),
    "precision": st.sampled_from(["auto", "fp32", "bf16"]),
    "optimizer": st.sampled_from(["adam", "adamw"]),
    "learning_rate": st.floats(0, 1, exclude_min=True),
    "head_lr_factor": st.floats(0.001, 1000),
    "layer_decay": st.floats(0, 1, exclude_min=True),
    "schedule": st.sampled_from(["plateau", "cosine"]),
    "warmup_epochs": st.floats(0, 1, exclude_max=True),
    "lr_factor": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "lr_patience": st.integers(0, 99),
    "weight_decay": st.floats(0, 1),
    "clip_norm": st.floats(0, 99),
    "ema_decay": st.floats(0, 1, exclude_max=True),
    "label_smoothing": st.floats(0, 1, exclude_max=True),
    "flips": st.sampled_from(list(NUM_VIEWS)),
    "mixup": st.floats(0, 9),
    "cutmix": st.floats(0, 9),
    "class_weight": st.one_of(st.sampled_from(["none", "balanced"]), st.floats(0.001, 1000)),
    "metric": st.sampled_from(sorted(METRICS)),
    "tta": st.integers(1, 8),
    "device": st.sampled_from(["auto", "cpu", "cuda"]),
    "num_workers": st.one_of(st.just("auto"), st.integers(0, 64)),
    "cache": st.sampled_from(["auto", "off"]),
    "processes": st.one_of(st.just("auto"), st.integers(1, 64)),
    "parallel": st.sampled_from(["auto", "folds", "data"]),
    "checkpoint_interval_s": st.floats(0, 9999),
    "on_foreign_checkpoint": st.sampled_from(["error", "set_aside"]),
    "export_graph": st.booleans(),
    "report_names": st.booleans(),
    "explain": st.booleans(),
    "dicom_frames": st.sampled_from(["first", "middle", "all"]),
    "on_bad_image": st.sampled_from(["error", "drop"]),
    "find_copies": st.booleans(),
    "on_leak": st.sampled_from(["error", "drop", "warn", "merge_groups"]),
    "slide_score": st.sampled_from(["none", "max", "mean", "top_k", "top_k:1", "top_k:25", "noisy_or"]),
    "on_low_quality": st.sampled_from(["ignore", "warn", "refuse"]),
    "seed": st.integers(0, 2**32 - 1),
}


def refused(raw: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        ClassifyConfig.parse(raw)
    assert caught.value.kind == "hyperparameters"
    return str(caught.value)


def go_together(values: dict[str, Any]) -> bool:
    """Whether the values are none of those that are refused further below."""
    recipe = RECIPES[values["recipe"]].settings if values.get("recipe", "none") != "none" else {}
    given, values = values, {**recipe, **values}
    needs_weights = values.get("head_init") == "probe" or values.get("batch_norm") == "frozen"
    needs_weights |= values.get("freeze_epochs", 0) > 0
    metadata, targets = values.get("metadata_columns"), values.get("target_column", ["target"])
    are_lists_fit = metadata is None or (set(values.get("log_columns", [])) <= set(metadata) - set(targets))
    are_lists_fit &= metadata is None or not set(metadata) & set(targets)
    if values.get("folds", 6) * values.get("repeats", 1) > 100 or values.get("group_column") in targets:
        return False
    if "tta" in given and given["tta"] > NUM_VIEWS[values.get("flips", "flips_and_rotations")]:
        return False
    if values.get("final_model") == "soup" and values.get("repeats", 1) > 1:
        return False
    if values.get("deployment_prevalence") is not None and values.get("calibration") == "none":
        return False
    return are_lists_fit and not (needs_weights and values.get("pretrained") is False)


def test_the_property_below_knows_every_hyperparameter():
    assert set(VALID) == set(ClassifyConfig.model_fields)


@given(values=st.fixed_dictionaries({}, optional=VALID))
def test_the_three_dialects_say_the_same(values):
    assume(go_together(values))
    configs = [
        ClassifyConfig.parse({name: write(value) for name, value in values.items()}) for write in DIALECTS.values()
    ]
    assert configs[0] == configs[1] == configs[2]
    expected = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    assert {name: getattr(configs[0], name) for name in values} == expected


@pytest.mark.parametrize(
    ("settings", "tta"),
    [
        ({"flips": "none"}, 1),
        ({"flips": "horizontal"}, 2),
        ({"flips": "flips"}, 3),
        ({"flips": "flips_and_rotations"}, 3),
        ({"flips": "none", "recipe": "good"}, 1),
        ({"flips": "flips", "recipe": "good"}, 4),
        ({"recipe": "good"}, 8),
        ({"flips": "horizontal", "tta": "1"}, 1),
    ],
)
def test_the_views_that_nobody_set_are_those_that_flips_allow(settings, tta):
    config = ClassifyConfig.parse(settings)
    assert config.tta == tta and config.as_json()["tta"] == tta
    assert ClassifyConfig.parse(config.as_json()) == config


@pytest.mark.parametrize("recipe", ["none", "good"])
def test_more_views_than_flips_allow_are_refused_with_how_many_they_do(recipe):
    words = refused({"flips": "horizontal", "tta": "8", "recipe": recipe})
    assert "tta=8 averages more views than the 2 of flips=horizontal: set tta to at most 2" in words


@pytest.mark.parametrize("flips", ["sideways", ["none"], 1])
def test_flips_of_another_word_are_refused_with_those_there_are(flips):
    assert "'flips_and_rotations'" in refused({"flips": flips})


def test_defaults_are_those_of_the_brief():
    expected = {
        "model": "efficientnet_b2",
        "batch_size_train": 64,
        "batch_size_predict": 32,
        "device": "auto",
        "epochs": 15,
        "folds": 6,
        "learning_rate": 5e-4,
        "lr_factor": 0.4,
        "lr_patience": 1,
        "num_workers": "auto",
        "patience": 3,
        "tta": 3,
        "weight_decay": 0.0,
    }
    config = ClassifyConfig.parse({})
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"epochs": "0"}, "epochs=0 trains nothing: set head_init=probe"),
        ({"head_init": "probe", "pretrained": "false"}, "head_init=probe needs pretrained weights"),
        ({"batch_norm": "frozen", "pretrained": "false"}, "batch_norm=frozen keeps pretrained statistics"),
        ({"warmup_epochs": "5", "epochs": "5"}, "warmup_epochs=5 must be less than epochs=5"),
        ({"freeze_epochs": "1", "pretrained": "false"}, "freeze_epochs freezes a pretrained backbone"),
        ({"gradient_accumulation": "40"}, "gradient_accumulation=40 leaves micro-batches of less than two images"),
        ({"folds": "6", "repeats": "17"}, "folds=6 and repeats=17 would train 102 networks, more than 100"),
        ({"group_column": "target"}, "group_column=target is the target itself"),
        ({"split": "leave_one_group_out", "repeats": "2"}, "split=leave_one_group_out gives the same folds each time"),
        ({"log_columns": "age", "metadata_columns": "sex"}, "log_columns=age is not in metadata_columns"),
        ({"metadata_columns": "sex, target"}, "metadata_columns=target is the target itself"),
        ({"task_type": "multilabel"}, "task_type=multilabel is for several target columns"),
        (
            {"slide_score": "max", "target_column": "ink, hair", "task_type": "multilabel"},
            "slide_score=max needs one yes-or-no target",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(raw, says):
    assert says in refused(raw)


def test_a_hyperparameters_earlier_name_is_another_name_for_it():
    assert ClassifyConfig.parse({"target_of_interest": "nevus"}).positive_class == "nevus"
    assert ClassifyConfig.parse({"target_of_interest": "a", "positive_class": "a"}).positive_class == "a"
    message = refused({"target_of_interest": "a", "positive_class": "b"})
    assert "target_of_interest and positive_class are one hyperparameter, with two values here" in message


def test_all_that_does_not_go_together_is_said_at_once():
    message = refused({"epochs": "0", "gradient_accumulation": "40", "metadata_columns": "target"})
    assert all(says in message for says in ("epochs=0", "gradient_accumulation=40", "metadata_columns=target"))
    message = refused({"seed": "-1", "epochs": "0", "flips": "none", "tta": "8"})
    assert all(says in message for says in ("seed='-1'", "epochs=0", "tta=8"))
    assert "epochs" not in refused({"head_init": "prob", "epochs": "0"})  # it may be right once head_init is


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"batch_size_validation": "8"}, 8),
        ({"batch_size_test": "16"}, 16),
        ({"batch_size_validation": "32", "batch_size_test": "16"}, 16),
        ({"batch_size_test": "2", "batch_size_predict": "4"}, 2),
    ],
)
def test_the_other_names_of_the_batch_size_of_prediction_set_it_and_the_smallest_counts(given, expected):
    """No pass over pictures may be larger than what the user allowed for one of them."""
    assert ClassifyConfig.parse(given).batch_size_predict == expected


@pytest.mark.parametrize("others", [{}, {"batch_size_validation": "8"}, {"batch_size_predict": "8"}])
def test_what_another_name_says_is_refused_under_that_name(others):
    assert "batch_size_test='many': needs a whole number" in refused({**others, "batch_size_test": "many"})


@pytest.mark.parametrize("text", ["8", "8.0", '"8"', '"8.0"', " 8 ", "8e0"])
def test_an_integer_may_be_written_as_a_number_without_a_remainder(text):
    epochs = ClassifyConfig.parse({"epochs": text}).epochs
    assert epochs == 8 and type(epochs) is int


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1.0E-4", 1e-4), ("0.0001234567", 0.0001234567), ('"1e-4"', 1e-4), ("1", 1.0)]
)
def test_a_number_may_be_written_as_tuners_write_it(text, value):
    assert ClassifyConfig.parse({"learning_rate": text}).learning_rate == value


@pytest.mark.parametrize("text", ["0123", "1e3", "1.0", "true", "[1]", "{1, 2}", '{"a": 1}'])
def test_what_looks_like_something_else_stays_text_for_a_text(text):
    assert ClassifyConfig.parse({"group_column": text}).group_column == text
    assert ClassifyConfig.parse({"group_column": json.dumps(text)}).group_column == text


def test_a_list_may_be_bare_words():
    assert ClassifyConfig.parse({"metadata_columns": "sex, age_approx"}).metadata_columns == ("sex", "age_approx")
    assert ClassifyConfig.parse({"metadata_columns": "('sex', 'age')"}).metadata_columns == ("sex", "age")


CAN_BE_NONE = [
    name
    for name, field in ClassifyConfig.model_fields.items()
    if type(None) in get_args(field.annotation) or "none" in str(field.annotation)
]


@pytest.mark.parametrize("name", CAN_BE_NONE)
@pytest.mark.parametrize("text", ["none", "None", "NONE", "null", " none ", '"none"', '"None"', None])
def test_none_is_none_wherever_it_is_allowed_however_it_is_written(name, text):
    assert getattr(ClassifyConfig.parse({name: text}), name) in {None, "none"}


@pytest.mark.parametrize("name", sorted(set(ClassifyConfig.model_fields) - set(CAN_BE_NONE)))
def test_none_is_refused_or_a_word_where_it_is_not_allowed(name):
    try:
        assert getattr(ClassifyConfig.parse({name: "none"}), name) in {"none", ("none",)}
    except UserError as error:
        assert f"{name}='none'" in str(error)


def test_the_readme_says_none_where_none_is_allowed():
    assert set(CAN_BE_NONE) == {
        *("image_column", "positive_class", "class_name_column", "metadata_columns", "image_mean", "image_std"),
        *("label_separator", "class_weight", "slide_score", "recipe", "flips", "table_file"),
        *("calibration", "deployment_prevalence"),
    }


def test_a_file_written_by_hand_may_hold_numbers_and_lists():
    config = ClassifyConfig.parse({"epochs": 3, "pretrained": False, "image_mean": [0, 0.5, 1], "image_column": None})
    assert (config.epochs, config.pretrained, config.image_mean) == (3, False, (0.0, 0.5, 1.0))


@pytest.mark.parametrize("quote", [str, json.dumps])
def test_what_the_platform_adds_is_ignored(quote):
    added = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "s3://bucket/code",
        "sagemaker_region": "eu-west-1",
        "_tuning_objective_metric": "validation:roc_auc",
        "model_dir": "s3://bucket/model",
    }
    assert ClassifyConfig.parse({name: quote(value) for name, value in added.items()}) == ClassifyConfig.parse({})


def test_model_dir_is_no_hyperparameter_of_ours_unless_the_platform_sent_it():
    assert "model_dir='/tmp/model' is not a hyperparameter" in refused({"model_dir": "/tmp/model"})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epoch", "epochs"),
        ("Learning-Rate", "learning_rate"),
        ("weight_decya", "weight_decay"),
        *BUILT_IN_NAMES.items(),
        *OLD_NAMES.items(),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known(wrong, right):
    message = refused({wrong: "12345"})
    assert f"{wrong}='12345' is not a hyperparameter (did you mean {right}?)" in message


def test_the_built_in_algorithms_names_lead_to_ours():
    assert "did you mean batch_size_train?" in refused({"mini_batch_size": "32"})
    assert "did you mean batch_size_validation?" in refused({"batch_size_vlidation": "32"})


@pytest.mark.parametrize(("name", "why"), UNNEEDED_NAMES.items())
def test_a_name_that_is_not_needed_is_refused_with_the_reason(name, why):
    assert f"{name}='3' is not a hyperparameter: {why}" in refused({name: "3"})


def test_an_unknown_name_unlike_any_other_gets_no_suggestion():
    assert "did you mean" not in refused({"qqqq": "1"})


def test_all_that_is_wrong_is_said_at_once():
    message = refused(
        {"epochs": "-1", "lr_factor": "2", "mini_batch_size": "8", "image_mean": "[1, 2]", "device": "tpu", "x9": "y"}
    )
    for name in (
        "epochs='-1'",
        "lr_factor='2'",
        "mini_batch_size='8'",
        "image_mean='[1, 2]'",
        "device='tpu'",
        "x9='y'",
    ):
        assert name in message


@pytest.mark.parametrize(
    ("name", "text", "bound"),
    [
        ("epochs", "-1", "greater than or equal to 0"),
        ("folds", "101", "less than or equal to 100"),
        ("learning_rate", "0", "greater than 0"),
        ("lr_factor", "1", "less than 1"),
        ("tta", "9", "less than or equal to 8"),
        ("image_size", "31", "greater than or equal to 32"),
        ("class_weight", "-1", "greater than 0"),
        ("num_workers", "-1", "greater than or equal to 0"),
        ("image_std", "[0.2, 0.2, 0]", "greater than 0"),
        ("image_mean", "[0.5, 0.5]", "three numbers"),
        ("device", "tpu", "'auto', 'cpu' or 'cuda'"),
        ("seed", str(2**32), "less than 4294967296"),
        ("slide_score", "top_k:0", "top_k:K with a K from 1 to 999999"),
        ("slide_score", "top_k:x", "as top_k:3"),
        ("slide_score", "median", "needs none, max, mean, noisy_or, top_k, or top_k:K"),
        (
            "image_mean",
            "[123.675, 116.28, 103.53]",
            "123.675 is not 0 to 1, as black is 0 and white is 1: divide all by 255",
        ),
        ("image_mean", "[-0.1, 0.5, 0.5]", "-0.1 is not 0 to 1"),
        ("image_std", "[58.4, 57.1, 57.4]", "divide all by 255"),
        ("pretrained", "no", "write false for random initialisation, or true"),
        ("pretrained", "Off", "write false for random initialisation, or true"),
        ("pretrained", "yes", "write true for pretrained weights, or false"),
        ("pretrained", "TRUE", "write true for pretrained weights, or false"),
        ("pretrained", "1", "write true for pretrained weights, or false"),
        ("recipe", "brief", "leave recipe out, or set recipe=none"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_value_and_bound(name, text, bound):
    message = refused({name: text})
    assert f"{name}={text!r}" in message and bound in message


@pytest.mark.parametrize("name", ["learning_rate", "class_weight", "weight_decay", "epochs", "num_workers"])
@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999", '"NaN"'])
def test_what_is_no_finite_number_is_refused(name, text):
    refused({name: text})


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "num_workers", "class_weight", "seed"])
@pytest.mark.parametrize("value", ["true", "True", '"true"', True])
def test_a_boolean_is_not_taken_for_a_number(name, value):
    refused({name: value})


@pytest.mark.parametrize(
    ("text", "pooling"), [("top_k", ("top_k", 10)), ("top_k:3", ("top_k", 3)), ("max", ("max", 10))]
)
def test_a_slide_score_says_how_many_tiles_it_takes(text, pooling):
    assert ClassifyConfig.parse({"slide_score": text}).slide_pooling == pooling


@pytest.mark.parametrize("text", ["8.5", "1,000", "0x10", "eight", "", "[8]"])
def test_an_integer_is_not_guessed(text):
    refused({"epochs": text})


jsonish = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(
    name=st.sampled_from(sorted(ClassifyConfig.model_fields)),
    text=st.one_of(
        st.text(), st.text("[]{}()'\",:.-+0123456789eEINTrueFalsNo \\"), jsonish.map(str), jsonish.map(json.dumps)
    ),
)
@example("model_args", "{[]: 1}")
@example("model_args", '{"a": 1e999}')
@example("seed", "1" * 5000)
@example("folds", "[" * 9999)
@example("image_mean", "[0.1]")
@example("epochs", "('a')")
@example("group_column", "b'x'")
def test_no_text_brings_out_anything_but_a_config_or_a_user_error(name, text):
    try:
        config = ClassifyConfig.parse({name: text})
    except UserError as error:
        assert name in str(error)
    else:
        assert json.dumps(config.as_json())
        assert not any(isinstance(value, float) and not math.isfinite(value) for value in config.as_json().values())


def test_a_config_comes_back_from_its_own_json():
    config = ClassifyConfig.parse({"model_args": "{'pad_type': 'same'}", "image_std": "[0.1, 0.2, 0.3]", "tta": "8"})
    assert ClassifyConfig.parse({name: json.dumps(value) for name, value in config.as_json().items()}) == config


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        ClassifyConfig.parse({}).epochs = 1


@pytest.mark.parametrize("value", [None, "null", "many"])
def test_what_is_no_number_is_refused_in_words_that_say_so(value):
    assert "learning_rate=" in refused({"learning_rate": value}) and ": needs a number." in refused(
        {"learning_rate": value}
    )


def test_a_value_of_no_known_form_is_refused_once_and_without_a_regular_expression():
    said = refused({"slide_score": "top_k:0"})
    assert said.count("slide_score=") == 1 and "^" not in said
