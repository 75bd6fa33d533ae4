"""Answers: the same probabilities in each form, as those who read them expect it."""

from __future__ import annotations

import csv
import io
import json
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.algorithms.base import Answer, Options, Output
from lesion.algorithms.classify.manifest import TargetRecord, read
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.artifact import load_manifest
from lesion.errors import UserError
from lesion.serve.answers import CSV, JSON, LINES, ResponseInfo, choose_accept, encode, refusal_of_all
from lesion.serve.options import read_options
from lesion.serve.own_headers import escaped_positive_class, own_headers
from lesion.serve.records import Form, Invocation

GOLDEN = Path(__file__).parents[2] / "golden" / "artifact_v2"
BASE = load_manifest(GOLDEN)  # of two folds
INFO = ResponseInfo("abc123", "id-7")
BAD = UserError("not a picture", do="Send one.", kind="unreadable_image")


def ensemble(
    kind: str, names: tuple[str, ...], thresholds: tuple[float, ...], of_interest: str | None = None
) -> Ensemble:
    """A predictor of that question; nothing computes in it."""
    target = TargetRecord(kind=kind, class_names=names, of_interest=of_interest, thresholds=thresholds)
    model = read(GOLDEN, BASE).model_copy(update={"target": target})
    return Ensemble(BASE, model, model.folds, [], max_batch=1, backend="")


YES_NO = ensemble("binary", ("benign", "malignant"), (0.25,))
FLOWERS = ensemble("multiclass", ("daisy", "rose", "tulip"), ())
SIGNS = ensemble("multilabel", ("a", "b"), (0.5, 0.5))
OF_INTEREST = ensemble("multiclass", ("mel", "nv", "bkl"), (0.3,), "mel")


def tell(
    results: list[list[list[float]] | UserError],
    of: Ensemble,
    media_type: str,
    form: Form = "picture",
    options: Options = Options(),
    unused: list[list[str]] | None = None,
) -> str:
    """What is told of pictures of which each fold says these probabilities, or of errors in their place."""
    answers = (
        result if isinstance(result, UserError) else of.answer(Output(logits(result, of)), options)
        for result in results
    )
    details = INFO if options.details else None
    invocation = Invocation([], form, unused or [])
    return encode(answers, invocation, media_type=media_type, num_cells=of.num_cells, details=details).decode()


def logits(probs_FK: list[list[float]], of: Ensemble) -> np.ndarray:
    """Of one view [F, 1, K], from which the probabilities follow."""
    probs_FVK = np.array(probs_FK, np.float64)[:, None]
    with np.errstate(divide="ignore"):  # of what is sure
        return np.log(probs_FVK) - (0 if of.target.kind == "multiclass" else np.log1p(-probs_FVK))


def answer(*folds: list[float]) -> list[list[float]]:
    return list(folds)


def test_yes_or_no_in_each_form():
    one = answer([0.5], [0.25])  # mean .375, in the digits of a float32
    assert json.loads(tell([one], YES_NO, JSON)) == {"predictions": [{"probability": 0.375, "label": "malignant"}]}
    assert tell([one], YES_NO, JSON, "payload") == "0.375"
    assert tell([one], YES_NO, LINES) == '{"prediction": [0.625, 0.375]}'
    assert tell([one], YES_NO, CSV) == "0.375,malignant"


def test_several_classes_in_each_form():
    one = answer([0.125, 0.625, 0.25], [0.125, 0.375, 0.5])
    probabilities = {"daisy": 0.125, "rose": 0.5, "tulip": 0.375}
    assert json.loads(tell([one], FLOWERS, JSON, "payload")) == {"probabilities": probabilities, "label": "rose"}
    assert tell([one], FLOWERS, LINES) == '{"prediction": [0.125, 0.5, 0.375]}'
    assert tell([one], FLOWERS, CSV) == "0.125,0.5,0.375,rose"
    [told] = json.loads(tell([one], FLOWERS, JSON, options=Options(top_k=2)))["predictions"]
    assert list(told["probabilities"].items()) == [("rose", 0.5), ("tulip", 0.375)]


def test_labels_and_a_positive_class_of_many():
    assert tell([answer([0.5, 0.75])], SIGNS, CSV) == "0.5,0.75,a|b"
    assert json.loads(tell([answer([0.25, 0.75])], SIGNS, JSON))["predictions"][0]["labels"] == ["b"]
    one = answer([0.25, 0.5, 0.25])
    assert tell([one], OF_INTEREST, CSV) == "0.25,not mel"
    assert tell([one], OF_INTEREST, JSON, "payload") == "0.25"
    assert tell([one], OF_INTEREST, LINES) == '{"prediction": [0.25, 0.5, 0.25]}'


@pytest.mark.parametrize(
    ("names", "escaped"),
    [
        (("benign", "malignant"), "malignant"),
        (("normal", "basal cell, 2/3"), "basal%20cell%2C%202%2F3"),
        (("良性", "悪性\r\nX: y"), "%E6%82%AA%E6%80%A7%5Cr%5CnX%3A%20y"),
    ],
)
def test_the_header_holds_any_positive_class_in_ascii(names, escaped):
    headers = own_headers(escaped_positive_class(ensemble("binary", names, (0.5,))), "")
    assert headers == {
        "X-Lesion-Positive-Class": escaped,
        "X-Amzn-SageMaker-Custom-Attributes": f"positive_class={escaped}",
    }


@pytest.mark.parametrize("letter", ["a", "𝔞"])
@pytest.mark.parametrize("num_unused", [0, 1, 20, 40])
def test_custom_attributes_fit_whatever_there_is_to_say(letter, num_unused):
    """InvokeEndpoint, CustomAttributes: visible ASCII, up to 1,024 characters."""
    names = [f"{quote(letter * 30)}{number}:unknown_field" for number in range(num_unused)]
    positive = escaped_positive_class(ensemble("binary", ("a", letter * 10_000), (0.5,)))
    said = own_headers(positive, ",".join(names))["X-Amzn-SageMaker-Custom-Attributes"]
    assert re.fullmatch(r"[\x20-\x7e]{1,1024}", said) and said.startswith(f"positive_class={positive}")
    told = said.partition("; unused=")[2].split(",")
    if num_unused:
        num_told = len(told) - told[-1].endswith("_more")
        assert told[:num_told] == names[:num_told]
        assert num_told == num_unused or told[-1] == f"{num_unused - num_told}_more"


def test_the_clients_own_attributes_are_returned_unchanged_and_many_classes_have_no_header():
    sent = own_headers("mel", "sex:unknown_word", attributes="trace=7; who=me")
    assert sent["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7; who=me"
    assert sent["X-Lesion-Unused"] == "sex:unknown_word" and sent["X-Lesion-Positive-Class"] == "mel"
    assert escaped_positive_class(OF_INTEREST) == "mel"
    assert own_headers(escaped_positive_class(FLOWERS), "") == {}


def test_details_tell_each_fold_the_spread_the_model_and_the_request():
    told = json.loads(tell([answer([0.5], [0.25])], YES_NO, JSON, "payload", Options(details=True)))
    assert told["model"] == "abc123" and told["request_id"] == "id-7"
    assert told["predictions"] == [
        {
            **{"probability": 0.375, "label": "malignant", "positive_class": "malignant"},
            **{"folds": {"0": 0.5, "1": 0.25}, "spread": 0.25},
            **{"operating_point": {"asked": "youden", "threshold": 0.25}},
        }
    ]
    several = answer([0.125, 0.625, 0.25], [0.125, 0.375, 0.5])
    line = json.loads(tell([several], FLOWERS, LINES, options=Options(details=True)))
    assert line["spread"] == 0.25 and line["folds"]["1"] == {"daisy": 0.125, "rose": 0.375, "tulip": 0.5}
    assert line["prediction"] == [0.125, 0.5, 0.375] and line["request_id"] == "id-7"


def test_a_bad_record_has_its_place_in_each_form():
    answers = [answer([0.5]), BAD, answer([0.25])]
    predictions = json.loads(tell(answers, YES_NO, JSON, "instances"))["predictions"]
    assert predictions[1] == {"error": {"kind": "unreadable_image", "message": "not a picture. Send one."}}
    lines = tell(answers, YES_NO, LINES, "lines").split("\n")
    assert len(lines) == 3 and json.loads(lines[1]) == predictions[1]
    assert tell(answers, YES_NO, CSV, "csv") == "0.5,malignant\nERROR,unreadable_image\n0.25,malignant"
    assert tell([BAD], FLOWERS, CSV, "csv") == "ERROR,,,unreadable_image"  # as many columns as a good row


def test_a_request_of_which_no_record_can_be_answered_is_refused_with_the_first_reasons():
    other = UserError("no", where="line 2", do="Send another.", kind="bad_request")
    for errors, kind, words in (
        ([BAD], "unreadable_image", "not a picture. Send one."),
        ([BAD] * 9, "unreadable_image", "none of the 9 records could be predicted. Correct them. The first 3: not a"),
        ([BAD, other], "bad_request", "none of the 2 records.* not a picture. Send one. no \\(line 2\\)"),
        ([UserError("x" * 9000, do="y")] * 4, "bad_input", "none of the 4 records"),
    ):
        refusal = refusal_of_all(errors)
        assert re.search(words, str(refusal))
        assert refusal.kind == kind and (len(errors) == 1 or len(str(refusal)) < 1500)
        assert refusal not in errors  # one that is raised again holds the frames that hold it


@pytest.mark.parametrize("media_type", [JSON, LINES, CSV])
def test_an_answer_is_let_go_once_it_is_written(media_type):
    """A hundred thousand of them with every class of many would not fit."""
    made: list[weakref.ref[Answer]] = []

    def answers() -> Iterator[Answer]:
        for _ in range(50):
            assert sum(answer() is not None for answer in made) <= 1
            answer = YES_NO.answer(Output(logits([[0.5], [0.25]], YES_NO)), Options())
            made.append(weakref.ref(answer))
            yield answer

    encode(answers(), Invocation([], "lines"), media_type=media_type, num_cells=YES_NO.num_cells)
    assert len(made) == 50


@pytest.mark.parametrize("options", [Options(), Options(details=True)])
def test_what_was_not_used_is_told_with_the_answer_of_its_picture(options):
    unused = [["weight:unknown_field"], [], []]
    answers = [answer([0.5], [0.5]), answer([0.25], [0.5]), BAD]
    lines = tell(answers, YES_NO, LINES, "lines", options, unused).split("\n")
    predictions = json.loads(tell(answers, YES_NO, JSON, "lines", options, unused))["predictions"]
    for told in ([json.loads(line) for line in lines], predictions):
        assert told[0]["unused"] == ["weight:unknown_field"]
        assert "unused" not in told[1] and told[2].keys() == {"error"}
    assert tell(answers, YES_NO, CSV, "csv", options, unused).splitlines()[0] == "0.5,malignant"


def test_what_was_not_used_is_told_beside_the_one_object_of_a_payload_and_never_beside_a_number():
    unused = [["sex:unknown_word"]]
    assert tell([answer([0.5])], YES_NO, JSON, "payload", unused=unused) == "0.5"
    told = json.loads(tell([answer([0.25, 0.5, 0.25])], FLOWERS, JSON, "payload", unused=unused))
    assert told["label"] == "rose" and told["unused"] == ["sex:unknown_word"]


def test_a_class_of_any_name_breaks_no_line_of_json_and_no_header():
    odd = ensemble("binary", ("a\nb", "c\rd"), (0.25,))
    for media_type in (LINES, JSON):
        assert "\n" not in tell([answer([0.5])], odd, media_type)
    [row] = csv.reader(io.StringIO(tell([answer([0.5])], odd, CSV), newline=""))
    assert row == ["0.5", "c\rd"]


@given(st.lists(st.sampled_from([BAD, answer([0.5], [0.125])]), min_size=1, max_size=20))
def test_there_is_a_line_for_each_record_and_none_at_the_end(answers):
    for media_type in (LINES, CSV):
        text = tell(answers, YES_NO, media_type, "lines")
        assert len(text.split("\n")) == len(answers) and not text.endswith("\n")


@given(st.floats(0, 1, width=32))
def test_a_float32_comes_back_bit_for_bit(prob):
    for text in (tell([answer([prob])], YES_NO, JSON, "payload"), tell([answer([prob])], YES_NO, CSV).split(",")[0]):
        assert np.float32(float(text)) == np.float32(prob)


@pytest.mark.parametrize(
    ("accept", "form", "chosen"),
    [
        ("", "picture", JSON),
        ("", "lines", LINES),
        ("", "csv", CSV),
        ("*/*", "picture", JSON),
        ("*/*", "lines", LINES),
        ("application/json", "lines", JSON),
        ("text/csv", "picture", CSV),
        ("text/*", "picture", CSV),
        ("application/x-jsonlines", "picture", LINES),
        ("text/html, application/json;q=0.5", "picture", JSON),
        ("text/csv;q=0.5, application/jsonlines;q=0.9", "picture", LINES),
        ("application/*", "csv", JSON),
        ("APPLICATION/JSON; charset=utf-8", "picture", JSON),
        ("application/json;q=0, */*", "picture", LINES),
        ("text/csv;q=0, */*", "csv", JSON),
        ("text/csv, */*", "picture", CSV),  # what is named before what is not
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "picture", JSON),  # Java's HttpURLConnection
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "csv", CSV),
        ("*", "lines", LINES),
        ("text/csv;q=.1, application/json;q=.9", "csv", JSON),
        ("text/csv ; Q = 0.1 , application/json ; q=1.", "csv", JSON),
        ("text/csv;q=0.10, application/jsonlines;q=0.9;x=1", "picture", LINES),
        (" , ,application/json,", "lines", JSON),
        ("APPLICATION/*;Q=0.5", "picture", JSON),
        ("text/csv;q=high, application/json;q=0.5", "picture", CSV),
        ("application/json;q=7, text/csv", "picture", JSON),
    ],
)
def test_accept_chooses_the_form_of_the_answer(accept, form, chosen):
    assert choose_accept(accept, form) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "image/*", "application/xml", "application/json;q=0", "*/*;q=0", "json"]
)
def test_an_answer_that_we_do_not_write_is_refused(accept):
    with pytest.raises(UserError, match="application/jsonlines") as refusal:
        choose_accept(accept, "picture")
    assert refusal.value.kind == "accept"


@given(st.text(max_size=60))
def test_any_accept_is_a_form_or_refused_in_words(accept):
    try:
        assert choose_accept(accept, "picture") in {JSON, LINES, CSV}
    except UserError as error:
        assert error.kind == "accept"


@given(probs=st.permutations([0.5, 0.25, 0.125, 0.0625, 0.0625]), top_k=st.integers(1, 7))
def test_top_k_are_the_likeliest_with_the_likeliest_first(probs, top_k):
    several = ensemble("multiclass", tuple("abcde"), ())
    [told] = json.loads(tell([answer(probs)], several, JSON, options=Options(top_k=top_k)))["predictions"]
    assert list(told["probabilities"].values()) == sorted(probs, reverse=True)[:top_k]
    assert all(probs["abcde".index(name)] == prob for name, prob in told["probabilities"].items())


def test_options_are_read_among_what_others_put_there():
    assert read_options("") == Options()
    assert read_options("trace=7; who=me; who=you") == Options()
    assert read_options("views=4, top_k=3; details=true; trace=a=b") == Options(4, 3, details=True)
    assert read_options(" Views = 8 ,DETAILS=1") == Options(8, None, details=True)
    assert read_options("map=True") == Options(map="") and read_options("map=False") == Options()
    assert read_options("map=In situ%2C late, views=2") == Options(2, map="In situ, late")
    for encoding in ("utf-8", "latin-1"):
        assert read_options("map=mélanome".encode(encoding).decode("latin-1")) == Options(map="mélanome")


@pytest.mark.parametrize(
    "text",
    [
        "views=0",
        "views=9",
        "views=two",
        "views=",
        "top_k=-1",
        "top_k=1.5",
        "details=maybe",
        "views=²",
        "views=4,VIEWS=8",
    ],
)
def test_an_option_out_of_bounds_is_refused_by_name(text):
    with pytest.raises(UserError, match=text.partition("=")[0]) as refusal:
        read_options(text)
    assert refusal.value.kind == "custom_attributes"


def test_all_wrong_options_are_refused_together():
    with pytest.raises(UserError) as refusal:
        read_options("views=9, top_k=0; details=maybe, trace=x, views=3")
    for words in ("views='3' is not what came before", "views='9'", "top_k='0'", "details='maybe'"):
        assert words in str(refusal.value)
    assert refusal.value.kind == "custom_attributes" and len(refusal.value.each) == 4


@given(st.text(max_size=60))
def test_any_attributes_are_options_or_refused_in_words(text):
    try:
        read_options(text)
    except UserError as error:
        assert error.kind == "custom_attributes"
