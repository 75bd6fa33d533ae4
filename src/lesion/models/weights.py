"""Pretrained weights: where a backbone's come from, and whether they fit.

Only safetensors: loading runs no code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lesion.errors import UserError
from lesion.models.backbone import pretrained_config
from lesion.words import listed

HOW = "Give a `pretrained` channel with the model's .safetensors file, set pretrained to a path, or pretrained=false."


def find_weights(pretrained: bool | str, channel: Path | None) -> Path | None:
    """The safetensors file to start from: the path given, else the channel's only file; None: from timm's hub."""
    if pretrained is False or (pretrained is True and channel is None):
        return None
    place = Path(pretrained) if isinstance(pretrained, str) else channel
    assert place is not None
    found = [place] if place.is_file() else sorted(place.rglob("*.safetensors"))
    if len(found) != 1 or found[0].suffix != ".safetensors":
        raise UserError(
            f"{len(found)} weight files found where one .safetensors is needed",
            where=place,
            do="Leave one there. A .pth that you trust (reading one can run a program in it) is turned into one by "
            "safetensors.torch.save_file(torch.load(PATH, weights_only=True), NEW).",
            kind="weights",
        )
    return found[0]


def pretrained_weights(
    name: str, model_args: Mapping[str, Any], pretrained: bool | str, channel: Path | None
) -> dict[str, Tensor] | None:
    """The backbone's pretrained weights as float32 tensors; None for random initial weights (pretrained=false).

    Raises UserError where none were given and timm's hub cannot be reached or knows none.
    """
    if pretrained is False:
        return None
    path = find_weights(pretrained, channel)
    state = _read(path) if path else _from_hub(name, model_args)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def load_backbone_weights(backbone: nn.Module, name: str, state: Mapping[str, Tensor], *, where: object) -> None:
    """Copies the pretrained weights `state` into the backbone, without the tensors of their own classifier.

    Raises UserError that names what does not fit.
    """
    classifier = pretrained_config(name).get("classifier") or ()
    prefixes = tuple(f"{part}." for part in ((classifier,) if isinstance(classifier, str) else classifier))
    own = backbone.state_dict()
    given = {key: value for key, value in state.items() if key in own or not key.startswith(prefixes or ("\0",))}
    misfits = [f"{key} is missing" for key in own if key not in given]
    misfits += [f"{key} is not part of the network" for key in given if key not in own]
    misfits += [
        f"{key} is {list(value.shape)} and should be {list(own[key].shape)}"
        for key, value in given.items()
        if key in own and value.shape != own[key].shape
    ]
    if misfits:
        raise UserError(
            f"the weights do not fit '{name}': {listed(misfits, separator='; ')}",
            where=where,
            do="Set model (and model_args) to the network that the weights were made for.",
            kind="weights",
        )
    backbone.load_state_dict(given)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"not a whole safetensors file: {error}", where=path, do="Copy it again.", kind="weights"
        ) from error


def _from_hub(name: str, model_args: Mapping[str, Any]) -> dict[str, Tensor]:
    """timm's own weights for the network, from the hub or its cache; the safetensors file, never its pickled twin."""
    import timm
    from huggingface_hub import hf_hub_download

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"timm's hub has no weights for '{name}'", do=HOW, kind="weights")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for each of a dozen retries says nothing new
    try:
        path = hf_hub_download(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    # The hub's client raises OSError, its HTTP library's and its own kinds; all mean that nothing was loaded.
    except Exception as error:
        what = f"the pretrained weights of '{name}' could not be downloaded: {type(error).__name__}"
        raise UserError(what, where=config.hf_hub_id, do=HOW, kind="weights") from error
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": path}, num_classes=0, **model_args
        )
    return dict(network.state_dict())
