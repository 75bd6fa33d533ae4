"""What is served and what is asked: an artifact of one job, and pictures of a camera's size in each side's form."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from dermoscopy import HAM
from ham10000 import PROJECT, lay_out
from PIL import Image

NUM_PICTURES, SIZE = 64, (600, 450)  # of about 85 kB each
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BOUNDARY = "a-line-that-is-in-no-picture"
CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "json": "application/json",
    "multipart": f"multipart/form-data; boundary={BOUNDARY}",
}


def lay_out_pictures(folder: Path) -> Path:
    """Real pictures, cut to 4:3 and enlarged, as a file 00 to 63 of each form in CONTENT_TYPES.

    Grain is added: enlarging alone gives smooth pictures, whose files are a third of a camera's and decode faster.
    """
    if not HAM.is_dir():
        raise SystemExit(f"the real pictures are not here: {HAM}")
    if folder.is_dir():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    rng = np.random.default_rng(0)
    width, height = SIZE
    top = (width - height) // 2
    for number, path in enumerate(sorted((HAM / "train_jpg").iterdir())[:NUM_PICTURES]):
        small_HWC = np.array(Image.open(path).convert("RGB"))
        square_HWC = cv2.resize(small_HWC, (width, width), interpolation=cv2.INTER_CUBIC)
        grainy_HWC = square_HWC[top : top + height] + rng.normal(0.0, 5.0, (height, width, 1))
        file = io.BytesIO()
        Image.fromarray(np.clip(grainy_HWC, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
        for form, body in bodies(file.getvalue()).items():
            (part / f"{number:02d}.{form}").write_bytes(body)
    part.rename(folder)
    return folder


def bodies(picture: bytes) -> dict[str, bytes]:
    """The same picture as the body of a request, in each form."""
    head = 'Content-Disposition: form-data; name="pictures"; filename="picture.jpg"\r\nContent-Type: image/jpeg'
    return {
        "jpg": picture,
        "json": json.dumps({"image": base64.b64encode(picture).decode()}).encode(),
        "multipart": f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode(),
    }


def make_artifact(root: Path, network: str, image_size: int, *, checkout: Path = PROJECT) -> Path:
    """An artifact by `lesion train` of a checkout, of which fold 0 is served.

    From noise and seldom right: what counts is that all sides answer alike, and that pictures differ in their answers.
    Fewer steps leave the statistics of BatchNorm where they began, and some networks with one answer for everything.
    """
    if (root / "model" / "manifest.json").is_file():
        return root
    settings = {
        **{"model": network, "image_size": image_size, "pretrained": False, "image_mean": MEAN, "image_std": STD},
        **{"folds": 2, "epochs": 1, "batch_size_train": 4, "learning_rate": 1e-3, "tta": 1, "metadata_columns": []},
        "on_leak": "warn",
        "split": "stratified_group_kfold",
    }
    channel = lay_out(root, {}, settings)
    (channel / "train_jpg").mkdir()
    rows = ["image_name,patient_id,target"]
    for number, path in enumerate(sorted((HAM / "train_jpg").iterdir())[:320]):
        (channel / "train_jpg" / path.name).symlink_to(path)
        brightness = cv2.imread(str(path)).mean()  # something that can be learnt from few pictures
        rows.append(f"{path.stem},{number},{int(brightness > 156)}")
    (channel / "train.csv").write_text("\n".join(rows))
    command = [sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    return root
