"""Sample data: a dermoscopy-like data set drawn by formula, so that a demo trains on pictures nobody has to download.

A directory goes in; two tables and two folders of JPEGs in the layout of the SIIM-ISIC challenge come out. What tells
malignant from benign is `irregularity` alone: an uneven outline, colours in separate patches, a torn network. Skin,
light, camera, size and overall colour are drawn alike for both. The pictures teach nothing about real skin.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from lesion.data.decode import images
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic

# S samples · G patients · H, W pixels of a picture · h, w pixels of the fields it is made from, half its size
# C red, green, blue · P pigments · A angles around the lesion · B points along a hair
Field = NDArray[np.float32]
Picture = NDArray[np.uint8]
Shape = tuple[int, int]

SIZES_PX = [(640, 480), (600, 600), (720, 540), (768, 576), (800, 600)]  # width, height
SITES = np.array(["torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", None])
TARGET_COLUMNS = ["diagnosis", "benign_malignant", "target"]
IRREGULARITY_BETA = [(1.6, 5.5), (5.5, 2.0)]  # of benign, of malignant: they overlap, so nobody is right every time
BARE_SKIN_C = np.array([0.98, 0.86, 0.80], np.float32)  # the light that skin without pigment gives back
ABSORBANCE_PC = np.array(  # of red, green and blue light, per unit of pigment
    [
        [0.35, 0.75, 1.05],  # brown melanin
        [0.90, 1.00, 1.05],  # black melanin
        [0.20, 0.90, 0.75],  # blood
        [0.95, 0.65, 0.40],  # melanin that lies deep: blue
        [-0.10, -0.35, -0.60],  # a milky veil, which gives light back
    ],
    np.float32,
)
MIXTURE_P = [5.0, 1.5, 1.2, 1.2, 0.8]  # how much of each an average lesion holds, as Dirichlet's α


def draw_dataset(directory: Path, *, num_images: int = 300, seed: int = 0) -> None:
    """Write train.csv and train_jpg/ with `num_images` pictures, test.csv and test_jpg/ with a sixth as many.

    Equal arguments give equal bytes, on any number of cores. Three folds by patient hold both classes from 24
    pictures on, six from 60. Raises UserError if `num_images` is below 24, or if `directory` holds a train.csv.
    """
    if num_images < 24:
        raise UserError("too few images to fold by patient", where=f"num_images={num_images}", do="Draw at least 24.")
    if seed < 0:
        raise UserError("the seed is negative", where=f"seed={seed}", do="Give 0 or more.")
    if (directory / "train.csv").exists():
        raise UserError("a data set is there already", where=directory / "train.csv", do="Name another directory.")
    train_seed, test_seed = SeedSequence(seed).spawn(2)
    draw_split(directory, "test", num_images // 6, test_seed)
    draw_split(directory, "train", num_images, train_seed)  # last, so that a train.csv means a whole data set


def draw_split(directory: Path, split: str, num_images: int, seed: SeedSequence) -> None:
    """Write one folder of pictures, then the table that names them."""
    folder = directory / f"{split}_jpg"
    make_folder(folder)
    table = draw_table(split, num_images, default_rng(seed))
    patients = table["patient_id"].unique()
    patient_seed = dict(zip(patients, seed.spawn(len(patients)), strict=True))

    def write(name: str, patient_id: str, target: int, picture_seed: SeedSequence) -> None:
        rng = default_rng(picture_seed)
        image_HWC = draw_picture(target == 1, default_rng(patient_seed[patient_id]), rng)
        content = images.encode(image_HWC, "JPEG", quality=int(rng.integers(70, 96)))
        write_atomic(folder / f"{name}.jpg", content)

    with ThreadPoolExecutor() as threads:
        columns = table["image_name"], table["patient_id"], table["target"], seed.spawn(num_images)
        list(threads.map(write, *columns))  # list: raises what a thread raised
    csv = table.drop(columns=TARGET_COLUMNS if split == "test" else []).to_csv(index=False)
    write_atomic(directory / f"{split}.csv", csv.encode())


def draw_table(split: str, num_images: int, rng: Generator) -> pd.DataFrame:
    """One row a picture: 2 of every 7 are malignant, in patients a little older; 1 to 6 of one patient in a row."""
    patient_S = np.repeat(np.arange(num_images), rng.integers(1, 7, num_images))[:num_images]
    sevens = np.tile([1, 1, 0, 0, 0, 0, 0], (num_images // 7 + 1, 1))
    target_S = rng.permuted(sevens, axis=1).ravel()[:num_images]  # in sevens, so that every stretch holds both
    has_malignant_G = np.bincount(patient_S, target_S, minlength=num_images) > 0
    years_G = rng.normal(48, 14, num_images) + 6 * has_malignant_G
    sex_G = rng.choice(np.array(["female", "male", None]), num_images, p=[0.47, 0.49, 0.04])
    site_S = rng.choice(SITES, num_images, p=[0.48, 0.22, 0.14, 0.08, 0.02, 0.06])
    age_S = (5 * np.round(years_G.clip(15, 90) / 5))[patient_S]
    return pd.DataFrame(
        {
            "image_name": [f"DRAWN_{split}_{index:05d}" for index in range(num_images)],
            "patient_id": [f"DP_{split}_{patient:05d}" for patient in patient_S],
            "sex": sex_G[patient_S],
            "age_approx": np.where(rng.random(num_images) < 0.06, np.nan, age_S),
            "anatom_site_general_challenge": site_S,
            "diagnosis": np.where(target_S, "melanoma", rng.choice(["nevus", "unknown"], num_images)),
            "benign_malignant": np.where(target_S, "malignant", "benign"),
            "target": target_S,
        }
    )


def draw_picture(is_malignant: bool, patient_rng: Generator, rng: Generator) -> Picture:
    """One picture, RGB [H, W, C]. Light passes pigment by Beer and Lambert's law; hair and glass lie on top."""
    width_px, height_px = SIZES_PX[rng.integers(len(SIZES_PX))]
    shape = height_px // 2, width_px // 2
    irregularity = rng.beta(*IRREGULARITY_BETA[is_malignant])
    lesion_hw = outline(shape, irregularity, rng)
    density_hwP = skin_pigment(shape, patient_rng, rng) + lesion_pigment(lesion_hw, irregularity, rng)
    reflectance_hwC = BARE_SKIN_C * np.exp(-cv2.transform(density_hwP, ABSORBANCE_PC.T))
    lit_hwC = cv2.convertScaleAbs(reflectance_hwC * light(shape, rng)[..., None], alpha=255)
    image_HWC: Picture = cv2.resize(lit_hwC, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    draw_hairs(image_HWC, patient_rng.random(), rng)
    draw_ruler(image_HWC, rng)
    draw_bubbles(image_HWC, rng)
    return photograph(image_HWC, rng)


def noise(shape: Shape, spot_px: float, rng: Generator) -> Field:
    """Smooth noise of the given shape, mean 0 and deviation below 1, its spots about `spot_px` wide."""
    coarse = rng.standard_normal([int(side / spot_px) + 2 for side in shape], np.float32)
    field_hw: Field = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return field_hw


def outline(shape: Shape, irregularity: float, rng: Generator) -> Field:
    """How much lesion there is, [h, w] in [0, 1]: an oval, to which irregularity adds bays and spikes but no area."""
    height, width = shape
    angle_A = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    radius_A = 1 + rng.uniform(0, 0.2) * np.cos(2 * angle_A + rng.uniform(0, 2 * np.pi))
    for wave in range(3, 16):
        height_A = irregularity * rng.uniform(0, 0.65) / wave
        radius_A += height_A * np.cos(wave * angle_A + rng.uniform(0, 2 * np.pi))
    radius_A *= rng.uniform(0.22, 0.36) * height / np.sqrt(np.mean(radius_A**2))
    middle = np.array([width, height]) * rng.uniform(0.43, 0.57, 2)
    corners = middle + radius_A[:, None] * np.stack([np.cos(angle_A), np.sin(angle_A)], axis=1)
    lesion_hw = np.zeros(shape, np.float32)
    cv2.fillPoly(lesion_hw, [corners.round().astype(np.int32)], 1.0)
    soft_hw: Field = cv2.GaussianBlur(lesion_hw, (0, 0), rng.uniform(1.5, 5))
    return soft_hw


def skin_pigment(shape: Shape, patient_rng: Generator, rng: Generator) -> Field:
    """Pigment of the skin around, [h, w, P]: the patient's own tone and redness, a little uneven."""
    brown, red = 1.2 * patient_rng.beta(1, 2.5), patient_rng.uniform(0.03, 0.22)
    uneven_hw = 1 + 0.12 * noise(shape, 60, rng) + 0.06 * noise(shape, 5, rng)
    return uneven_hw[..., None] * np.array([brown, 0, red, 0, 0], np.float32)


def lesion_pigment(lesion_hw: Field, irregularity: float, rng: Generator) -> Field:
    """Pigment of the lesion, [h, w, P]: well mixed if regular, each in patches of its own if not; as much in sum."""
    height, width = lesion_hw.shape
    amount_P = rng.uniform(0.7, 1.5) * rng.dirichlet(MIXTURE_P)
    dome_hw = cv2.GaussianBlur(lesion_hw, (0, 0), 25) ** rng.uniform(0, 1.5)
    body_hw = lesion_hw * dome_hw * network((height, width), irregularity, rng)
    patches = [np.exp(1.8 * irregularity * np.tanh(1.5 * noise((height, width), 40, rng))) for _ in amount_P]
    density_hwP: Field = body_hw[..., None] * np.stack(patches, axis=-1)
    density_hwP *= (amount_P * lesion_hw.sum() / density_hwP.sum(axis=(0, 1))).astype(np.float32)
    return density_hwP


def network(shape: Shape, irregularity: float, rng: Generator) -> Field:
    """The honeycomb of pigmented skin, [h, w] around 1: three crossed waves, faded in places, torn if irregular."""
    bent = 3 * np.stack([noise(shape, 12, rng), noise(shape, 12, rng)])
    y_hw, x_hw = np.indices(shape, np.float32) + bent
    tilt, frequency = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(5.5, 9)
    directions = frequency * np.exp(1j * (tilt + np.array([0, np.pi / 3, 2 * np.pi / 3]))).astype(np.complex64)
    waves_hw = sum(np.cos(d.real * x_hw + d.imag * y_hw) for d in directions)
    visible_hw = np.clip(1 + (0.4 + 1.2 * irregularity) * noise(shape, 35, rng), 0, 1.8)
    network_hw: Field = 1 - np.float32(rng.uniform(0.05, 0.4)) * visible_hw * np.tanh(waves_hw)
    return network_hw


def light(shape: Shape, rng: Generator) -> Field:
    """Brightness of the lamp, [h, w] about 1: falls off to one side, to the corners, and for some at a tube's rim."""
    y_hw, x_hw = np.indices(shape, np.float32) / shape[0]
    y_hw, x_hw = y_hw - y_hw.mean(), x_hw - x_hw.mean()
    radius_hw = np.hypot(x_hw, y_hw)
    slope_y, slope_x = rng.normal(0, 0.08, 2).astype(np.float32)
    falloff, brightness = np.float32(rng.uniform(0, 0.6)), np.float32(rng.uniform(0.85, 1.1))
    light_hw: Field = brightness + slope_y * y_hw + slope_x * x_hw - falloff * radius_hw**3
    if rng.random() < 0.25:
        light_hw *= np.clip((np.float32(rng.uniform(0.6, 0.75)) - radius_hw) / 0.03, 0.05, 1)
    return light_hw


def draw_hairs(image_HWC: Picture, hairiness: float, rng: Generator) -> None:
    """Draw none to dozens of bent hairs of one colour, mostly in one direction. `hairiness` in [0, 1]."""
    height, width = image_HWC.shape[:2]
    direction = rng.uniform(0, 2 * np.pi)
    colour = [(45, 30, 25), (90, 60, 40), (190, 165, 120)][rng.integers(3)]
    for _ in range(rng.poisson(30 * hairiness**3)):
        angle_B = direction + rng.normal(0, 0.4) + np.linspace(0, rng.normal(0, 1.2), 24)
        step = rng.uniform(4, 18) * np.stack([np.cos(angle_B), np.sin(angle_B)], axis=1)
        points = rng.uniform(0, 1, 2) * (width, height) + np.cumsum(step, axis=0)
        curve, thickness = (16 * points).astype(np.int32), int(rng.integers(1, 4))
        cv2.polylines(image_HWC, [curve], False, colour, thickness, cv2.LINE_AA, 4)  # 4: in sixteenths of a pixel


def draw_ruler(image_HWC: Picture, rng: Generator) -> None:
    """Draw, on every fourth picture, a scale along the lower edge, each tenth mark longer."""
    if rng.random() > 0.25:
        return
    height, width = image_HWC.shape[:2]
    foot, gap = height - int(rng.integers(6, 40)), rng.uniform(8, 16)
    colour = [(30, 30, 35), (235, 235, 230)][rng.integers(2)]
    for mark, x in enumerate(np.arange(0, width, gap).astype(int).tolist()):
        cv2.line(image_HWC, (x, foot), (x, foot - (12 if mark % 10 else 26)), colour, 2, cv2.LINE_AA)


def draw_bubbles(image_HWC: Picture, rng: Generator) -> None:
    """Draw, on every fifth picture, bubbles in the gel under the glass, each with a rim and a glint."""
    if rng.random() > 0.2:
        return
    height, width = image_HWC.shape[:2]
    for _ in range(rng.integers(2, 20)):
        x, y, radius = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(4, 20))
        rim = (0.75 * image_HWC[y, x]).tolist()
        cv2.circle(image_HWC, (x, y), radius, rim, 2, cv2.LINE_AA)
        cv2.ellipse(image_HWC, (x, y), (radius - 2, radius - 2), 0, 190, 280, (250, 248, 245), 2, cv2.LINE_AA)


def photograph(image_HWC: Picture, rng: Generator) -> Picture:
    """The picture as a camera takes it: a little out of focus, and grainy."""
    blurred_HWC = cv2.GaussianBlur(image_HWC, (0, 0), rng.uniform(0.3, 1.4))
    grain_HW = 128 + np.float32(rng.uniform(1, 6)) * noise((image_HWC.shape[0], image_HWC.shape[1]), 1.5, rng)
    grain_HWC = cv2.cvtColor(cv2.convertScaleAbs(grain_HW), cv2.COLOR_GRAY2RGB)
    photo_HWC: Picture = cv2.addWeighted(blurred_HWC, 1, grain_HWC, 1, -128)
    return photo_HWC
