"""Class words: what names of classes say, by lists in nine languages: health, disease, negation, leftovers, doubt.

Words are plain: lower case, without accents, an underscore for a blank. `positive_words` reads names by them.
"""

from __future__ import annotations


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
    正常 健康 良性 阴性 陰性 否 无 無 いいえ なし 未见异常 异常なし 異常なし нет_патологии без_патологии brak_zmian
    ingen_fund rien ras nichts nada niente o.b o_b
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
    reperti achado achados alteracao alteracoes alteracion alteraciones anomalia anomalias lesione lesioni lesao
    lesoes lesiones afwijking
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
    new_folder mixed low dark bright nan null test training train validation masks mask both various divers
    ungraded image images data sample samples empty blank misc
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
    skip skipped ignore ignored withdrawn focus notes
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
