"""Stored network: makes the network that a manifest names, and loads an artifact's tensors into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lesion.artifact import Manifest
from lesion.errors import UserError
from lesion.stored_files import in_words, last_line, unusable

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def making_stored(manifest: Manifest, model_dir: Path) -> Iterator[None]:
    """Inside, the manifest's network is made: what training would call wrong settings is here a wrong artifact."""
    try:
        with in_words(model_dir):
            yield
    except UserError as error:
        if error.kind == "artifact":
            raise
        do = f"Use timm {str(manifest.packages.get('timm'))[:40]}, or train again."
        raise unusable(f"the manifest's network cannot be made: {error.what}", model_dir, do) from error


def load_stored(network: nn.Module, tensors: Mapping[str, Tensor], manifest: Manifest, model: str, path: Path) -> None:
    """Copies the tensors of the file `path` into the network, which timm calls `model`.

    Raises UserError for tensors that do not fit, have another type, or hold NaN or infinity.
    """
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name in own and tensor.dtype != own[name].dtype:
            raise unusable(f"the weights' {name} is {tensor.dtype}, but {own[name].dtype} is needed", path)
        if not tensor.isfinite().all():
            raise unusable(f"the weights hold NaN or infinity in {name[:80]}", path)
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise unusable(
            f"the weights do not fit '{model}' of this timm: {last_line(error)}",
            path,
            f"Use timm {str(manifest.packages.get('timm'))[:40]}.",
        ) from error
