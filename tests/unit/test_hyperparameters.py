"""Hyperparameters: what each declares of itself: what it affects, and how the page of all shows it."""

from __future__ import annotations

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.config import describe


def test_each_field_says_what_it_affects():
    """A finished fold is kept where only its predictions, or less, would be others."""
    config = ClassifyConfig()
    assert {name for name in ClassifyConfig.model_fields if config.affects(name) == "predictions"} == {"tta"}
    assert {name for name in ClassifyConfig.model_fields if config.affects(name) == "output"} == {
        *("slide_score", "export_graph", "calibration", "operating_point", "deployment_prevalence", "report_names"),
        *("on_low_quality", "explain"),
    }
    assert {name for name in ClassifyConfig.model_fields if config.affects(name) == "nothing"} == {
        *("batch_size_predict", "device", "num_workers", "cache", "processes", "parallel"),
        *("checkpoint_interval_s", "on_foreign_checkpoint"),
    }


@pytest.mark.parametrize(
    ("change", "weights", "predictions"),
    [
        ({"tta": 8}, True, False),
        (
            {"batch_size_predict": 1, "slide_score": "max", "export_graph": False, "on_low_quality": "refuse"},
            True,
            True,
        ),
        ({"learning_rate": 1e-3}, False, False),
        ({"metric": "log_loss"}, False, False),
        ({"precision": "bf16"}, False, False),
    ],
)
def test_the_settings_of_weights_and_predictions_differ_where_a_field_affects_them(change, weights, predictions):
    before, after = ClassifyConfig(), ClassifyConfig(**change)
    assert (before.that_affect("weights") == after.that_affect("weights")) is weights
    assert (before.that_affect("predictions") == after.that_affect("predictions")) is predictions


def test_the_views_of_a_linear_probe_alone_affect_its_weights():
    """Its head is fitted to the features of all views that prediction averages; one that is trained on is not."""
    alone, trained_on = {"head_init": "probe", "epochs": 0}, {"head_init": "probe", "epochs": 1}
    assert "tta" in ClassifyConfig(**alone).that_affect("weights")
    assert "tta" not in ClassifyConfig(**trained_on).that_affect("weights")


def rows_of_page() -> dict[str, list[str]]:
    """The cells of each row of the page, by name."""
    rows = [line.strip("|").split(" | ") for line in describe(ClassifyConfig).splitlines() if line.startswith("| `")]
    return {name.strip("` "): [cell.strip() for cell in cells] for name, *cells in rows}


def test_the_page_has_a_row_for_each_with_values_default_and_sentence():
    cells_of = rows_of_page()
    assert set(cells_of) == set(ClassifyConfig.model_fields)
    for name, field in ClassifyConfig.model_fields.items():
        values, default, _, changes, sentence = cells_of[name]
        assert values and "typing" not in values and "<class" not in values
        assert changes == ClassifyConfig().affects(name)
        assert sentence == field.description and sentence.endswith(".")
        given = {name: default.strip("`")}
        assert ClassifyConfig.parse(given) == ClassifyConfig()  # it can be written as the page writes it


def test_the_page_has_a_table_a_group_of_five_to_twelve():
    groups = ClassifyConfig.groups()
    headings = [line.removeprefix("## ") for line in describe(ClassifyConfig).splitlines() if line.startswith("## ")]
    assert headings == [group.heading for group in groups] == [
        *("Data", "Labels", "Cross-validation and evaluation", "Network", "Optimisation", "Regularisation and loss"),
        *("Machine", "Job"),
    ]  # fmt: skip
    assert all(5 <= len(group.model_fields) <= 12 for group in groups)
    assert sum(len(group.model_fields) for group in groups) == len(ClassifyConfig.model_fields)  # none in two


def test_the_page_shows_bounds_and_tuning_range():
    values, _, tune, *_ = rows_of_page()["learning_rate"]
    assert values == "number > 0, ≤ 1" and tune == "1e-05 to 0.01 logarithmic"
    assert rows_of_page()["batch_size_train"][0] == "`auto` or integer ≥ 4"


# The name that a textbook, a paper or a peer's documentation uses, with which a user searches.
TEXTBOOK = [
    *(
        "gradient accumulation",
        "weight decay",
        "test-time augmentation",
        "linear probe",
        "early stopping",
        "batch size",
    ),
    *("learning-rate schedule", "warm-up", "fine-tuning", "label smoothing", "exponential moving average", "mixup"),
    *("cutmix", "gradient clipping", "mixed precision", "data parallelism", "cross-validation", "random seed"),
    *("transfer learning", "class weights", "multilabel", "random initialisation", "checkpoint", "backbone"),
]


@pytest.mark.parametrize("term", TEXTBOOK)
def test_a_textbooks_name_finds_its_hyperparameter(term):
    assert any(term in (field.description or "").lower() for field in ClassifyConfig.model_fields.values())
