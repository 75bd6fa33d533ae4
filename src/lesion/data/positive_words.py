"""Positive words: which of two class names is the finding, and which the healthy state that it is asked against.

Two lists decide: words of health (normal, benign, negative, …), and negations (no X, non-X, X-free) of what is known as
a finding: of "unstable" and "stable" the negated word is the bad one. A word of health against any other word is
decided, unless the other speaks of leftovers, of quality or of doubt (unsorted, blurred, benign?). Benign diagnoses are
decided only against malignant ones: a nevus beside melanoma is the negative class, a nevus beside anything else is a
question for the user. The wrong answer would turn every probability round, so what is not known is not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Meaning = Literal["healthy", "benign", "malignant", "disease", "rest", "word", "unknown"]


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip().replace("_", " ") for word in text.split())


# Healthy states, absence, and "no", as they stand alone. An underscore is a blank. Accents are left out.
HEALTHY = _words("""
    normal normals normality healthy health benign negative neg negatives no none nothing false absent absence
    control controls background uninfected unaffected uninvolved undiseased unremarkable asymptomatic noninfected bengin
    wild_type wildtype disease_free wnl within_normal_limits nilm no_finding cognitively_normal harmless intact - − -ve
    gesund gesunde gutartig negativ nein falsch ohne_befund unauffallig normalbefund kontrolle
    sain saine sains normale normaux benin benigne negatif negative non faux temoin
    sano sana sanos benigno benigna negativo negativa falso ausente control
    sani normali assente controllo
    saudavel sadio nao normais controle
    gezond normaal goedaardig nee
    saglikli hayir zdrowy lagodny nie
    kein keine keiner aucun aucune ninguno ninguna nessuno nessuna nenhum nenhuma geen
    норма нормальный здоровый здоров нет доброкачественный отрицательный
    正常 健康 良性 阴性 陰性 否 无 無 いいえ なし
""")
# What a healthy word may be said of: "normal tissue", "lung normal", "healthy controls".
NOUNS = _words("""
    tissue tissues cell cells skin lung lungs liver kidney colon breast brain bone retina fundus eye eyes mucosa gastric
    stomach chest lymph node nodes prostate thyroid cervix cervical cervix blood smear nail tooth teeth gland stroma
    esophagus oesophagus cecum pylorus z line case cases patient patients person persons people subject subjects group
    image images picture pictures photo photos scan scans slide slides sample samples tile tiles patch patches class
    xray x ray rays ct mri mr oct ultrasound us sections section appearance finding findings result results test control
    controls individual individuals volunteer volunteers donor donors epithelium the
""")
NEGATIONS = _words("""
    no non not without w/o sans pas sin sem senza kein keine keinen ohne nicht nao aucun aucune ningun ninguna nessun
    nessuna nenhum nenhuma geen zonder
""")
TESTED_NEGATIVE = _words("negative neg -ve −ve - −")  # of a test: HER2-, ER negative
ABSENT = _words("absent free") | TESTED_NEGATIVE
PRESENT = _words("present positive pos +ve + confirmed")
MALIGNANT = _words("""
    malignant malignancy malignancies cancer cancers cancerous carcinoma adenocarcinoma metastasis metastases metastatic
    sarcoma melanoma melanomas lymphoma leukemia leukaemia glioblastoma myeloma mesothelioma mel bcc scc akiec idc
    bosartig krebs karzinom malin maligne maligno maligna melanom melanome 恶性 惡性 悪性 癌
""")
MALIGNANT_ENDINGS = ("carcinoma", "sarcoma", "melanoma", "lymphoma", "blastoma", "leukemia", "leukaemia", "metastasis")
# What else "no X" is a healthy state of, also where it is written as one word (notumor).
DISEASES = _words("""
    disease diseases diseased ill illness sick unhealthy abnormal abnormality abnormalities anomaly pathology
    pathological pathologic tumor tumors tumour tumours tumoral neoplasm neoplastic glioma meningioma
    covid covid19 sars pneumonia tuberculosis tb infection infected infiltration lesion lesions polyp polyps nodule
    nodules mass effusion edema oedema fracture fractured hemorrhage haemorrhage bleeding stroke ischemia glaucoma
    cataract retinopathy dr amd dementia demented alzheimer alzheimers parkinson malaria parasitized parasite ulcer
    pneumothorax cardiomegaly emphysema fibrosis atelectasis consolidation cirrhosis steatosis hernia stenosis aneurysm
    infarct infarction appendicitis colitis arthritis osteoarthritis diabetes diabetic psoriasis eczema rosacea acne
    finding findings symptom symptoms event dysplasia krank tumore 阳性 陽性
    referable dementia calcification calcifications thrombus thrombosis embolism emboli dislocation dislocated rupture
    ruptured perforation abscess opacity opacities recurrence recurrent relapse progression complication complications
    cracked caries cavity wound wounds burn seizure seizures sepsis septic necrosis scar scars wart warts
    leak bleed bleeds exudate exudates microaneurysm microaneurysms drusen hydrocephalus pathologies dengue monkeypox
    befund befunde auffalligkeit auffalligkeiten erkrankung hallazgo hallazgos anomalie anomalies alteration reperto
    reperti achado achados alteracao alteracoes alteracion alteraciones lesione lesioni lesao lesoes lesiones afwijking
    afwijkingen enfermedad maladie malattia doenca fraktur
""")
# Diagnoses that are harmless, in dermatology and pathology. Premalignant ones (adenoma, actinic keratosis) are not.
BENIGN = _words("""
    nevus nevi naevus naevi nv mole moles melanocytic_nevus melanocytic_nevi seborrheic_keratosis seborrhoeic_keratosis
    keratosis_seborrheic bkl sk dermatofibroma dermatofibromas df vasc vascular_lesion vascular_lesions angioma angiomas
    hemangioma haemangioma cherry_angioma solar_lentigo lentigo_simplex lentigo lentigines lichenoid_keratosis
    benign_keratosis lipoma fibroma fibroadenoma adenosis papilloma leiomyoma cyst cysts hyperplasia
    hyperplastic_polyp nevo nevos
""")
REST = _words("other others rest remaining misc")  # beside a disease they are its absence
UNKNOWN = _words("""
    unknown uncertain unsure indeterminate inconclusive unclear na n/a ? unspecified undetermined bad poor good old new
    new_folder mixed low both various divers ungraded image images data sample samples empty blank misc
""")
# A name with one of these words says nothing of its images' disease: leftovers, quality, doubt.
NO_ANSWER = _words("""
    unlabeled unlabelled unsorted unclassified uncategorized uncategorised unassigned unannotated untagged unused unread
    unreviewed excluded exclude exclusion exclusions rejected reject rejects discard discarded removed deleted trash
    junk garbage todo tbd pending review reviewed miscellaneous backup backups bak copy copies temp tmp duplicate
    duplicates augmented augmentation extra spare dump archive quality artifact artifacts artefact artefacts artifactual
    blur blurry blurred noise noisy corrupted corrupt unusable ungradable ungradeable
    unreadable uninterpretable nondiagnostic inadequate insufficient suboptimal overexposed underexposed unfocused
    defocused motion false invalid ambiguous doubtful doubt questionable equivocal borderline
    maybe perhaps unsure uncertain unknown indeterminate inconclusive undetermined unclear unspecified
    unsortiert aussortiert ausgeschlossen verworfen fraglich unklar unbekannt unscharf artefakt artefakte sonstige
    papierkorb qualitat qualite calidad qualita flou douteux inconnu exclus borroso dudoso desconocido excluido descarte
""")
# A "non" before these is not the healthy state: the disease itself is called so, or the finding is the lack.
OPEN_STEMS = (
    *("small cell", "hodgkin", "proliferative", "alcoholic", "union", "viable", "viability", "respon", "perfus"),
    *("functional", "functioning", "diagnostic", "complian", "adheren", "surviv", "healing", "healed", "resolved"),
    *("specific", "motile", "accidental", "st elevation", "visible", "adequate", "intact", "patent"),
)
LETTERS = {frozenset("ny"): "y", frozenset("ft"): "t", frozenset("np"): "p"}  # no/yes, false/true, negative/positive


def positive_word(first: str, second: str) -> str | None:
    """The one of two class names that is the finding, the other being its absence or a healthy state.

    None where that cannot be known: both or neither is a healthy state. Capitals, blanks, hyphens, underscores and
    accents do not count.
    """
    plain = {_plain(word): word for word in (first, second)}
    if len(plain) < 2:
        return None
    if (letter := LETTERS.get(frozenset(plain))) is not None:
        return plain[letter]
    one, other = plain
    for no, yes in ((one, other), (other, one)):
        if _meaning(yes, no) in OVER.get(_meaning(no, yes), ()):
            return plain[yes]
    return None


# Beside a word of the first meaning, a word of one of the others is the positive class.
OVER: dict[Meaning, tuple[Meaning, ...]] = {
    "healthy": ("malignant", "disease", "word"),
    "benign": ("malignant",),
    "rest": ("malignant", "disease"),
}


def is_healthy(word: str) -> bool:
    """Whether a class name by itself is a healthy state, the absence of a finding, or a benign diagnosis."""
    return _meaning(_plain(word), "") in {"healthy", "benign"}


def says_no_finding(word: str) -> bool:
    """Whether a word in a list of labels says that there is none: "No Finding", "normal", "none"."""
    plain = _plain(word)
    return not plain.startswith(("benign", "control", "background")) and _meaning(plain, "") == "healthy"


@lru_cache(maxsize=4096)
def _plain(word: str) -> str:
    """Lower case, without accents, words separated by one blank; "NoTumor" is two words, "her2-" keeps its sign."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", word))
    bare = "".join(char for char in unicodedata.normalize("NFKD", parted) if not unicodedata.combining(char))
    text = re.sub(r"(?<=\w)\s*\(?([+\-−](?:ve)?)\)?$", r" \1", unicodedata.normalize("NFKC", bare).casefold().strip())
    return " ".join(re.sub(r"(?<=\w)[\s_\-\u2010-\u2015.,:()]+(?=\w)", " ", text).strip("_ .").split())


def _meaning(word: str, other: str) -> Meaning:
    """What a plain word says; `other` is what it stands against, which may be the X of "no X"."""
    for words, meaning in LISTS:
        if word in words:
            return meaning
    tokens = word.split()
    if "?" in word or (word.isdigit() and word != "1") or NO_ANSWER.intersection(tokens):
        return "unknown"
    while len(tokens) > 2 and tokens[0] in NOUNS and tokens[1] in {*NOUNS, *NEGATIONS}:  # "CT non-covid"
        tokens = tokens[1:]
    if denied := _denied(tokens, other):
        meaning = _meaning(denied, "")
        if meaning == "healthy":
            return "disease"  # "not normal"
        # Of no other word is it known whether its lack is good: remission, cured, stable, alive.
        is_tested = tokens[-1] in TESTED_NEGATIVE and denied in _forms(other) and meaning == "word"
        return "healthy" if meaning in {"malignant", "disease"} or is_tested else "unknown"
    if NEGATIONS & set(tokens[1:]):
        return "unknown"
    return _of_several(tokens)


LISTS: tuple[tuple[frozenset[str], Meaning], ...] = (
    (HEALTHY, "healthy"),
    (BENIGN, "benign"),
    (REST, "rest"),
    (UNKNOWN, "unknown"),
    (MALIGNANT, "malignant"),
    (DISEASES, "disease"),
)


def _denied(tokens: list[str], other: str) -> str | None:
    """The X of "no X", "nonX", "X free" and "negative for X"; None where the word denies nothing."""
    word, rest = " ".join(tokens), None
    if len(tokens) > 1 and tokens[0] in NEGATIONS:
        rest = re.sub("^(?:(?:evidence|signs?) of |apparent |visible )", "", " ".join(tokens[1:]))
    elif len(tokens) > 2 and tokens[0] in {"negative", "free"} and tokens[1] in {"for", "of"}:
        rest = " ".join(tokens[2:])
    elif len(tokens) > 1 and tokens[-1] in ABSENT:
        rest = " ".join(tokens[:-1])
    else:
        for start in ("non", "not", "no", "un"):
            joined = word.removeprefix(start)
            if joined not in {word, ""} and (joined in _forms(other) or joined in MALIGNANT | DISEASES):
                rest = joined
    return None if rest is None or rest.startswith(OPEN_STEMS) else rest


def _forms(word: str) -> set[str]:
    """The word in singular, plural and participle, in British and American English; without its "+"."""
    tokens = word.split()
    bare = " ".join(tokens[:-1]) if len(tokens) > 1 and tokens[-1] in PRESENT else word
    forms = {bare, f"{bare}s", f"{bare}ed", f"{bare}d", *(bare.removesuffix(end) for end in ("s", "d", "ed"))}
    forms |= {form.replace("tumor", "tumour") for form in forms} | {form.replace("tumour", "tumor") for form in forms}
    return forms - {""}


def _of_several(tokens: list[str]) -> Meaning:
    """What a name says that denies nothing: "normal lung", "benign keratosis", "dysplastic nevus"."""
    said = [token for token in tokens if token not in NOUNS]
    if "benign" in said or "gutartig" in said:
        return "word" if "malignant" in said else "healthy"
    if said and all(token in HEALTHY for token in said):
        return "healthy"
    if said and said[-1] in {"nevus", "naevus", "nevi", "naevi"}:
        return "benign"
    if any(token in MALIGNANT or token.endswith(MALIGNANT_ENDINGS) for token in said):
        return "malignant"
    is_positive = len(tokens) > 1 and (tokens[-1] in PRESENT or tokens[:2] == ["positive", "for"])
    if is_positive or any(token in DISEASES for token in said):
        return "disease"
    return "unknown" if any(token in HEALTHY - NEGATIONS for token in said) else "word"  # "normal variant"
