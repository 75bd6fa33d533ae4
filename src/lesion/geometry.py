"""Geometry: what may be done to the shape of a picture: the flips and turns that mean the same, and how it becomes
square. Words of the hyperparameters and of the artifact; loads nothing, as pictures are changed in data/transforms.py.
"""

from __future__ import annotations

from typing import Literal

Flips = Literal["none", "horizontal", "flips", "flips_and_rotations"]
Fit = Literal["crop", "pad", "stretch"]

# How many of the eight views of a square each allows: always the first ones, in the order of `transforms.view`.
NUM_VIEWS: dict[Flips, int] = {"none": 1, "horizontal": 2, "flips": 4, "flips_and_rotations": 8}
MAX_VIEWS = NUM_VIEWS["flips_and_rotations"]
