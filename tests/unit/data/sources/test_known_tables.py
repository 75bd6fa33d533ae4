"""Known tables: public data sets are opened by their columns, settings win, and what was taken is said."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from factories import sample_frame
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import wanted_columns
from lesion.data.channels import Opened, open_channels
from lesion.data.remark import Remark
from lesion.data.sources.describe import describe_sources
from lesion.data.sources.tables.known_tables import KNOWN_TABLES, find_known
from lesion.data.sources.tables.nearly_known import about_nearly_known
from lesion.prepare.sharding import Sharding
from lesion.prepare.shards import Share, prepare_shards
from sources import png_of, write_png

CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
# The header of each data set's table as its publishers write it, the file's name, and what each setting must become:
# image, targets, group, metadata.
PUBLISHED = {
    "ISIC archive": (
        "metadata.csv",
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,"
        "image_type,lesion_id,patient_id,sex",
        ("isic_id", "diagnosis_1", "patient_id", "sex,age_approx,anatom_site_general"),
    ),
    "ISIC archive before 2024": (
        "metadata.csv",
        "isic_id,age_approx,anatom_site_general,benign_malignant,diagnosis,patient_id,sex",
        ("isic_id", "benign_malignant", "patient_id", "sex,age_approx,anatom_site_general"),
    ),
    "ISIC 2024 (SLICE-3D)": (
        "metadata.csv",
        "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,tbp_lv_location",
        ("isic_id", "target", "patient_id", "sex,age_approx,anatom_site_general"),
    ),
    "ISIC 2019": (
        "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
        ("image", "MEL,NV,BCC,AK,BKL,DF,VASC,SCC", None, ""),
    ),
    "ISIC 2018, task 3": (
        "ISIC2018_Task3_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC",
        ("image", "MEL,NV,BCC,AKIEC,BKL,DF,VASC", None, ""),
    ),
    "MILK10k": (  # its two tables, joined
        "MILK10k_Training_Metadata.csv",
        "lesion_id,image_type,isic_id,age_approx,sex,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
        ("isic_id", "AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC", "lesion_id", "sex,age_approx,image_type"),
    ),
    "HAM10000": (
        "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        ("image_id", "dx", "lesion_id", "sex,age,localization"),
    ),
    "BCN20000": (
        "bcn_20k_train.csv",
        "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split",
        ("bcn_filename", "diagnosis", "lesion_id", "sex,age_approx,anatom_site_general"),
    ),
    "PAD-UFES-20": (
        "metadata.csv",
        "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
        "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,"
        "grew,hurt,changed,bleed,elevation,img_id,biopsed",
        ("img_id", "diagnostic", "patient_id", "gender,age,region"),
    ),
    "derm7pt": (
        "meta.csv",
        "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,"
        "dots_and_globules,blue_whitish_veil,vascular_structures,level_of_diagnostic_difficulty,elevation,location,sex,"
        "management,clinic,derm,case_id,notes",
        ("derm", "diagnosis", "case_num", "sex,location,elevation"),
    ),
    "Fitzpatrick17k": (
        "fitzpatrick17k.csv",
        "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,"
        "url_alphanum",
        ("md5hash", "label", None, ""),
    ),
    "DDI": (
        "ddi_metadata.csv",
        ",DDI_ID,DDI_file,skin_tone,malignant,disease",
        ("DDI_file", "malignant", None, ""),
    ),
    "NIH ChestX-ray14": (
        "Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
        ("Image Index", "Finding Labels", "patient_id", "Patient Age,Patient Gender,View Position"),
    ),
    "CheXpert": (
        "train.csv",
        f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}",
        ("Path", CHEXPERT, None, "Sex,Age,Frontal/Lateral,AP/PA"),
    ),
    "MIMIC-CXR-JPG": (
        "joined.csv",
        f"dicom_id,subject_id,study_id,ViewPosition,{CHEXPERT}",
        ("dicom_id", CHEXPERT, "subject_id", "ViewPosition"),
    ),
    "RSNA pneumonia detection": (
        "stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        ("patientId", "target", None, ""),  # Target is target in small letters
    ),
    "RSNA breast cancer detection": (
        "train.csv",
        "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,machine_id,"
        "difficult_negative_case",
        ("image_id", "cancer", "patient_id", "age,view,implant"),
    ),
    "CBIS-DDSM": (
        "mass_case_description_train_set.csv",
        "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
        "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path",
        ("image file path", "pathology", "patient_id", "image view,abnormality type"),
    ),
    "PANDA": ("train.csv", "image_id,data_provider,isup_grade,gleason_score", ("image_id", "isup_grade", None, "")),
    "UBC-OCEAN": ("train.csv", "image_id,label,image_width,image_height,is_tma", ("image_id", "label", None, "")),
    "Messidor-2 (adjudicated grades)": (
        "messidor_data.csv",
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable",
        ("image_id", "adjudicated_dr_grade", None, ""),
    ),
    "IDRiD, disease grading": (
        "a. IDRiD_Disease Grading_Training Labels.csv",
        "Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,",
        ("image_name", "Retinopathy grade", None, ""),
    ),
    "APTOS 2019": ("train.csv", "id_code,diagnosis", ("id_code", "diagnosis", None, "")),
    "Diabetic Retinopathy Detection (EyePACS)": ("trainLabels.csv", "image,level", ("image", "level", None, "")),
    "Histopathologic Cancer Detection": ("train_labels.csv", "id,label", ("id", "label", None, "")),
}


def write_table(path: Path, header: str, num_rows: int = 3) -> None:
    """A table in which each cell is its column's number and its row's."""
    columns = header.split(",")
    rows = [[f"{column}{row}" if name else "" for column, name in enumerate(columns)] for row in range(num_rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")


def opened(folder: Path, **settings: object) -> Opened:
    columns = wanted_columns(ClassifyConfig.parse(settings))
    return open_channels({"training": folder}, columns)


def remark(opened: Opened, name: str) -> Remark | None:
    assert opened.training is not None
    return next((one for one in opened.training.table().remarks if one.name == name), None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_of_a_public_data_set_is_opened_as_it_was_published(tmp_path, name):
    file, header, (image, targets, group, metadata) = PUBLISHED[name]
    write_table(tmp_path / file, header)
    found = opened(tmp_path)
    assert found.problems == ()
    table = found.training.table()
    assert table.image_column == image and ",".join(table.target_names) == targets
    assert ",".join(table.metadata.columns) == metadata
    assert (table.group_S is None) == (group is None)
    assert table.columns.group == (group or "patient_id")
    assert not {image, *targets.split(","), group, *metadata.split(",")} & set(table.others.columns)  # are not unused
    said = remark(found, "known_table")
    assert said is not None and name in said.what and "Set these hyperparameters" in said.do


def test_each_known_table_is_tested():
    assert {known.name for known in KNOWN_TABLES} == {*PUBLISHED, "SIIM-ISIC 2020"}


def test_each_known_table_is_known_by_its_own_columns():
    for known in KNOWN_TABLES:
        found = find_known([*known.marks, known.image, *known.targets])
        assert found is not None and (found.name == known.name or set(found.marks) > set(known.marks))


def test_the_table_of_siim_isic_is_opened_as_the_settings_say_and_nothing_is_said(tmp_path):
    sample_frame(4, 1).to_csv(tmp_path / "train.csv", index=False)
    found = opened(tmp_path)
    table = found.training.table()
    assert found.problems == () and table.remarks == () and table.columns.known is None
    assert list(table.metadata.columns) == ["sex", "age_approx", "anatom_site_general_challenge"]


HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def test_a_setting_wins(tmp_path):
    write_table(tmp_path / "HAM10000_metadata.csv", HAM)
    table = opened(tmp_path, target_column="dx_type", group_column="image_id", metadata_columns="age").training.table()
    assert table.target_names == ("dx_type",) and table.columns.group == "image_id"
    assert list(table.metadata.columns) == ["age"]


def test_only_what_is_not_set_is_taken_from_a_known_table(tmp_path):
    write_table(tmp_path / "train.csv", HAM)
    found = opened(tmp_path, target_column="dx_type", metadata_columns=[])
    assert "HAM10000: group_column=lesion_id" in remark(found, "known_table").what
    assert found.training.table().metadata.empty


def test_a_test_set_has_the_columns_of_the_training_set(tmp_path):
    write_table(tmp_path / "train_labels.csv", "id_code,diagnosis")
    write_table(tmp_path / "test_labels.csv", "id_code,diagnosis,label")
    table = opened(tmp_path).test.table()
    assert table.image_column == "id_code" and table.target_names == ("diagnosis",)


def test_a_test_set_of_a_known_table_may_lack_targets_and_metadata(tmp_path):
    write_table(tmp_path / "train.csv", HAM)
    write_table(tmp_path / "test.csv", "image_id,lesion_id,age,sex")
    found = opened(tmp_path)
    table = found.test.table()
    assert found.problems == () and table.targets is None and list(table.metadata.columns) == ["sex", "age"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("filename,label", "image_column=filename target_column=label"),
        ("Path,Class,Subject ID", "image_column=Path target_column=Class group_column=Subject ID"),
        ("file_name,diagnosis,age,patient,lesion_id", "target_column=diagnosis group_column=patient"),
        ("img_path,target", "image_column=img_path"),
    ],
)
def test_usual_names_are_taken_with_a_warning(tmp_path, header, expected):
    write_table(tmp_path / "labels.csv", header)
    said = remark(opened(tmp_path), "known_table")
    assert said.level == "warning" and expected in said.what


@pytest.mark.parametrize("header", ["filename,label,class", "image,path,label", "frame,verdict", "filename,age"])
def test_what_may_be_one_or_the_other_is_not_guessed(tmp_path, header):
    write_table(tmp_path / "train.csv", header)
    found = opened(tmp_path)
    assert found.problems and "image_column" in str(found.problems[0])


def test_usual_names_do_not_change_a_table_that_has_the_columns_of_the_settings(tmp_path):
    write_table(tmp_path / "train.csv", "image_name,target,slide_id,case_id,label")
    table = opened(tmp_path).training.table()
    assert table.remarks == () and table.group_S is None and table.target_names == ("target",)


@pytest.mark.parametrize("name", ["PatientID", "patient", "Subject ID", "MRN"])
def test_patients_are_found_in_a_table_that_has_the_other_columns_of_the_settings(tmp_path, name):
    write_table(tmp_path / "train.csv", f"image_name,target,{name}")
    table = opened(tmp_path).training.table()
    assert table.group_S is not None and "known_table" in {remark.name for remark in table.remarks}
    assert opened(tmp_path, group_column="target2", split="kfold").training.table().group_S is None


@pytest.mark.parametrize(
    ("header", "settings"),
    [
        ("image_name,subject_id,diagnosis", {"target_column": "diagnosis"}),
        ("image_name,subject_id,verdict", {"target_column": "verdict"}),
        ("path,subject_id,label", {"image_column": "path", "target_column": "label"}),
        ("picture,subject_id,verdict", {"image_column": "picture", "target_column": "verdict"}),
        ("id,label,subject_id", {}),  # the columns of a known data set that has no patients
    ],
)
def test_patients_are_found_whatever_other_columns_are_set_or_known(tmp_path, header, settings):
    write_table(tmp_path / "train.csv", header)
    found = opened(tmp_path, **settings)
    table = found.training.table()
    assert found.problems == () and table.group_S is not None and table.columns.group == "subject_id"
    assert "group_column=subject_id" in remark(found, "known_table").what


def test_the_column_of_the_images_is_none_of_patients(tmp_path):
    write_table(tmp_path / "train.csv", "subject,verdict")
    table = opened(tmp_path, image_column="subject", target_column="verdict").training.table()
    assert table.group_S is None and table.name_S.tolist() == ["00", "01", "02"]


def write_shard(path: Path, rows: list[dict[str, str]]) -> None:
    """A shard of as many samples, k0, k1 …, each of which says what a row does."""
    with tarfile.open(path, "w") as tar:
        for number, row in enumerate(rows):
            for ending, content in (("png", png_of("p1")), ("json", json.dumps(row).encode())):
                info = tarfile.TarInfo(f"k{number}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("image", "names", "expected"),
    [
        ("filename", ["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        ("image_id", ["a", "b"], ["a", "b"]),
        ("filename", ["a.jpg", ""], ["a.jpg", "k1"]),  # one that has no name is called by its key
        ("filename", ["input.jpg", "input.jpg"], ["k0", "k1"]),  # which does not name them
        ("camera", ["a", "b"], ["k0", "k1"]),
    ],
)
def test_samples_of_shards_are_called_as_their_columns_say_or_else_by_their_keys(tmp_path, image, names, expected):
    rows = [{image: name, "target": "1", "subject": "P"} for name in names]
    write_shard(tmp_path / "train.tar", [{key: cell for key, cell in row.items() if cell} for row in rows])
    table = opened(tmp_path).training.table()
    assert table.name_S.tolist() == expected and table.group_S.tolist() == ["P", "P"]


def test_samples_are_called_by_their_keys_where_a_word_beside_them_is_a_second_label(tmp_path):
    write_shard(tmp_path / "train.tar", [{"filename": f"{name}.jpg", "label": name} for name in "ab"])
    with tarfile.open(tmp_path / "train.tar", "a") as tar:
        for number, word in enumerate("ab"):
            info = tarfile.TarInfo(f"k{number}.cls")
            info.size = 1
            tar.addfile(info, io.BytesIO(word.encode()))
    table = opened(tmp_path).training.table()
    assert table.name_S.tolist() == ["k0", "k1"] and table.targets["target"].tolist() == ["a", "b"]


def test_shards_of_a_table_with_usual_names_are_known_as_it_is(tmp_path):
    write_table(tmp_path / "in" / "labels.csv", "filename,label,subject")
    for row in range(3):
        write_png(tmp_path / "in" / f"0{row}.png", f"p{row}")
    prepare_shards(
        tmp_path / "in",
        output=tmp_path / "out",
        columns=wanted_columns(ClassifyConfig.parse({})),
        source="auto",
        sharding=Sharding(),
        engine="processes",
        num_workers=1,
        share=Share(),
        show_progress=False,
    )
    before, after = (opened(tmp_path / folder).training.table() for folder in ("in", "out"))
    assert (after.columns.image, after.target_names, after.columns.group) == ("filename", ("label",), "subject")
    assert sorted(after.name_S.tolist()) == before.name_S.tolist() == ["00", "01", "02"]


def test_patients_of_chexpert_are_taken_from_the_paths(tmp_path):
    paths = [f"CheXpert-v1.0-small/train/patient0000{1 + row // 2}/study{row}/view1_frontal.jpg" for row in range(4)]
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}"
    rows = [f"{path},Male,60,Frontal,AP,{','.join(['1', '0'] * 7)}" for path in paths]
    (tmp_path / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    table = opened(tmp_path).training.table()
    assert table.group_S.tolist() == ["patient00001", "patient00001", "patient00002", "patient00002"]
    assert "patients_in_paths" in {remark.name for remark in table.remarks}


@pytest.mark.parametrize("ending", ["", ".jpeg"])
def test_both_eyes_of_a_patient_of_eyepacs_are_one_group(tmp_path, ending):
    rows = [f"{eye}{ending},0" for eye in ("10_left", "10_right", "13_left")]
    for split in ("train", "test"):
        (tmp_path / f"{split}Labels.csv").write_text("\n".join(["image,level", *rows]) + "\n")
    found = opened(tmp_path)
    assert found.test.table().group_S.tolist() == ["10", "10", "13"]
    assert found.training.table().group_S.tolist() == ["10", "10", "13"]
    assert "10 is the first" in remark(found, "patients_in_paths").what


def test_the_page_of_sources_lists_formats_and_known_data_sets():
    page = describe_sources()
    for known in KNOWN_TABLES:
        assert f"| {known.name} | {known.file} |" in page
    assert "`webdataset`" in page and r"separated by `\|`" in page


@pytest.mark.parametrize("name", [known.name for known in KNOWN_TABLES if len(known.marks) > 2])
def test_a_table_that_lacks_a_column_of_a_known_one_is_told_which(name):
    siim = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target"  # what all settings are called
    columns = (PUBLISHED[name][1] if name in PUBLISHED else siim).split(",")
    known = next(one for one in KNOWN_TABLES if one.name == name)
    for mark in known.marks:
        left = [column for column in columns if column != mark]
        assert find_known(left) is not None or f"nearly that of {name}, which also has '{mark}'" in about_nearly_known(
            left
        )
    assert about_nearly_known(columns) == ""


def test_the_settings_that_are_advised_for_a_renamed_column_open_the_table(tmp_path):
    write_table(tmp_path / "train.csv", HAM.replace("lesion_id", "lesionid"))
    (problem,) = opened(tmp_path).problems
    advised = "nearly that of HAM10000, which also has 'lesion_id' (is it 'lesionid' here?): if it is, set "
    assert advised in problem.do
    settings = dict(text.split("=") for text in problem.do.partition(advised)[2].rstrip(".").split(" "))
    assert settings == {"image_column": "image_id", "target_column": "dx", "group_column": "lesionid"}
    found = opened(tmp_path, **settings)
    assert found.problems == () and found.training.table().group_S is not None


@pytest.mark.parametrize("header", ["a,b,c,target", "filename,age,sex,diagnosis,site", "id,level"])
def test_a_table_of_its_own_is_nearly_no_known_one(header):
    assert about_nearly_known(header.split(",")) == ""
