"""Labels: what is written in target columns becomes the question they ask, or a clear word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesion.data.labels.encode import read_labels
from lesion.data.labels.uncertain import NOT_MENTIONED
from lesion.data.table import SampleTable
from lesion.errors import UserError


def table_of(names: list[str] | None = None, **columns: list[str]) -> SampleTable:
    targets = pd.DataFrame(columns)
    return SampleTable(
        name_S=np.array([f"p{row}" for row in range(len(targets))]),
        metadata=pd.DataFrame(index=range(len(targets))),
        targets=targets,
        class_name_S=None if names is None else np.array(names),
        where="train.csv",
    )


def read(table: SampleTable, **settings):
    labels = read_labels(table, **settings)
    return labels, labels.encode(table)


def said(labels) -> dict[str, str]:
    """What was decided, by the remarks' names."""
    return {remark.name: remark.what for remark in labels.remarks}


@pytest.mark.parametrize("cells", [["0", "1", "0"], ["0.0", "1.0", "0"], ["0", "1", "0.0"]])
def test_zero_and_one_ask_yes_or_no(cells):
    labels, targets_SK = read(table_of(target=cells))
    assert labels.target.kind == "binary" and labels.target.class_names == ("0", "1")
    assert targets_SK.tolist() == [[0], [1], [0]] and targets_SK.dtype == np.float32


@pytest.mark.parametrize(
    ("no", "yes"),
    [("no", "yes"), ("normal", "abnormal"), ("nevus", "melanoma"), ("healthy", "cancer"), ("no", "Yes"), ("0", "1")],
)
def test_of_two_words_the_finding_is_the_positive_class_whatever_the_alphabet_says(no, yes):
    labels, targets_SK = read(table_of(target=[yes, no, yes]))
    assert labels.target.class_names == (no, yes) and targets_SK.tolist() == [[1], [0], [1]]
    assert labels.target.positive_class == yes
    assert said(labels)["positive_class"] == f"the probability is that of class '{yes}'; '{no}' is the negative class"


def test_a_positive_class_that_sounds_healthy_is_a_warning_unless_the_user_chose_it():
    table = table_of(["malignant", "benign"] * 2, target=["0", "1"] * 2)
    labels, targets_SK = read(table)
    assert labels.target.class_names == ("malignant", "benign") and targets_SK[:, 0].tolist() == [0, 1, 0, 1]
    [remark] = labels.remarks
    assert remark.level == "warning" and "though 'benign' sounds like the healthy state" in remark.what
    [remark] = read(table, positive_class="benign")[0].remarks
    assert remark.level == "note"
    labels, targets_SK = read(table, positive_class="malignant")
    assert labels.target.class_names == ("benign", "malignant") and targets_SK[:, 0].tolist() == [1, 0, 1, 0]


def test_numbers_other_than_0_and_1_are_asked_about_or_known_by_their_names():
    assert read(table_of(target=["1", "2"] * 2), positive_class="1")[0].target.class_names == ("2", "1")
    labels, targets_SK = read(table_of(["sick", "healthy"] * 2, target=["1", "2"] * 2))
    assert labels.target.class_names == ("healthy", "sick") and targets_SK[:, 0].tolist() == [1, 0, 1, 0]


def test_a_positive_class_is_found_however_it_is_spelt():
    table = table_of(target=["Basal cell", "Melanoma"] * 2)
    assert read(table, positive_class="basal-cell")[0].target.positive_class == "Basal cell"


@pytest.mark.parametrize(
    ("cells", "classes", "told"),
    [
        (["Benign", "benign", "Benign", "malignant"], [0, 0, 0, 1], "Benign ('Benign' in 2 rows, 'benign' in 1 row)"),
        (["notumor", "no_tumor", "tumor", "tumor"], [0, 0, 1, 1], "('no_tumor' in 1 row, 'notumor' in 1 row)"),
        (["L\u00e4sion", "La\u0308sion", "normal", "normal"], [1, 1, 0, 0], "Läsion"),
        (["ＡＢ", "AB", "normal", "normal"], [1, 1, 0, 0], "AB"),
        (["0", "0.0", "False", "1"], [0, 0, 0, 1], "('0' in 1 row, '0.0' in 1 row, 'False' in 1 row)"),
        (["yes", "Yes", "1", "no"], [1, 1, 1, 0], "1 ('1' in 1 row, 'Yes' in 1 row, 'yes' in 1 row)"),
        (["True", "TRUE", "false", "false"], [1, 1, 0, 0], "('TRUE' in 1 row, 'True' in 1 row)"),
    ],
)
def test_spellings_of_a_class_are_one_class_and_said_so(cells, classes, told):
    labels, targets_SK = read(table_of(target=cells))
    assert labels.target.kind == "binary" and targets_SK[:, 0].tolist() == classes
    assert told in said(labels)["class_spellings"]


def test_signs_and_ranges_are_no_spellings_of_each_other():
    labels, _ = read(table_of(target=["HER2+", "HER2-", "1-2", "12"] * 2))
    assert labels.target.num_outputs == 4 and "class_spellings" not in said(labels)


def test_a_test_set_may_spell_a_class_in_another_way_and_it_is_said():
    labels, _ = read(table_of(target=["nevus", "melanoma"] * 2))
    other = table_of(target=["MELANOMA", "nevus"])
    assert labels.encode(other).tolist() == [[1], [0]]
    [remark] = labels.remarks_of(other)
    assert "melanoma ('MELANOMA' in 1 row)" in remark.what
    assert labels.remarks_of(table_of(target=["nevus"])) == ()


NIH = ["Effusion|Mass", "Effusion", "No Finding", "Mass", "Mass | Effusion"]


def test_joined_words_are_several_labels():
    labels, targets_SK = read(table_of(findings=NIH))
    assert labels.target.kind == "multilabel" and labels.target.class_names == ("Effusion", "Mass")
    assert targets_SK.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1], [1, 1]]
    assert "several labels in 2 of 5 rows" in said(labels)["joined_labels"]
    assert labels.encode(table_of(findings=["normal", "mass|effusion"])).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    "joined",
    [
        *("Effusion\\Mass", "Effusion、Mass", "Effusion·Mass", "Effusion:Mass", "Effusion - Mass", "Effusion_Mass"),
        *("Effusion with Mass", "Effusion und Mass", "Effusion et Mass", "Effusion y Mass", "Effusion e Mass"),
    ],
)
def test_a_word_that_joins_classes_of_other_rows_is_asked_about(joined):
    with pytest.raises(UserError, match="several labels in one cell, or a class of its own") as caught:
        read(table_of(t=[joined, "Effusion", "Mass", "normal"] * 2))
    separator = caught.value.do.split("label_separator=")[1].split(" ")[0]
    labels, _ = read(table_of(t=[joined, "Effusion", "Mass", "normal"] * 2), label_separator=separator)
    assert labels.target.class_names == ("Effusion", "Mass")
    assert read(table_of(t=[joined, "torso", "arm"] * 2))[0].target.kind == "multiclass"


@pytest.mark.parametrize(
    "cells",
    [["Mass, Edema", "Effusion, Edema"], ["Mass, Edema", "Effusion, Nodule", "Hernia, Cyst"], ["Mass, Edema", "Mass"]],
)
def test_commas_are_asked_about_also_where_no_label_stands_alone(cells):
    with pytest.raises(UserError, match="several labels in one cell"):
        read(table_of(t=cells * 3))


@pytest.mark.parametrize(
    "cells",
    [
        ["['Mass' 'Effusion']", "['Mass']", "[]"],
        ["{'Mass', 'Effusion'}", "{'Mass'}", "set()"],
        ["('Mass', 'Effusion')", "('Mass',)", "()"],
        ["array(['Mass', 'Effusion'], dtype=object)", "array(['Mass'], dtype=object)", "array([], dtype=object)"],
        ["['Mass', 'Effusion']", "Mass", "No Finding"],
        ["Mass|Effusion", "Mass", "0"],
        ["Mass|Effusion", "Mass", "kein Befund"],
        ["Mass|Effusion", "Mass", "aucun"],
    ],
)
def test_lists_as_programs_print_them_and_words_for_none_are_read(cells):
    labels, targets_SK = read(table_of(t=cells * 2))
    assert labels.target.class_names == ("Effusion", "Mass")
    assert targets_SK[:3].tolist() == [[1, 1], [0, 1], [0, 0]]


def test_lists_of_numbers_are_labels_unless_they_may_be_places():
    labels, targets_SK = read(table_of(t=["[0 1]", "[1]", "[2]"] * 2))
    assert labels.target.class_names == ("0", "1", "2") and targets_SK[0].tolist() == [1, 1, 0]
    with pytest.raises(UserError, match="which place is which class"):
        read(table_of(t=["[0 1]", "[1 0]"] * 2))


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["0", "1", "0", "1", "9"], "9 in 1 row"),
        (["0", "1", "0", "1", "-9"], "-9 in 1 row"),
        (["0", "1", "0", "1", "nan"], "nan in 1 row"),
        (["benign", "malignant", "benign", "malignant", "N/A"], "N/A in 1 row"),
        (["benign", "malignant", "benign", "malignant", "benign?"], "benign? in 1 row"),
        (["normal", "cancer", "normal", "cancer", "poor quality"], "poor quality in 1 row"),
    ],
)
def test_codes_of_missing_values_beside_two_classes_are_a_warning(cells, told):
    labels, _ = read(table_of(target=cells * 2))
    assert labels.target.num_outputs == 3 and told.replace("1 row", "2 rows") in said(labels)["missing_codes"]
    assert "missing_codes" not in said(read(table_of(target=["0", "1", "2"] * 2))[0])


def test_class_names_that_contradict_the_target_are_counted():
    table = table_of(["benign", "malignant", "benign", "benign"], target=["0", "1", "0", "1"])
    labels, _ = read(table)
    assert labels.target.class_names == ("0", "1")
    assert "benign in 2 rows of 0 and 1 row of 1" in said(labels)["class_names_contradict"]
    table = table_of(["benign", "malignant", "benign", "benign"], target=["benign", "malignant", "benign", "malignant"])
    assert "benign in 1 row of malignant" in said(read(table)[0])["class_names_contradict"]
    labels, _ = read(table_of(["nevus", "melanoma", "cyst", "melanoma"], target=["0", "1", "0", "1"]))
    assert "several names for 0" in said(labels)["class_names_not_used"]


def test_a_separator_that_is_set_is_taken_and_none_keeps_words_whole():
    cells = ["a + b", "a", "b", "c"] * 2
    labels, targets_SK = read(table_of(t=cells), label_separator="+")
    assert labels.target.class_names == ("a", "b", "c") and targets_SK[0].tolist() == [1, 1, 0]
    labels, _ = read(table_of(t=cells), label_separator=None)
    assert labels.target.kind == "multiclass" and labels.target.num_outputs == 4


def test_a_name_with_a_separator_in_it_is_a_name():
    labels, _ = read(table_of(site=["head/neck", "torso", "palms, soles"] * 2))
    assert labels.target.kind == "multiclass" and labels.target.num_outputs == 3


def test_columns_of_which_one_is_1_are_one_question():
    columns = {"mel": ["1.0", "0.0", "0.0"], "nv": ["0.0", "1.0", "0.0"], "bcc": ["0.0", "0.0", "1.0"]}
    labels, targets_SK = read(table_of(**columns))
    assert labels.target.kind == "multiclass" and labels.target.class_names == ("mel", "nv", "bcc")
    assert targets_SK.tolist() == np.eye(3).tolist()
    assert "exactly one 1 in the columns mel, nv, bcc" in said(labels)["one_hot_columns"]
    labels, _ = read(table_of(**columns), positive_class="mel")
    assert labels.target.positive_class == "mel" and labels.target.kind == "multiclass"
    assert read(table_of(**columns), task_type="multilabel")[0].target.kind == "multilabel"


def test_two_columns_that_exclude_each_other_are_yes_or_no():
    labels, targets_SK = read(table_of(malignant=["1", "0", "0"], benign=["0", "1", "1"]))
    assert labels.target.class_names == ("benign", "malignant") and targets_SK.tolist() == [[1], [0], [0]]


def test_columns_may_say_true_and_false():
    labels, targets_SK = read(table_of(hair=["True", "FALSE", "yes"], ink=["1", "0", "no"]))
    assert targets_SK.tolist() == [[1, 1], [0, 0], [1, 0]] and labels.target.kind == "multilabel"


CHEXPERT = {"edema": ["1.0", "0.0", "-1.0", NOT_MENTIONED], "mass": ["0.0", "u", "1.0", "1.0"]}


@pytest.mark.parametrize(("policy", "value"), [("positive", 1), ("negative", 0)])
def test_uncertain_labels_are_what_the_policy_says_and_blank_ones_negative(policy, value):
    labels, targets_SK = read(table_of(**CHEXPERT), on_uncertain=policy)
    assert targets_SK.tolist() == [[1, 0], [0, value], [value, 1], [0, 1]]
    blank = "blank labels are taken as not mentioned, which is negative: 1"
    assert said(labels)["uncertain_labels"] == f"uncertain labels are taken as {policy}: 2; {blank}"


@pytest.mark.parametrize(
    ("cells", "classes"),
    [("NF", ("N", "F")), ("TY", ("T", "Y")), ("NFT", ("F", "N", "T")), ("NY", ("N", "Y")), ("FT", ("F", "T"))],
)
def test_letters_of_classes_are_no_spellings_of_no_and_yes_where_both_letters_of_one_occur(cells, classes):
    chosen = {"positive_class": classes[1]} if len(classes) == 2 else {}
    labels, targets_SK = read(table_of(t=list(cells) * 2), **chosen)
    assert labels.target.class_names == classes
    assert len(np.unique(targets_SK, axis=0)) == len(cells)


def test_an_uncertain_class_beside_many_is_learned_and_said():
    labels, _ = read(table_of(diagnosis=["nevus", "melanoma", "keratosis", "unknown"] * 2))
    assert "unknown" in labels.target.class_names and "holds unknown" in said(labels)["uncertain_class"]


def test_of_two_words_the_positive_class_is_yes():
    labels, targets_SK = read(table_of(target=["yes", "no", "yes"]), positive_class="no")
    assert labels.target.class_names == ("yes", "no") and targets_SK.tolist() == [[0], [1], [0]]
    labels, targets_SK = read(table_of(["b", "m"], target=["0", "1"]), positive_class="b")
    assert labels.target.class_names == ("m", "b") and targets_SK.tolist() == [[1], [0]]


def test_more_words_ask_which():
    labels, targets_SK = read(table_of(target=["rose", "daisy", "tulip", "rose", "daisy", "tulip"]))
    assert labels.target.kind == "multiclass" and labels.target.class_names == ("daisy", "rose", "tulip")
    assert targets_SK.argmax(axis=1).tolist() == [1, 0, 2, 1, 0, 2] and (targets_SK.sum(axis=1) == 1).all()


def test_numbers_of_classes_stand_in_their_order_and_take_the_names_of_another_column():
    numbers = ["10", "9.0", "2", "10", "9", "2"]
    labels, _ = read(table_of(target=numbers))
    assert labels.target.class_names == ("2", "9", "10")
    labels, targets_SK = read(table_of(["ten", "nine", "two"] * 2, target=numbers))
    assert labels.target.class_names == ("two", "nine", "ten") and targets_SK.argmax(axis=1)[0] == 2


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["good", "bad", "good"], ("good", "bad")),
        (["good", "bad", "fine"], ("0", "1")),  # two words for class 0
        (["same", "same", "same"], ("0", "1")),
        (["good", "", "good"], ("0", "1")),
    ],
)
def test_class_names_come_from_the_column_that_names_each_class_once(words, names):
    assert read(table_of(words, target=["0", "1", "0"]))[0].target.class_names == names


def test_several_columns_ask_each_for_itself():
    labels, targets_SK = read(table_of(hair=["1", "0"], ink=["1.0", "0"]))
    assert labels.target.kind == "multilabel" and labels.target.class_names == ("hair", "ink")
    assert targets_SK.tolist() == [[1, 1], [0, 0]]


def test_a_positive_class_is_one_of_many():
    table = table_of(diagnosis=["nevus", "melanoma", "keratosis"] * 2)
    labels, targets_SK = read(table, positive_class="melanoma")
    assert labels.target.kind == "multiclass" and labels.target.has_binary_answer and targets_SK.shape == (6, 3)


@pytest.mark.parametrize("other", ["1_0", "١٠"])
def test_what_python_alone_calls_a_number_is_a_word_of_its_own(other):
    labels, _ = read(table_of(grade=["10", other, "3"] * 2))
    assert set(labels.target.class_names) == {"10", other, "3"}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            {"t": ["0", "2"]},
            {},
            "'t' holds 0, 2, and it is unclear which of them is.*positive_class=0 or positive_class=2",
        ),
        ({"t": ["-1", "1"]}, {}, "'t' holds -1, 1, and it is unclear which.*positive_class=-1 or positive_class=1"),
        ({"t": ["bcc", "mel"]}, {}, "'t' holds bcc, mel, and it is unclear which.*Set positive_class=bcc or"),
        ({"t": ["normal", "Healthy"]}, {}, "it is unclear which of them"),
        ({"x": ["0", "1"], "y": ["1", "0"]}, {}, "columns x and y exclude each other.*Or set task_type=multilabel"),
        ({"x": ["0", "1"], "y": ["1", "1"]}, {"task_type": "multiclass"}, "1 of 2 rows do not have exactly one.*p1"),
        ({"t": ["0", "1", "True", "2"]}, {}, "holds 1 and True, which say the same, beside other classes"),
        ({"t": ["No Finding|Mass", "Mass", "Edema|Mass"]}, {}, "a label and its absence in 1 row: No Finding.Mass"),
        ({"t": ["a|b", "c|d"] * 2}, {}, "several labels in one cell, or a class.*label_separator=. if.*=none if"),
        ({"t": ["a, b", "a", "b"]}, {}, "several labels in one cell, or a class.*label_separator=, if.*=none if"),
        ({"t": ["a and b", "a", "b"]}, {}, "label_separator=and if these are several labels"),
        ({"t": ["a", "b"]}, {"label_separator": "|"}, "stands in no cell of column 't'"),
        ({"t": ["a|b", "a", "b"]}, {"positive_class": "a"}, "chooses one class of several.*labels a, b"),
        ({"t": ["0", "1", "-1"] * 2}, {}, "holds -1 in 2 rows.*on_uncertain=drop.*or positive or negative"),
        ({"t": ["benign", "malignant", "uncertain"] * 2}, {}, "holds uncertain in 2 rows.*on_uncertain=drop"),
        (
            {"t": ["0", "1", "2", "-1"] * 2},
            {},
            "holds -1 in 2 rows, beside 0, 1, 2:.*leave these rows out. If",
        ),
        ({"t": ["a", "b", "c", "?"] * 2}, {"on_uncertain": "positive"}, "uncertain labels in 2 of 8.*Set.*=drop"),
        (
            {"t": ["Effusion", "Mass", "Effusion|Mass", "uncertain", "Mass|uncertain"]},
            {"on_uncertain": "error"},
            "in 2 of 5 rows: Mass.uncertain in 1 cell, uncertain in 1 cell.*on_uncertain=drop.*write the .* alone",
        ),
        (
            {"t": ["Effusion", "Mass", "Effusion|Mass", "Mass|uncertain"]},
            {"on_uncertain": "drop"},
            "in 1 of 4 rows: Mass.uncertain in 1 cell .* In these cells write the uncertain word alone.*take it out",
        ),
        (CHEXPERT, {}, "columns edema, mass hold uncertain labels in 2 of 4 rows: -1.0 in 1 cell, u in 1 cell"),
        ({"t": ["0.5", "1"]}, {}, "measurements, not classes.*Set target_column"),
        ({"t": ["a", "a"]}, {}, "'t' holds one value only, a, in all 2 rows"),
        ({"t": ["0", "False"]}, {}, "'t' holds one value only, 0"),
        ({"t": ["0", "0.0"]}, {}, "'t' holds one value only, 0, in all 2 rows.*Add rows of class 1"),
        ({"t": ["a", "b", "c", "d"]}, {}, "4 different values in 4 rows: not a column of classes"),
        ({"t": ["0", "1"], "u": ["0", "3"]}, {}, "column 'u' holds 3: with several target columns each is 0 or 1"),
        ({"t": ["ab", "b", "c"] * 2}, {"positive_class": "abc"}, r"abc is not one of the classes.*Did you mean ab\?"),
        ({"t": ["0", "1"], "u": ["0", "1"]}, {"positive_class": "t"}, "chooses one class of several"),
    ],
)
def test_what_asks_no_question_is_refused_in_words(columns, options, message):
    with pytest.raises(UserError, match=message) as caught:
        read(table_of(**columns), **options)
    assert "train.csv" in str(caught.value)


def test_a_class_that_training_does_not_know_is_named():
    labels, _ = read(table_of(target=["rose", "daisy", "tulip"] * 2))
    with pytest.raises(
        UserError, match=r"'target' holds lily, not a class of the training set.*Use daisy, rose, tulip"
    ):
        labels.encode(table_of(target=["lily", "rose"]))
