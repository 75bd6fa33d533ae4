"""Page: one file that fetches nothing, readable by anyone, and true to the facts, whatever they hold."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from lesion.report.facts import Facts
from lesion.report.page import render
from lesion.report.sections import (
    CheckFinding,
    Confusion,
    ConfusionMatrix,
    Missing,
    Number,
    Question,
    SetCounts,
)
from lesion.report.words import answers, doubts, per_thousand, shown, whom
from report_facts import FACTS, WHY, binary, multiclass, thousand

VOID = {"meta", "link", "img", "br", "input", "line", "path", "polyline", "polygon", "circle", "rect"}
HOSTILE = (
    "<script>alert(1)</script>",
    "</style>",
    '"><img src=x onerror=alert(1)>',
    "a\nb",
    "\u202eabc",
    "{{ 7*7 }}",
    "x" * 9_000,
)


class Page(HTMLParser):
    """Every element with its attributes, and whether each was closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
            self.open.pop()

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("name", FACTS)
def test_a_page_is_whole_fetches_nothing_and_says_what_it_shows(name):
    text = render(FACTS[name]())
    page = Page(text)
    assert page.open == [] and len(text) < 5 * 2**20
    for tag, attributes in page.elements:
        for attribute in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert attributes.get(attribute, "#").startswith(("#", "data:")), (tag, attributes)
        assert not any(attribute.startswith("on") for attribute in attributes), (tag, attributes)
    assert not re.search(r"url\(|@import|https?://", text.split("<main")[0])
    assert all(image["alt"] for image in page.all("img"))
    drawn = [svg for svg in page.all("svg") if "aria-hidden" not in svg]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawn)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


@pytest.mark.parametrize("name", FACTS)
def test_the_same_facts_give_the_same_page(name):
    assert render(FACTS[name]()) == render(FACTS[name]())


def test_the_policy_lets_the_pages_own_script_run_and_no_other():
    text = render(binary())
    [script] = re.findall("<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = Page(text).all("meta")[2]["content"]
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_the_first_screen_says_how_good_at_which_threshold_on_whom_and_what_is_wrong():
    first = render(binary()).split('<section id="judging">')[0]
    for words in (
        "ROC AUC 0.913",
        "0.893 to 0.933",
        "0.925",
        "0.214",
        "86.0 %",
        "3,584 images of 1,204 patients",
        "misses",
    ):
        assert words in first, words
    assert first.count("<img") == 6 and "not a medical device" in first


def test_a_score_is_not_called_a_probability():
    question = binary().question.model_copy(update={"answer": "score"})
    facts = binary().model_copy(update={"question": question})
    assert "from a probability of" in answers(binary())[0] and "from a score of" in answers(facts)[0]


def test_each_reason_is_told_and_no_table_is_empty():
    facts = FACTS["reasons"]()
    text = render(facts)
    reasons = [value.why for value in vars(facts).values() if isinstance(value, Missing)]
    assert len(reasons) > 15 and all(why in text for why in reasons)
    assert "<tbody></tbody>" not in re.sub(r"\s", "", text)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_word_of_a_user_becomes_part_of_the_page(word):
    facts = thousand()
    classes = (word, *facts.question.classes[1:])
    sets = (SetCounts(name="training", num_rows=3, num_groups=2, classes={word: 3}),)
    hostile = facts.model_copy(
        update={
            "title": word,
            "question": facts.question.model_copy(update={"classes": classes}),
            "data": facts.data.model_copy(update={"sets": sets}),
            "classes": (facts.classes[0].model_copy(update={"name": word}), *facts.classes[1:]),
            "statements": {"intended_use": word},
        }
    )
    page = Page(render(hostile))
    assert page.open == [] and len(page.all("script")) == 1 and len(page.all("style")) == 1
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_a_thousand_classes_are_a_table_that_can_be_searched_and_not_a_thousand_curves():
    text = render(thousand())
    assert text.count('<polyline class="line') < 60 and 'data-search="#class-table"' in text
    assert "7 of 1,000 are drawn" in text and len(text) < 2 * 2**20


def test_a_class_without_a_calibration_curve_is_not_left_out_without_a_word():
    facts = multiclass()
    assert len(facts.curves.calibration) == 1 and len(facts.classes) == 5
    assert "The band is the 95 % interval. 1 of 5 are drawn." in render(facts)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (Number(value=0.9254, interval=(0.9119, 0.9381)), "0.925 (0.912 to 0.938)"),
        (Number(value=0.5), "0.500"),
        (Number(why="fewer than 10 positives"), "fewer than 10 positives"),
    ],
)
def test_a_number_in_words(number, expected):
    assert shown(number) == expected


def labels(counts: dict[str, int], num_rows: int) -> Facts:
    """Several labels, of which an image may have any, with as many images."""
    facts = binary()
    points = tuple(
        facts.chosen[0].model_copy(update={"output": name, "prevalence": count / num_rows})
        for name, count in counts.items()
    )
    return facts.model_copy(
        update={
            "question": Question(kind="multilabel", classes=tuple(counts), positive_class=None),
            "judging": facts.judging.model_copy(update={"num_rows": num_rows}),
            "data": facts.data.model_copy(
                update={"sets": (SetCounts(name="training", num_rows=num_rows, num_groups=9, classes=counts),)}
            ),
            "operating_points": points,
        }
    )


def test_a_labels_share_is_of_the_images_and_prevalences_stand_in_the_order_of_the_labels():
    """Of labels the counts add up to anything; sorted as text, 12 % would stand before 5 %."""
    facts = labels({"nodule": 50, "effusion": 900, "mass": 120}, 1000)
    assert whom(facts)[1] == "effusion 900 (90%), mass 120 (12%), nodule 50 (5%)."
    assert "told at a prevalence of 5.0 % nodule, 90.0 % effusion, 12.0 % mass." in render(facts)
    assert "told at a prevalence of 15.0 %." in render(binary())


def test_of_rows_without_a_positive_no_predictive_value_is_told_and_a_small_prevalence_is_no_zero():
    facts, [point] = binary(), binary().chosen
    none = {name: Number(why="the rows are of one class") for name in ("sensitivity", "ppv", "npv")}
    without = point.model_copy(update={**none, "prevalence": 0.0, "per_1000": None})
    page = render(facts.model_copy(update={"operating_points": (without,)}))
    assert "told at a prevalence" not in page and "nothing is known of PPV, NPV and 1,000 images" in page
    rare = point.model_copy(update={"prevalence": 0.0004})
    assert "told at a prevalence of 0.04 %." in render(facts.model_copy(update={"operating_points": (rare,)}))


def test_the_first_screen_says_what_a_mean_is_over():
    assert "Mean over the classes, each against the rest." in render(FACTS["multiclass"]())
    facts = FACTS["multiclass"]()
    metric = facts.headline.metric.model_copy(update={"note": "mean over 4 of 5 outputs: the others have fewer"})
    some = facts.model_copy(update={"headline": facts.headline.model_copy(update={"metric": metric})})
    assert '<p class="small">Mean over 4 of 5 outputs: the others have fewer.</p>' in render(some)
    assert "Mean over" not in render(binary())


def test_a_thousand_are_like_these_or_those_of_the_place_where_the_model_is_used():
    counts = Confusion(tp=30, fp=40, fn=10, tn=320)  # 40 of 400
    point = binary().chosen[0].model_copy(update={"confusion": counts, "prevalence": 0.1})
    assert per_thousand(point).startswith("Of 1,000 like these, ")
    assert per_thousand(point.model_copy(update={"prevalence": 0.02})).startswith("Of 1,000 where the model is used, ")


def test_a_model_that_answers_one_class_only_is_warned_of():
    facts = binary()
    point = facts.chosen[0].model_copy(update={"confusion": Confusion(tp=0, fp=0, fn=20, tn=380)})
    never = facts.model_copy(update={"operating_points": (point,)})
    assert ("warning", f"it answers not {point.output} for every image.") in doubts(never)
    always = point.model_copy(update={"confusion": Confusion(tp=20, fp=380, fn=0, tn=0)})
    assert ("warning", f"it answers {point.output} for every image.") in doubts(
        facts.model_copy(update={"operating_points": (always,)})
    )
    several = FACTS["multiclass"]()
    counts = tuple((0, 7, *(0,) * (len(several.question.classes) - 2)) for _ in several.question.classes)
    same = several.model_copy(
        update={"confusion": ConfusionMatrix(classes=several.question.classes, counts=counts), "operating_points": WHY}
    )
    assert ("warning", f"it answers {several.question.classes[1]} for every image.") in doubts(same)
    assert not [text for _, text in doubts(facts) if "for every image" in text]


def test_doubts_name_what_must_be_known_first():
    assert doubts(FACTS["no_folds"]())[0][1].startswith("images of one patient may lie on both sides")
    few = binary().model_copy(update={"judging": binary().judging.model_copy(update={"num_units": 7})})
    assert ("warning", "7 patients are few: the intervals are wide, and may be too narrow still.") in doubts(few)
    leaks = binary().leaks.model_copy(update={"shared_groups": 3, "shared_rows": 9})
    assert doubts(binary().model_copy(update={"leaks": leaks}))[0] == (
        "error",
        "3 patients in training and in validation.",
    )
    trained_on = CheckFinding(
        level="warning", name="copies_across_folds", what="2 pairs of copies", do="on_leak=warn trains on them"
    )
    leaky = doubts(binary().model_copy(update={"leaks": binary().leaks.model_copy(update={"leaks": (trained_on,)})}))
    assert leaky[0] == ("error", "2 pairs of copies (on_leak=warn trains on them).")
    assert all(level != "note" for level, _ in leaky)
    shortcut = binary().shortcuts.model_copy(update={"by": {"all": Number(value=0.91)}})
    told = [text for _, text in doubts(binary().model_copy(update={"shortcuts": shortcut}))]
    assert any("alone reaches 0.910, the network 0.913" in text for text in told)


def test_where_only_some_images_are_judged_their_classes_are_told_and_warned_of():
    judging = binary().judging.model_copy(update={"num_rows": 78, "classes": {"benign": 59, "melanoma": 19}})
    facts = binary().model_copy(update={"judging": judging})  # of 3,584 in training
    assert whom(facts)[1] == "benign 59 (76%), melanoma 19 (24%)."
    assert ("warning", "only 19 images of melanoma.") in doubts(facts)


def test_a_mean_over_folds_that_is_far_from_the_headline_is_explained_beside_it():
    headline = binary().headline.model_copy(update={"beside_folds": "The mean over the folds is 0.980."})
    page = render(binary().model_copy(update={"headline": headline}))
    assert "The mean over the folds is 0.980." in page.split("What does it answer?")[0]
