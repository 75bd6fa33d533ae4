"""Positive words: the finding of two class names is known whatever they are called, or the user is asked."""

from __future__ import annotations

import pytest

from lesion.data.labels.positive_words import positive_word, says_no_finding

# The negative class, then the positive one.
KNOWN = [
    ("normal", "abnormal"),
    ("benign", "malignant"),
    ("healthy", "diseased"),
    ("nevus", "melanoma"),
    ("healthy", "cancer"),
    ("no", "Yes"),
    ("No", "YES"),
    ("negative", "positive"),
    ("control", "case"),
    ("controls", "patients"),
    ("absent", "present"),
    ("false", "true"),
    ("notumor", "tumor"),
    ("no tumor", "Tumour"),
    ("no disease", "disease"),
    ("No Finding", "Effusion"),
    ("non-covid", "covid"),
    ("Non-COVID19", "COVID19"),
    ("CT_NonCOVID", "CT_COVID"),
    ("NORMAL", "pneumonia"),
    ("normal", "malignant"),
    ("notumor", "glioma"),
    ("No_DR", "DR"),
    ("NoDR", "Mild"),
    ("NonDemented", "MildDemented"),
    ("Uninfected", "Parasitized"),
    ("N", "Y"),
    ("F", "T"),
    ("neg", "pos"),
    ("-", "+"),
    ("HER2-", "HER2+"),
    ("IDC(-)", "IDC(+)"),
    ("intact", "torn"),
    ("non-referable", "referable"),
    ("Negative for Pneumonia", "Typical Appearance"),
    ("asymptomatic", "symptomatic"),
    ("sin tumor", "con tumor"),
    ("gutartig", "bösartig"),
    ("control", "patient"),
    ("ER negative", "ER positive"),
    ("negative for malignancy", "positive for malignancy"),
    ("Normal Cases", "Malignant cases"),
    ("Bengin cases", "Malignant cases"),
    ("lung benign tissue", "lung adenocarcinoma"),
    ("Melanocytic nevus", "Melanoma"),
    ("nv", "mel"),
    ("gesund", "krank"),
    ("bénin", "malin"),
    ("sano", "enfermo"),
    ("正常", "肺炎"),
    ("unaffected", "affected"),
    ("normal", "not normal"),
    ("nonmelanoma", "melanoma"),
    ("non-cancer", "cancer"),
    ("without tumor", "with tumor"),
    ("benign keratosis", "melanoma"),
    ("dysplastic nevus", "melanoma in situ"),
    ("other", "melanoma"),
    ("tumor free", "tumor"),
    ("no lesion", "lesion"),
    ("healthy control", "Parkinson"),
    ("healthy", "unhealthy"),
    ("non-fractured", "fractured"),
    ("not fractured", "fractured"),
    ("no fracture", "Fracture"),
    ("normal tissue", "tumor tissue"),
    ("Normal", "Tuberculosis"),
    ("background", "tumor"),
    ("unremarkable", "nodule"),
    ("disease-free", "disease"),
    ("benign", "In Situ"),
    ("no event", "event"),
    ("нет", "да"),
    ("noncancerous", "cancerous"),
    ("non_cancer", "cancer"),
    ("nondiabetic", "diabetic"),
    ("Not Malignant", "Malignant"),
    ("benign nevus", "melanoma"),
    ("wild type", "mutant"),
    ("Seborrheic Keratosis", "Melanoma"),
    ("healthy", "Nodule"),
    ("normal", "notch"),
    ("no dislocation", "dislocation"),
    ("normal", "old fracture"),
    ("normal", "suspicious"),
    ("normal", "ALL"),
    ("normal", "heart failure"),
    ("kein Tumor", "Tumor"),
]


@pytest.mark.parametrize(("no", "yes"), KNOWN)
def test_the_finding_is_known_in_either_order(no, yes):
    assert positive_word(no, yes) == yes and positive_word(yes, no) == yes


@pytest.mark.parametrize(("no", "yes"), KNOWN)
def test_capitals_hyphens_and_underscores_do_not_count(no, yes):
    if no[-1] not in "-)" and "Non" not in no:  # a sign; words that only a capital parts
        assert positive_word(no.lower().replace(" ", "_"), yes.upper()) == yes.upper()


# Neither or both are a healthy state, or what "non" says is itself a disease.
ASKED = [
    ("melanoma", "basal cell carcinoma"),
    ("nevus", "seborrheic keratosis"),
    ("normal", "healthy"),
    ("benign", "normal"),
    ("nevus", "normal"),
    ("left", "right"),
    ("A", "B"),
    ("male", "female"),
    ("glioma", "meningioma"),
    ("low grade", "high grade"),
    ("union", "non-union"),
    ("small cell", "non-small cell"),
    ("proliferative", "non-proliferative"),
    ("Hodgkin lymphoma", "non-Hodgkin lymphoma"),
    ("1", "2"),
    ("good", "bad"),
    ("normal", "unknown"),
    ("malignant", "uncertain"),
    ("Grade 1", "Grade 2"),
    ("nevus", "non-nevus"),
    ("nevus", "keratosis"),
    ("viable", "nonviable"),
    ("No. 1", "No. 2"),
    ("triple negative", "luminal"),
    ("typical", "atypical"),
    ("rose", "tulip"),
    ("true", "yes"),
    ("adenoma", "hyperplastic polyp"),
    ("M", "B"),
    ("nodule", "polyp"),
    # The word without its negation is the good one, or nobody knows.
    ("unstable", "stable"),
    ("not cured", "cured"),
    ("unfavourable", "favourable"),
    ("no remission", "remission"),
    ("not alive", "alive"),
    ("non-smoker", "smoker"),
    ("kein Ansprechen", "Ansprechen"),
    ("nicht geheilt", "geheilt"),
    ("heartbeat absent", "heartbeat present"),
    ("unripe", "ripe"),
    # Leftovers, quality and doubt beside a healthy state.
    ("normal", "unlabeled"),
    ("normal", "unsorted"),
    ("healthy", "excluded"),
    ("benign", "poor quality"),
    ("normal", "artifact"),
    ("benign", "backup"),
    ("benign", "benign?"),
    ("malignant", "malignant - Copy"),
    ("normal", "normal variant"),
    ("normal", "false positive"),
    ("healthy", "Blurred images"),
    ("normal", "3"),
    ("gesund", "unscharf"),
    ("normal", "lowquality"),
    ("normal", "normal2"),
    ("normal", "unknown2"),
    ("normal", "out of focus"),
    ("healthy", "train"),
]


@pytest.mark.parametrize(("first", "second"), ASKED)
def test_what_is_not_known_is_not_guessed(first, second):
    assert positive_word(first, second) is None and positive_word(second, first) is None


@pytest.mark.parametrize(
    "word",
    [
        *("No Finding", "no findings", "normal", "None", "Healthy", "negative", "no_abnormality", "kein Befund"),
        *("sin hallazgos", "aucun", "Aucune anomalie", "nessun reperto", "ohne Befund", "sem achados"),
        *("Pas d'anomalie", "o.B.", "nessuna anomalia", "RAS", "異常なし", "no acute findings", "brak zmian"),
    ],
)
def test_a_word_for_no_label_is_none(word):
    assert says_no_finding(word)


@pytest.mark.parametrize("word", ["benign", "Mass", "Effusion", "other", "Control", "Nodule", "nevus", "Lung Opacity"])
def test_a_word_for_a_label_is_one(word):
    assert not says_no_finding(word)
