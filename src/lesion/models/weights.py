"""Pretrained weights: where a backbone's come from, and whether they fit.

Only safetensors: loading runs no code.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lesion.errors import UserError
from lesion.models.backbone import pretrained_config
from lesion.models.weight_files import HOW, WeightsFile, find_weights
from lesion.words import listed

# What training frameworks put before the names of a network's tensors.
WRAPPERS = {"module", "model", "_orig_mod", "backbone", "encoder", "network", "net"}
UNUSED = ".num_batches_tracked"  # BatchNorm's counter: timm's networks do not compute with it


def pretrained_weights(
    name: str, model_args: Mapping[str, Any], pretrained: bool | str, channel: Path | None
) -> tuple[dict[str, Tensor], WeightsFile] | None:
    """The backbone's pretrained weights as float32 tensors, and their file; None for random initial weights
    (pretrained=false).

    Raises UserError where none were given and timm's hub cannot be reached or knows none.
    """
    if pretrained is False:
        return None
    path = find_weights(pretrained, channel)
    state, file = (_read(path), WeightsFile.of(path, path.name)) if path else _from_hub(name, model_args)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}, file


def unwrapped(own: Collection[str], state: Mapping[str, Tensor], *, where: object) -> tuple[dict[str, Tensor], str]:
    """The tensors of `state` by the network's `own` names, and a sentence on what was left out of the names.

    A wrapper or a larger network puts words before the names: `module.`, `model.backbone.`. They are left out where the
    whole network is found below them; of a larger network, so are the tensors beside it. The sentence is empty, and the
    state as it was, where there is nothing to leave out. Raises UserError if the network is there more than once.
    """
    needed = [name for name in own if not name.endswith(UNUSED)]
    prefixes = {name.removesuffix(needed[0]) for name in state if name.endswith(needed[0])} if needed else set()
    whole = sorted(
        prefix for prefix in prefixes if prefix[-1:] in ("", ".") and all(f"{prefix}{name}" in state for name in needed)
    )
    if "" in whole or not whole:
        prefix = "" if whole else _wrapper(own, state)  # what does not fit is then named as the network names it
    elif len(whole) == 1:
        prefix = whole[0]
    else:
        raise UserError(
            f"the weights hold the whole network {len(whole)} times, under {listed([repr(one) for one in whole])}",
            where=where,
            do="Write a file with the tensors of the one that is meant.",
            kind="weights",
        )
    if not prefix:
        return dict(state), ""
    beside = [name for name in state if not name.startswith(prefix)]
    said = f"'{prefix}' is left out of the tensors' names"
    if beside:
        said += f", and what is not below it is not read: {listed(sorted(beside), most=3)}"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}, said


def load_backbone_weights(backbone: nn.Module, name: str, state: Mapping[str, Tensor], *, where: object) -> None:
    """Copies the pretrained weights `state` into the backbone, without the tensors of their own classifier.

    Raises UserError that names what does not fit: of each kind one tensor, and how many more there are.
    """
    classifier = pretrained_config(name).get("classifier") or ()
    prefixes = tuple(f"{part}." for part in ((classifier,) if isinstance(classifier, str) else classifier))
    own = backbone.state_dict()
    given = {key: value for key, value in state.items() if key in own or not key.startswith(prefixes or ("\0",))}
    missing = [f"{key} is missing" for key in own if key not in given and not key.endswith(UNUSED)]
    foreign = [f"{key} is not part of the network" for key in given if key not in own]
    reshaped = [
        f"{key} is {list(given[key].shape)} and should be {list(value.shape)}"
        for key, value in own.items()
        if key in given and value.shape != given[key].shape
    ]
    misfits = [listed(kind, most=1) for kind in (missing, foreign, reshaped) if kind]
    if misfits:
        do = "Set model (and model_args) to the network that the weights were made for"
        only_foreign = foreign and not missing and not reshaped
        raise UserError(
            f"the weights do not fit '{name}': {'; '.join(misfits)}",
            where=where,
            do=f"{do}, or take out of the file what is not part of it." if only_foreign else f"{do}.",
            kind="weights",
        )
    backbone.load_state_dict(own | given)


def _wrapper(own: Collection[str], state: Mapping[str, Tensor]) -> str:
    """The words of WRAPPERS that all names of the state begin with, and none of the network's own."""
    names, prefix = list(state), ""
    while names and (word := names[0].partition(".")[0]) in WRAPPERS:
        if not all(name.startswith(f"{word}.") for name in names) or any(name.startswith(f"{word}.") for name in own):
            break
        prefix, names = f"{prefix}{word}.", [name.removeprefix(f"{word}.") for name in names]
    return prefix


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"not a whole safetensors file: {error}", where=path, do="Copy it again.", kind="weights"
        ) from error


def _from_hub(name: str, model_args: Mapping[str, Any]) -> tuple[dict[str, Tensor], WeightsFile]:
    """timm's own weights for the network, from the hub or its cache; the safetensors file, never its pickled twin."""
    import timm
    from huggingface_hub import hf_hub_download

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"timm's hub has no weights for '{name}'", where="hyperparameter model", do=HOW, kind="weights")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for each of a dozen retries says nothing new
    try:
        filename = config.hf_hub_filename or "model.safetensors"
        path = hf_hub_download(config.hf_hub_id, filename)
    # The hub's client raises OSError, its HTTP library's and its own kinds; all mean that nothing was loaded.
    except Exception as error:
        what = f"the pretrained weights of '{name}' could not be downloaded: {type(error).__name__}"
        raise UserError(what, where=config.hf_hub_id, do=HOW, kind="weights") from error
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": path}, num_classes=0, **model_args
        )
    return dict(network.state_dict()), WeightsFile.of(Path(path), f"{config.hf_hub_id}/{filename}")
