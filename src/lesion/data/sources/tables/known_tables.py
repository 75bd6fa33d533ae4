"""Known tables: public data sets whose tables are known by their columns, and what each column is.

Read it as a table: `lesion describe sources` prints it. Where a setting is not set and the table has no column of its
usual name, the entry says which column is taken. A hyperparameter that is set always wins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lesion.data.sources.tables.plain_name import plain

CHEXPERT_LABELS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)


@dataclass(frozen=True)
class KnownTable:
    """A data set's table: the columns by which it is known, and the columns that the settings stand for.

    A setting is left empty where the table has no such column. Several targets are one label each, or one class each.
    """

    name: str
    file: str  # what its publishers call it
    marks: tuple[str, ...]  # a table with all of these columns is taken for this one, also a test set without targets
    image: str
    targets: tuple[str, ...]
    group: str | None = None
    patient_in_image: str = ""  # the part of an image's path that names the patient, where no column does
    metadata: tuple[str, ...] = ()  # those of them that are there
    label_separator: str | None = None  # in a cell of several labels
    has_uncertain_labels: bool = False  # labels may be −1 or empty
    note: str = ""


# The first that fits is taken, so a table that has more columns than another stands before it.
KNOWN_TABLES = (
    KnownTable(
        "ISIC archive",
        "metadata.csv of isic-cli",
        marks=("isic_id", "diagnosis_1"),
        image="isic_id",
        targets=("diagnosis_1",),
        group="patient_id",
        metadata=("sex", "age_approx", "anatom_site_general"),
        note="Set target_column=diagnosis_3 for the diagnosis, group_column=lesion_id where patients are not given.",
    ),
    KnownTable(
        "ISIC archive before 2024",
        "metadata.csv",
        marks=("isic_id", "benign_malignant", "diagnosis"),
        image="isic_id",
        targets=("benign_malignant",),
        group="patient_id",
        metadata=("sex", "age_approx", "anatom_site_general"),
    ),
    KnownTable(
        "ISIC 2024 (SLICE-3D)",
        "train-metadata.csv",
        marks=("isic_id", "patient_id", "tbp_lv_location"),
        image="isic_id",
        targets=("target",),
        group="patient_id",
        metadata=("sex", "age_approx", "anatom_site_general"),
    ),
    KnownTable(
        "SIIM-ISIC 2020",
        "train.csv, ISIC_2020_Training_GroundTruth.csv",
        marks=("image_name", "patient_id", "anatom_site_general_challenge"),
        image="image_name",
        targets=("target",),
        group="patient_id",
        metadata=("sex", "age_approx", "anatom_site_general_challenge"),
        note="These columns are the defaults of all settings.",
    ),
    KnownTable(
        "ISIC 2019",
        "ISIC_2019_Training_GroundTruth.csv",
        marks=("image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"),
        image="image",
        targets=("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"),
        group="lesion_id",
        metadata=("sex", "age_approx", "anatom_site_general"),
        note="UNK is left out: no training row has it. Age, sex, site and lesion are in "
        "ISIC_2019_Training_Metadata.csv, which is joined to it where it lies beside it.",
    ),
    KnownTable(
        "ISIC 2018, task 3",
        "ISIC2018_Task3_Training_GroundTruth.csv",
        marks=("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
        image="image",
        targets=("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
        group="lesion_id",
        note="The lesions are in ISIC2018_Task3_Training_LesionGroupings.csv, which is joined to it where it lies "
        "beside it.",
    ),
    KnownTable(
        "MILK10k",
        "MILK10k_Training_GroundTruth.csv",
        marks=("lesion_id", "AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"),
        image="isic_id",
        targets=("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"),
        group="lesion_id",
        metadata=("sex", "age_approx", "image_type"),
        note="The images are in MILK10k_Training_Metadata.csv, two of each lesion, to which it is joined.",
    ),
    KnownTable(
        "HAM10000",
        "HAM10000_metadata.csv, .tab, or without an ending",
        marks=("image_id", "lesion_id", "age", "sex", "localization"),
        image="image_id",
        targets=("dx",),
        group="lesion_id",
        metadata=("sex", "age", "localization"),
    ),
    KnownTable(
        "BCN20000",
        "bcn_20k_train.csv",
        marks=("bcn_filename",),
        image="bcn_filename",
        targets=("diagnosis",),
        group="lesion_id",
        metadata=("sex", "age_approx", "anatom_site_general"),
    ),
    KnownTable(
        "PAD-UFES-20",
        "metadata.csv",
        marks=("img_id", "patient_id", "fitspatrick"),
        image="img_id",
        targets=("diagnostic",),
        group="patient_id",
        metadata=("gender", "age", "region"),
    ),
    KnownTable(
        "derm7pt",
        "meta.csv",
        marks=("case_num", "seven_point_score", "derm"),
        image="derm",
        targets=("diagnosis",),
        group="case_num",
        metadata=("sex", "location", "elevation"),
        note="derm is the dermoscopic image. For the clinical one set image_column=clinic.",
    ),
    KnownTable(
        "Fitzpatrick17k",
        "fitzpatrick17k.csv",
        marks=("md5hash", "three_partition_label"),
        image="md5hash",
        targets=("label",),
        note="Set target_column=three_partition_label for benign, malignant and non-neoplastic.",
    ),
    KnownTable("DDI", "ddi_metadata.csv", marks=("DDI_file",), image="DDI_file", targets=("malignant",)),
    KnownTable(
        "NIH ChestX-ray14",
        "Data_Entry_2017.csv, Data_Entry_2017_v2020.csv",
        marks=("Image Index", "Patient ID"),
        image="Image Index",
        targets=("Finding Labels",),
        group="Patient ID",
        metadata=("Patient Age", "Patient Sex", "Patient Gender", "View Position"),
        label_separator="|",
    ),
    KnownTable(
        "CheXpert",
        "train.csv, valid.csv",
        marks=("Path", "Frontal/Lateral", "AP/PA"),
        image="Path",
        targets=CHEXPERT_LABELS,
        metadata=("Sex", "Age", "Frontal/Lateral", "AP/PA"),
        has_uncertain_labels=True,
        patient_in_image=r"patient[0-9]+",
        note="The patient is the part of Path such as patient00001.",
    ),
    KnownTable(
        "MIMIC-CXR-JPG",
        "mimic-cxr-2.0.0-chexpert.csv joined with mimic-cxr-2.0.0-metadata.csv",
        marks=("dicom_id", "subject_id", "study_id"),
        image="dicom_id",
        targets=CHEXPERT_LABELS,
        group="subject_id",
        metadata=("ViewPosition",),
        has_uncertain_labels=True,
        note="Join the two files by study_id: labels are of a study, images of the metadata.",
    ),
    KnownTable(
        "RSNA pneumonia detection",
        "stage_2_train_labels.csv",
        marks=("patientId", "x", "y", "width", "height"),
        image="patientId",
        targets=("Target",),
        note="A patient with several boxes has several rows: keep one of each.",
    ),
    KnownTable(
        "RSNA breast cancer detection",
        "train.csv",
        marks=("site_id", "patient_id", "image_id", "laterality", "view"),
        image="image_id",
        targets=("cancer",),
        group="patient_id",
        metadata=("age", "view", "implant"),
    ),
    KnownTable(
        "CBIS-DDSM",
        "mass_case_description_train_set.csv, calc_case_description_train_set.csv",
        marks=("patient_id", "image file path", "cropped image file path"),
        image="image file path",
        targets=("pathology",),
        group="patient_id",
        metadata=("image view", "abnormality type"),
        note="An image with several abnormalities has several rows: set image_column='cropped image file path' to "
        "predict abnormalities instead of images.",
    ),
    KnownTable(
        "PANDA",
        "train.csv",
        marks=("image_id", "data_provider"),
        image="image_id",
        targets=("isup_grade",),
        note="Its images are whole slides: first cut them with `lesion prepare tiles`.",
    ),
    KnownTable(
        "UBC-OCEAN",
        "train.csv",
        marks=("image_id", "image_width", "image_height"),
        image="image_id",
        targets=("label",),
        note="Its images are whole slides: first cut them with `lesion prepare tiles`.",
    ),
    KnownTable(
        "Messidor-2 (adjudicated grades)",
        "messidor_data.csv",
        marks=("image_id", "adjudicated_dr_grade"),
        image="image_id",
        targets=("adjudicated_dr_grade",),
    ),
    KnownTable(
        "IDRiD, disease grading",
        "a. IDRiD_Disease Grading_Training Labels.csv",
        marks=("Image name", "Retinopathy grade"),
        image="Image name",
        targets=("Retinopathy grade",),
    ),
    KnownTable("APTOS 2019", "train.csv", marks=("id_code",), image="id_code", targets=("diagnosis",)),
    KnownTable(
        "Diabetic Retinopathy Detection (EyePACS)",
        "trainLabels.csv",
        marks=("image", "level"),
        image="image",
        targets=("level",),
        patient_in_image=r"^[0-9]+(?=_(?:left|right))",
        note="The patient is the number before _left or _right in image.",
    ),
    KnownTable(
        "Histopathologic Cancer Detection",
        "train_labels.csv",
        marks=("id", "label"),
        image="id",
        targets=("label",),
    ),
)

# What columns are called in tables of nobody in particular: a name is taken where it is the only one of its kind.
PATIENTS = (
    *(
        "patient_id",
        "patient",
        "patientid",
        "patient_no",
        "patient_number",
        "subject_id",
        "subject",
        "subjectid",
        "pid",
    ),
    "mrn",
)
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "image_column": (
        *("image", "image_name", "image_id", "image_path", "image_file", "img", "img_id", "img_name", "img_path"),
        *("filename", "file_name", "file", "filepath", "file_path", "path"),
    ),
    "target_column": ("target", "label", "labels", "class", "class_name", "category", "diagnosis"),
    "group_column": (*PATIENTS, "case_id", "case", "lesion_id", "slide_id", "slide", "wsi"),
}


def find_known(names: Collection[str]) -> KnownTable | None:
    """The data set whose table has these columns; None if none is known, nor its columns have usual names alone."""
    there = {plain(name): name for name in names}
    for known in KNOWN_TABLES:
        if all(plain(mark) in there for mark in known.marks):
            return known
    return _of_usual_names(there)


def _of_usual_names(there: Mapping[str, str]) -> KnownTable | None:
    """A table whose image and target each have one usual name; groups are the first usual name, patients before
    lesions."""
    found = {setting: [there[name] for name in usual if name in there] for setting, usual in USUAL_NAMES.items()}
    if len(found["image_column"]) != 1 or len(found["target_column"]) != 1:
        return None
    image, target = found["image_column"][0], found["target_column"][0]
    group = next(iter(found["group_column"]), None)
    return KnownTable(UNKNOWN, "", marks=(image, target), image=image, targets=(target,), group=group)


UNKNOWN = "a table with usual names"
