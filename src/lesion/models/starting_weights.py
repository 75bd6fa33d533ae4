"""Starting weights: the preprocessing and the pretrained weights that a job's backbone starts from, checked to fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from lesion.data.remark import Remark
from lesion.data.transforms import Preprocess, decode_px
from lesion.errors import UserError, collecting, raise_all
from lesion.models.backbone import create_backbone, num_features, pretrained_config, refuse_untrainable
from lesion.models.weight_files import WeightsFile, find_weights
from lesion.models.weights import load_backbone_weights, pretrained_weights, unwrapped
from lesion.settings import BackboneSettings

Settings = TypeVar("Settings", bound=BackboneSettings)


def preprocess_for(config: BackboneSettings) -> Preprocess:
    """Image size and fit by the user's choice; mean and deviation too, or else what timm states for the weights."""
    stated = pretrained_config(config.model)
    mean = config.image_mean or stated.get("mean") or (0.5, 0.5, 0.5)
    std = config.image_std or stated.get("std") or (0.5, 0.5, 0.5)
    return Preprocess(
        config.image_size,
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        config.fit,
        decode_px(config.image_size),
    )


@dataclass(frozen=True)
class StartingWeights:
    """The pretrained weights of the backbone and their file, None for random initialisation; and what was decided about
    them."""

    tensors: Mapping[str, Tensor] | None
    file: WeightsFile | None = None
    remarks: tuple[Remark, ...] = ()


def pretrained_backbone(config: BackboneSettings, channel: Path | None) -> StartingWeights:
    """The pretrained weights, checked to fit the network and the image size."""
    problems: list[UserError] = []
    path = None
    with collecting(problems):
        backbone = create_backbone(config.model, config.model_args)
        num_features(backbone, config.image_size, name=config.model, model_args=config.model_args)
        if config.model_args:  # those of timm's own networks let them be trained
            copied = create_backbone(config.model, config.model_args)
            refuse_untrainable(copied, config.image_size, name=config.model, model_args=config.model_args)
    with collecting(problems):
        path = find_weights(config.pretrained, channel)
    raise_all(problems)
    found = pretrained_weights(config.model, config.model_args, config.pretrained, channel)
    if found is None:
        return StartingWeights(None)
    state, file = found
    where = "timm's hub" if path is None else str(path)
    state, said = unwrapped(backbone.state_dict(), state, where=where)
    load_backbone_weights(backbone, config.model, state, where=where)
    if path is None:
        return StartingWeights(state, file)
    what = f"the pretrained weights of {config.model} are {path.name}" + (f": {said}" if said else "")
    return StartingWeights(state, file, (Remark("pretrained_weights", what, where=where),))


def check_backbone(config: BackboneSettings, channel: Path | None) -> Sequence[Remark]:
    """What is said of the weights. Raises UserError where training could not start from this network and these weights,
    as far as that can be known without a download."""
    return pretrained_backbone(without_download(config, channel), channel).remarks


def without_download(config: Settings, channel: Path | None) -> Settings:
    """The same settings, with which nothing is fetched from timm's hub."""
    is_on_hub = config.pretrained is True and channel is None
    return config.model_copy(update={"pretrained": False}) if is_on_hub else config


def weights_digest(weights: Mapping[str, Tensor] | None) -> str:
    """A digest of the tensors, for the fingerprint of a checkpoint."""
    digest = hashlib.sha256()
    for name, tensor in sorted((weights or {}).items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
