"""Safeguards: what answers say of quality and familiarity, in each form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesion.algorithms.base import Options, Output, joined
from lesion.algorithms.classify.manifest import ClassifierRecord, QualityRecord
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.safeguards import Note, Safeguards
from lesion.data.appearance import NUM_VALUES, appearance
from lesion.data.quality.image_quality import surveyed
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.data.quality.quality_bounds import fit_bounds, share_warned
from lesion.errors import UserError
from lesion.evaluation.familiarity import Familiarity, fit_familiarity
from skin import blurred, skin, with_ruler

GOLDEN = Path(__file__).parents[2] / "golden" / "artifact_v3"
USUAL = skin(900, side_px=96)


@pytest.fixture(scope="module")
def plain() -> Ensemble:
    """A predictor without safeguards, of an artifact that was made before there were any."""
    return load_predictor(GOLDEN, device="cpu", num_cores=1, precision="fp32")


@pytest.fixture(scope="module")
def quality() -> QualityRecord:
    pictures = [skin(seed, side_px=96) for seed in range(100)]
    measures = PictureMeasures.of([surveyed(picture) for picture in pictures]).readable()
    bounds = fit_bounds(measures, image_size=32)
    return QualityRecord(
        on_low_quality="warn", num_pictures=100, bounds=bounds, share_warned=share_warned(measures, bounds)
    )


@pytest.fixture(scope="module")
def familiarity(plain: Ensemble) -> Familiarity:
    """Of drawn skin, by the folds of the golden artifact."""
    pictures = [skin(seed, side_px=96) for seed in range(150)]
    outputs = plain.compute(pictures, [{}] * len(pictures))
    looks = np.stack([appearance(plain.model.preprocessing(picture)) for picture in pictures])
    folds = {fold: np.stack([output.features_FVD[f, 0] for output in outputs]) for f, fold in enumerate(plain.folds)}
    found = fit_familiarity(folds, dict.fromkeys(folds, looks), dict.fromkeys(folds, np.arange(150)))
    assert isinstance(found, Familiarity)
    return found


def ask(of: Ensemble, image: np.ndarray, options: Options = Options()):
    [output] = of.executors[0]([of.prepare(image, {}, options)])
    return of.answer(output, options)


def test_an_artifact_of_before_answers_as_before(plain):
    answer = ask(plain, np.zeros((20, 20, 3), np.uint8))
    assert "warnings" not in {*answer.fields, *answer.line, *answer.columns, *plain.column_names}
    assert "familiarity" not in answer.fields


def test_a_usual_picture_has_no_warnings_and_a_poor_one_is_named_in_the_object(plain, quality):
    warned = plain.with_safeguards(Safeguards(quality, None))
    assert "warnings" not in ask(warned, USUAL).fields
    answer = ask(warned, blurred(USUAL))
    assert answer.fields["warnings"] == ["blurred"] and answer.bare == ask(plain, blurred(USUAL)).bare
    assert answer.columns["warnings"] == "blurred" and list(answer.columns) == list(warned.column_names)
    assert "warnings" not in answer.line
    assert ask(warned, blurred(USUAL), Options(details=True)).line["warnings"] == ["blurred"]
    assert answer.audit["warnings"] == ["blurred"]


def test_the_probability_is_the_same_whatever_is_said_beside_it(plain, quality, familiarity):
    guarded = plain.with_safeguards(Safeguards(quality, familiarity, 0.01))
    for image in (USUAL, blurred(USUAL)):
        assert ask(guarded, image).fields.items() >= ask(plain, image).fields.items()
        assert ask(guarded, image).cells == ask(plain, image).cells


def test_refused_is_what_hides_something_and_no_ruler_is_a_warning(plain, quality):
    strict = plain.with_safeguards(Safeguards(quality.model_copy(update={"on_low_quality": "refuse"}), None))
    with pytest.raises(UserError, match="too low: blurred") as caught:
        ask(strict, blurred(USUAL))
    assert caught.value.kind == "low_quality"
    ruled = with_ruler(skin(900, side_px=224))
    assert "warnings" not in ask(strict, ruled).fields


def test_nothing_is_measured_where_the_answer_has_no_place_for_it_and_refusals_stay(plain, quality, familiarity):
    """A row of CSV, a bare number, a line without details: their bytes are the same, and cost no survey."""
    guarded = plain.with_safeguards(Safeguards(quality, familiarity, 0.01))
    image, told = blurred(USUAL), ask(guarded, blurred(USUAL))
    assert "blurred" in told.fields["warnings"]
    for part in ("cells", "bare", "line"):
        options = Options(part=part)
        assert guarded.prepare(image, {}, options).notes == (Note((), None),)
        assert getattr(ask(guarded, image, options), part) == getattr(told, part)
    for options in (Options(part="fields"), Options(part="line", details=True), Options(part="bare", map="")):
        assert guarded.prepare(image, {}, options).notes[0].warnings == ("blurred",)
    strict = plain.with_safeguards(Safeguards(quality.model_copy(update={"on_low_quality": "refuse"}), familiarity))
    with pytest.raises(UserError, match="too low: blurred"):
        ask(strict, image, Options(part="cells"))


def test_a_stranger_is_said_to_be_unfamiliar(plain, familiarity):
    guarded = plain.with_safeguards(Safeguards(None, familiarity, 0.01))
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    stranger, usual = ask(guarded, noise), ask(guarded, USUAL)
    assert stranger.fields["warnings"] == ["unfamiliar"] and stranger.fields["familiarity"] < 0.01
    assert "warnings" not in usual.fields and 0.01 <= usual.fields["familiarity"] <= 1


def test_the_frames_of_a_case_are_judged_together(plain, quality, familiarity):
    guarded = plain.with_safeguards(Safeguards(quality, familiarity, 0.01))
    outputs = guarded.executors[0]([guarded.prepare(image, {}) for image in (USUAL, blurred(USUAL), blurred(USUAL))])
    assert guarded.answer(joined(outputs), Options()).fields["warnings"][0] == "blurred"
    assert guarded.answer(joined(outputs), Options()).fields["warnings"].count("blurred") == 1


def test_without_features_or_of_a_fold_without_statistics_familiarity_is_not_said(familiarity):
    note = Note((), np.zeros(NUM_VALUES, np.float32))
    guard = Safeguards(None, familiarity, 0.01)
    assert guard.judge(Output(np.zeros((2, 1, 1), np.float32), None, (note,)), [0, 1]) == (None, [])
    features = np.zeros((1, 1, familiarity.folds[0].mean_D.size), np.float32)
    assert guard.judge(Output(np.zeros((1, 1, 1), np.float32), features, (note,)), [17]) == (None, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"bounds": {"colour": (0, 1)}},
        {"bounds": {"blur": (None, float("nan"))}},
        {"on_low_quality": "shout"},
        {"share_warned": {"any": 2}},
    ],
)
def test_a_wrong_record_is_refused(quality, plain, wrong):
    fields = plain.model.model_dump() | {"quality": quality.model_dump() | wrong}
    with pytest.raises(ValueError, match="quality"):
        ClassifierRecord.model_validate(fields)
