"""Sources: a writer a format, each laying out the same dozen pictures as users of that format would."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd

SIDE_PX = 24


@dataclass(frozen=True)
class Written:
    """What was laid out: each sample's colour by its name, its class, and its group where the format can say it."""

    folder: Path
    colours: dict[str, tuple[int, int, int]]
    classes: dict[str, str]
    groups: dict[str, str] = field(default_factory=dict)


def frame_of(num_rows: int, *, is_test: bool = False) -> pd.DataFrame:
    """Names, classes of three, patients of two pictures, ages; in an order that is not that of the names."""
    order = np.random.default_rng(num_rows).permutation(num_rows)
    kinds = ["daisy", "rose", "tulip"]
    return pd.DataFrame(
        {
            "image_name": [f"{'t' if is_test else 'p'}{row:03d}" for row in order],
            "target": [kinds[row % 3] for row in order],
            "patient_id": [f"P{row // 2}" for row in order],
            "age_approx": [str(20 + row) for row in order],
        }
    )


def colour_of(name: str) -> tuple[int, int, int]:
    """A colour of its own for each name, far from all others."""
    number = int("".join(filter(str.isdigit, name)))
    return (40 + 60 * (number % 4), 40 + 60 * (number // 4 % 4), 40 + 60 * (number // 16 % 4))


def pixels_of(name: str) -> np.ndarray:
    return np.full((SIDE_PX, SIDE_PX, 3), colour_of(name), np.uint8)


def png_of(name: str) -> bytes:
    return bytes(cv2.imencode(".png", pixels_of(name)[..., ::-1])[1])


def write_png(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(name))


def written(folder: Path, frame: pd.DataFrame, names: list[str], *, has_groups: bool) -> Written:
    """What is laid out, with the samples called `names` in the order of the frame's rows."""
    colours = {name: colour_of(row) for name, row in zip(names, frame["image_name"], strict=True)}
    groups = dict(zip(names, frame["patient_id"], strict=True)) if has_groups else {}
    return Written(folder, colours, dict(zip(names, frame["target"], strict=True)), groups)


def write_csv_folder(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    frame = frame_of(num_rows, is_test=split == "test")
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{split}.csv", index=False)
    for name in frame["image_name"]:
        write_png(folder / f"{split}_images" / name[-1] / f"{name}.png", name)
    return written(folder, frame, frame["image_name"].tolist(), has_groups=True)


def write_class_folder(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    frame = frame_of(num_rows, is_test=split == "test")
    root = folder if split == "train" else folder / split
    names = [f"{row.target}/{row.image_name}.png" for row in frame.itertuples()]
    for name, row in zip(names, frame["image_name"], strict=True):
        write_png(root / name, row)
    return written(folder, frame, names, has_groups=False)


def write_pcam_hdf5(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    frame = frame_of(num_rows, is_test=split == "test")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"camelyonpatch_level_2_split_{split}"
    with h5py.File(folder / f"{stem}_x.h5", "w") as file:
        pixels = np.stack([pixels_of(name) for name in frame["image_name"]])
        file.create_dataset("x", data=pixels, chunks=(4, SIDE_PX, SIDE_PX, 3), compression="gzip")
    codes = {"daisy": 0, "rose": 1, "tulip": 2}
    with h5py.File(folder / f"{stem}_y.h5", "w") as file:
        file["y"] = np.array([codes[word] for word in frame["target"]], np.uint8).reshape(-1, 1, 1, 1)
    frame = frame.assign(target=frame["target"].map(codes).astype(str))
    meta = frame.rename(columns={"patient_id": "wsi"})[["wsi", "age_approx"]]
    meta.to_csv(folder / f"{stem}_meta.csv", index=False)
    names = [f"{stem}_x_{row:06d}" for row in range(num_rows)]
    return written(folder, frame, names, has_groups=True)


def write_isic_hdf5(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    frame = frame_of(num_rows, is_test=split == "test")
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"{split}-image.hdf5", "w") as file:
        for name in frame["image_name"]:
            file[name] = np.void(png_of(name))
    frame.rename(columns={"image_name": "isic_id"}).to_csv(folder / f"{split}-metadata.csv", index=False)
    return written(folder, frame, frame["image_name"].tolist(), has_groups=True)


def write_medmnist_npz(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    codes = {"daisy": 0, "rose": 1, "tulip": 2}
    frame = frame_of(num_rows, is_test=split == "test")
    frame = frame.assign(target=frame["target"].map(codes).astype(str))
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{split}_images": np.stack([pixels_of(name) for name in frame["image_name"]]),
        f"{split}_labels": frame["target"].to_numpy(dtype=np.uint8)[:, None],
    }
    path = folder / "flowermnist.npz"
    if path.exists():
        arrays |= dict(np.load(path))
    np.savez_compressed(path, **arrays)
    names = [f"flowermnist_{split}_{row:06d}" for row in range(num_rows)]
    return written(folder, frame, names, has_groups=False)


def write_lst(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    codes = {"daisy": 0, "rose": 1, "tulip": 2}
    frame = frame_of(num_rows, is_test=split == "test")
    frame = frame.assign(target=frame["target"].map(codes).astype(str))
    names = [f"pictures/{name}.png" for name in frame["image_name"]]
    for name, row in zip(names, frame["image_name"], strict=True):
        write_png(folder / name, row)
    lines = [f"{n}\t{float(t)}\t{name}\n" for n, (t, name) in enumerate(zip(frame["target"], names, strict=True))]
    (folder / f"{split}.lst").write_text("".join(lines))
    return written(folder, frame, names, has_groups=False)


def write_augmented_manifest(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    codes = {"daisy": 0, "rose": 1, "tulip": 2}
    frame = frame_of(num_rows, is_test=split == "test")
    names = [f"{'ab'[row % 2]}/{name}.png" for row, name in enumerate(frame["image_name"])]
    lines = []
    for name, row in zip(names, frame.itertuples(), strict=True):
        write_png(folder / name, row.image_name)
        detail = {"class-name": row.target, "confidence": 0.9, "human-annotated": "yes"}
        line = {"source-ref": f"s3://bucket/set/{name}", "kind": codes[row.target], "kind-metadata": detail}
        lines.append(json.dumps({**line, "patient_id": row.patient_id, "age_approx": row.age_approx}) + "\n")
    (folder / f"{split}.manifest").write_text("".join(lines))
    return written(folder, frame, names, has_groups=True)


def write_webdataset(folder: Path, num_rows: int = 12, split: str = "train") -> Written:
    frame = frame_of(num_rows, is_test=split == "test")
    folder.mkdir(parents=True, exist_ok=True)
    for shard, part in enumerate(np.array_split(np.arange(num_rows), 2)):
        with tarfile.open(folder / f"{split}-{shard:06d}.tar", "w") as tar:
            for row in frame.iloc[part].to_dict("records"):
                name = row.pop("image_name")
                for ending, content in (("png", png_of(name)), ("json", json.dumps(row).encode())):
                    info = tarfile.TarInfo(f"{name}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return written(folder, frame, frame["image_name"].tolist(), has_groups=True)


WRITERS: dict[str, Callable[..., Written]] = {
    "csv_folder": write_csv_folder,
    "class_folder": write_class_folder,
    "pcam_hdf5": write_pcam_hdf5,
    "isic_hdf5": write_isic_hdf5,
    "medmnist_npz": write_medmnist_npz,
    "lst": write_lst,
    "augmented_manifest": write_augmented_manifest,
    "webdataset": write_webdataset,
}
