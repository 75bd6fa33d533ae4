"""An artifact that holds what drift compares with: scores that were drawn, measures of images that were drawn."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parents[2]))  # captures, skin
from captures import draw_scores, skin_png
from lesion.algorithms.classify.manifest import FamiliarityRecord, QualityRecord, ReferenceRecord, read
from lesion.algorithms.classify.reference import REFERENCE, load_reference, stored_keys
from lesion.artifact import add_files, load_manifest
from lesion.data.decode.images import decode
from lesion.data.quality.image_quality import MEASURES
from lesion.data.quality.quality_bounds import fit_bounds, share_warned

GOLDEN = Path(__file__).parents[2] / "golden" / "artifact_v4"  # melanoma against the rest
NUM_TRAINING = 300


@pytest.fixture(scope="session")
def old_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact without any of it, as earlier versions wrote."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copy(GOLDEN / "manifest.json", folder)  # no weights: nothing is computed
    return folder


@pytest.fixture(scope="session")
def model(old_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(old_model / "manifest.json", folder)
    manifest = load_manifest(folder)
    record = read(folder, manifest)
    reader = load_reference(old_model, operating_point=None)
    measured = [reader.read_image(decode(skin_png(seed)), (64, 64))[0] for seed in range(NUM_TRAINING)]
    values = {name: np.array([of[name] for of in measured], dtype=np.float32) for name in measured[0]}
    quality = {name: values[name] for name in MEASURES}
    bounds = fit_bounds(quality, image_size=32)
    values["probability"] = draw_scores(np.random.default_rng(0), 1000)
    key_of = stored_keys(record.question)
    files = {
        REFERENCE: save({key_of[name]: np.sort(of) for name, of in values.items()}),
        "familiarity.safetensors": b"not read",
    }
    update = {
        "reference": ReferenceRecord(file=REFERENCE, num_rows=1000),
        "familiarity": FamiliarityRecord(file="familiarity.safetensors", num_rows=1000, folds=(0, 1), rare=0.01),
        "quality": QualityRecord(
            on_low_quality="warn",
            num_pictures=NUM_TRAINING,
            bounds=bounds,
            share_warned=share_warned(quality, bounds),
        ),
    }
    add_files(folder, manifest, files, payload=record.model_copy(update=update).model_dump())
    return folder
