"""Factories: small real data sets and jobs, written to disk as users write them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

# A network of timm's own tests: 0.3 million weights, every part of a real one.
TINY: dict[str, object] = {
    "model": "test_resnet",
    "pretrained": False,
    "image_size": 48,
    "folds": 3,
    "epochs": 2,
    "batch_size_train": 8,
    "num_workers": 2,
    "processes": 1,  # a second one takes longer to start than such a job
    "explain": False,  # it takes longer than such a job
}


def draw_picture(path: Path, *, is_positive: bool, seed: int, side_px: int = 64) -> None:
    """Skin with a round spot: dark where the answer is yes, pale where it is no, with noise on both."""
    rng = np.random.default_rng(seed)
    image_HWC = np.full((side_px, side_px + 16, 3), (224, 180, 160), np.float32)
    centre = tuple(int(value) for value in rng.integers(side_px // 3, side_px * 2 // 3, 2))
    colour = (70, 40, 40) if is_positive else (190, 130, 110)
    cv2.circle(image_HWC, centre, side_px // 5, colour, -1)
    noisy_HWC = np.clip(image_HWC + rng.normal(0, 12, image_HWC.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(noisy_HWC, cv2.COLOR_RGB2BGR))


def sample_frame(num_patients: int = 9, per_patient: int = 2, *, seed: int = 0) -> pd.DataFrame:
    """SIIM-ISIC columns, every fourth patient positive, gaps in age and site."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(num_patients):
        target = int(patient % 4 == 0)  # 0, 4, 8: one in each of three folds
        for picture in range(per_patient):
            rows.append(
                {
                    "image_name": f"IMG_{patient:03d}_{picture}",
                    "patient_id": f"P{patient:03d}",
                    "sex": ["male", "female"][patient % 2],
                    "age_approx": "" if patient == 1 else float(rng.integers(4, 17) * 5),
                    "anatom_site_general_challenge": "" if patient == 2 else ["torso", "head/neck"][picture % 2],
                    "diagnosis": "melanoma" if target else "nevus",
                    "benign_malignant": "malignant" if target else "benign",
                    "target": target,
                }
            )
    return pd.DataFrame(rows)


def write_channel(
    folder: Path, frame: pd.DataFrame, *, csv_name: str = "train.csv", image_dir: str = "train_jpg"
) -> Path:
    """The CSV and a JPEG for each row, in the SIIM-ISIC layout. Returns the CSV's path."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / csv_name, index=False)
    first = {"train.csv": 0, "validation.csv": 10_000, "test.csv": 20_000}.get(csv_name, 30_000)  # no copies
    for seed, row in enumerate(frame.to_dict("records"), first):
        draw_picture(
            folder / image_dir / f"{row['image_name']}.jpg", is_positive=bool(row.get("target", seed % 2)), seed=seed
        )
    return folder / csv_name


def write_hyperparameters(root: Path, values: Mapping[str, object]) -> None:
    """hyperparameters.json in the first dialect of the SDK: str() of everything, except that objects are JSON."""
    path = root / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in values.items()}
    path.write_text(json.dumps(texts))


def write_job(
    root: Path, *, frame: pd.DataFrame | None = None, has_test: bool = True, **hyperparameters: object
) -> Path:
    """A whole job under `root`, as SageMaker lays it out: TINY settings, a training channel, a test set.

    Returns root.
    """
    frame = sample_frame() if frame is None else frame
    channel = root / "input" / "data" / "training"
    write_channel(channel, frame)
    if has_test:
        unlabelled = frame.head(5).drop(columns=["target", "diagnosis", "benign_malignant"])
        unlabelled = unlabelled.assign(
            image_name="TEST_" + unlabelled["image_name"], patient_id="T" + unlabelled["patient_id"]
        )
        write_channel(channel, unlabelled, csv_name="test.csv", image_dir="test_jpg")
    write_hyperparameters(root, {**TINY, **hyperparameters})
    return root


def run_job(root: Path, *, is_rendered: bool = False) -> None:
    """The job under `root`, trained in this process, as `lesion train` does in its own.

    Its figures are made, and rendered only if `is_rendered`: that is a third of a small job's time.
    """
    from lesion.algorithms.classify.config import ClassifyConfig
    from lesion.algorithms.classify.train import train
    from lesion.sagemaker import read_job

    job = read_job(root)
    with few_trees(), nullcontext() if is_rendered else unrendered():
        train(job, ClassifyConfig.parse(job.hyperparameters))


def few_trees() -> AbstractContextManager[object]:
    """Inside, the check's forests have a tenth of their trees, which take a fifth of a small job's time.

    What forests of all trees find is in tests/unit/check/test_shortcuts.py.
    """
    return patch("lesion.check.shortcuts.NUM_TREES", 5)


@contextmanager
def unrendered() -> Iterator[None]:
    """Inside, matplotlib's figures stay blank, and files of them empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with patch.object(Figure, "savefig"), patch.object(FigureCanvasAgg, "draw", FigureCanvasAgg.get_renderer):
        yield


def dicom_file(**elements: str) -> bytes:
    """A grey secondary capture, with what its header says of the patient by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows = dataset.Columns = 4
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelData = 8, 8, 7, bytes(range(16))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file := io.BytesIO(), enforce_file_format=True)
    return file.getvalue()


def with_broken_header(content: bytes) -> bytes:
    """A DICOM file whose patient's age is of no type that there is. Its pixels can still be read."""
    return content.replace(b"\x10\0\x10\x10AS", b"\x10\0\x10\x10A\xff")
