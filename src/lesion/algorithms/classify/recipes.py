"""Recipes: presets of hyperparameters, each with the result and the time to expect.

What the user sets beside a recipe stays as the user set it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters by name; what they are for, and what came of them where (benchmarks/results/)."""

    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Recipe] = {
    "probe": Recipe(
        "Linear probe: logistic regression on the frozen features of a pretrained network, images only. A baseline "
        "within minutes, without fine-tuning. HAM10000: AUC 0.871 in 0.8 minutes on 2 cores with AMX, 1.4 with "
        "AVX-512.",
        {
            "model": "mobilenetv2_100",
            "image_size": 224,
            "head_init": "probe",
            "epochs": 0,
            "tta": 1,
            "metadata_columns": [],
        },
    ),
    "fast": Recipe(
        "Short fine-tuning, for ten minutes on a CPU: starts from a linear probe, then two epochs at low learning "
        "rates with frozen BatchNorm statistics. HAM10000, images only: AUC 0.884 and 0.891 in 6.9 and 8.3 minutes "
        "on 2 cores of two machines with bf16; with processes=2 epochs=3 0.895 in 8.4. Without bf16 it takes three "
        "times as long: 0.877 in 22.",
        {
            "model": "mobilenetv2_100",
            "image_size": 160,
            "head_init": "probe",
            "batch_norm": "frozen",
            "epochs": 2,
            "batch_size_train": 32,
            "optimizer": "adamw",
            "learning_rate": 1e-4,
            "head_lr_factor": 10,
            "schedule": "cosine",
            "warmup_epochs": 0.2,
            "tta": 2,
        },
    ),
    "good": Recipe(
        "Longer fine-tuning: starts from a linear probe, then ten epochs with a cosine schedule and averaged weights "
        "(EMA). HAM10000, images only, mobilenetv2_100 at 192 px, epochs=4, processes=2: AUC 0.904 in 21 minutes on "
        "2 cores.",
        {
            "head_init": "probe",
            "batch_norm": "frozen",
            "epochs": 10,
            "patience": 10,
            "batch_size_train": 32,
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "learning_rate": 2e-4,
            "head_lr_factor": 5,
            "schedule": "cosine",
            "warmup_epochs": 0.5,
            "ema_decay": 0.99,
            "tta": 8,
        },
    ),
    "histology": Recipe(
        "Tissue tiles, fine-tuning in two stages: first the head of an Xception alone, then the whole network at a "
        "lower learning rate. With mobilenetv2_100, 6 epochs, learning_rate=3e-4, on 7 slides of breast tissue: AUC "
        "0.845 in 4 minutes on 2 cores, and 0.873 in one stage. So few slides do not show a gain by the second stage.",
        {
            "model": "legacy_xception",
            "image_size": 96,
            "freeze_epochs": 2,
            "epochs": 10,
            "batch_size_train": 64,
            "learning_rate": 1e-4,
            "head_lr_factor": 10,
            "metadata_columns": [],
            "tta": 8,
        },
    ),
}

# Recipes of earlier versions, and what to write instead.
FORMER = {"brief": "it is gone, because it set the defaults: leave recipe out, or set recipe=none"}


def with_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and, where they name a recipe, its settings for all that they leave out."""
    recipe = RECIPES.get(str(values.get("recipe", "")))
    return {**(recipe.settings if recipe else {}), **values}


def describe() -> str:
    """The Markdown table of every recipe: its name, what it is for, what it sets."""
    rows = ["| recipe | what it does | sets |", "|---|---|---|"]
    for name, recipe in RECIPES.items():
        settings = ", ".join(f"`{key}={value}`" for key, value in recipe.settings.items())
        rows.append(f"| `{name}` | {recipe.says} | {settings} |")
    return "\n".join(rows)
