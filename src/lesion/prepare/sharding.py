"""Sharding: how the images of a set are kept in shards, as values that hold nothing out of range."""

from __future__ import annotations

from dataclasses import dataclass

from lesion.errors import UserError


@dataclass(frozen=True)
class Sharding:
    """How pictures are kept. Raises one UserError for all values that are out of range."""

    size_px: int = 512  # the shorter side is brought to it; smaller pictures stay as they are
    quality: int = 95  # of JPEG
    rows_per_shard: int = 1000
    seed: int = 0  # rows are shuffled, so that each shard is a sample of the set
    is_bad_dropped: bool = False  # leave out what cannot be read, instead of stopping

    def __post_init__(self) -> None:
        wrong = {
            f"--size {self.size_px}: 16 px or more": self.size_px < 16,
            f"--quality {self.quality}: 1 to 100": not 1 <= self.quality <= 100,
            f"--rows {self.rows_per_shard}: 1 or more": self.rows_per_shard < 1,
            f"--seed {self.seed}: 0 or more": self.seed < 0,
        }
        if found := [words for words, is_wrong in wrong.items() if is_wrong]:
            raise UserError("settings out of range", where="; ".join(found), do="Correct them.")
