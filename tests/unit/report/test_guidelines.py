"""Guidelines: every item once by its number, answered only where something is known, each gap a question."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lesion.report.checklists import CHECKLISTS
from lesion.report.guidelines import ANSWERS, gaps, guidelines
from lesion.report.questions import QUESTIONS
from report_facts import FACTS, binary, reasons


def main_numbers(key: str) -> set[int]:
    return {int("".join(filter(str.isdigit, number))) for number, _, _ in CHECKLISTS[key].items if number}


def test_the_items_are_those_of_the_published_checklists():
    """TRIPOD+AI: 27 (BMJ 2024;385:e078378); STARD-AI: 40 (doi 10.1038/s41591-025-03953-8); CLAIM: 44
    (doi 10.1148/ryai.240300). Item 2 of the first two is the abstract, which has a checklist of its own."""
    assert main_numbers("tripod_ai") == {*range(1, 28)} - {2}
    assert main_numbers("stard_ai") == {*range(1, 41)} - {2}
    assert main_numbers("claim") == {*range(1, 45)}
    assert len(CHECKLISTS["clear_derm"].items) == 25


def test_every_key_is_known_and_every_question_is_asked():
    keys = {key for checklist in CHECKLISTS.values() for _, _, text in checklist.items for key in text.split()}
    assert {key for key in keys if not key.startswith("?")} <= set(ANSWERS)
    assert {key[1:] for key in keys if key.startswith("?")} == set(QUESTIONS)
    for checklist in CHECKLISTS.values():
        numbers = [number for number, _, _ in checklist.items if number]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("name", FACTS)
def test_a_status_says_what_is_there(name):
    for checked in guidelines(FACTS[name]()).values():
        for item in checked["items"]:
            has = bool(item["answer"]), bool(item["gap"])
            assert item["status"] == {(True, False): "answered", (True, True): "partly", (False, True): "gap"}[has]
        assert sum(checked["counts"].values()) == len(checked["items"])


def test_what_the_user_says_fills_the_gaps_and_is_quoted():
    facts = binary().model_copy(update={"statements": {key: f"said of {key}" for key in QUESTIONS}})
    assert gaps(facts) == [] and len(gaps(binary())) == len(QUESTIONS)
    items = {item["number"]: item for item in guidelines(facts)["tripod_ai"]["items"]}
    assert items["17"] == {"number": "17", "topic": "ethical approval and consent", "status": "answered",
                           "answer": "said of ethics", "gap": ""}  # fmt: skip
    assert {item["number"]: item for item in guidelines(binary())["tripod_ai"]["items"]}["17"]["status"] == "gap"


def test_docs_report_lists_every_key_with_its_question():
    page = (Path(__file__).parents[3] / "docs/report.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", page.split("## Statements")[1], flags=re.MULTILINE)
    assert dict(rows) == QUESTIONS


def test_a_number_that_is_not_there_answers_nothing():
    items = {item["number"]: item for item in guidelines(reasons())["claim"]["items"]}
    assert items["37"]["status"] == "gap" and "could not be measured" in items["37"]["gap"]
    assert "0.913" in {item["number"]: item for item in guidelines(binary())["claim"]["items"]}["37"]["answer"]


@pytest.mark.parametrize("settings", [binary().settings, ()])  # a training report has settings, an evaluation none
def test_a_sentence_ends_with_one_full_stop(settings):
    for checked in guidelines(binary().model_copy(update={"settings": settings})).values():
        assert not [item["answer"] for item in checked["items"] if ".." in item["answer"]]


def test_patients_on_both_sides_are_said_where_the_partitions_are_asked_for():
    leaks = binary().leaks.model_copy(update={"shared_groups": 3, "shared_rows": 9})
    items = guidelines(binary().model_copy(update={"leaks": leaks}))["claim"]["items"]
    assert "3 patients are on both sides" in items[19]["answer"] and items[19]["number"] == "20"
    assert guidelines(FACTS["no_folds"]())["claim"]["items"][19]["status"] == "gap"
