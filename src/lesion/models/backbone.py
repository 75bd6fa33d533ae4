"""Backbone: a timm name to a network that turns pictures into features, and the preprocessing its weights expect."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from lesion.errors import UserError


def create_backbone(name: str, model_args: Mapping[str, Any]) -> nn.Module:
    """The named network without its classifier, freshly initialised: float images [N, 3, H, W] to features [N, …].

    Raises UserError for a name that timm does not know, with the nearest it does, and for arguments the network
    refuses.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "timm.list_models() lists all."
        raise UserError(f"no network is called '{name}'", where="hyperparameter model", do=hint, kind="hyperparameters")
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **model_args)
    except Exception as error:  # what a thousand networks raise for arguments that they do not take has no common kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"'{name}' cannot be made: {reason[:300]}",
            where=f"model_args={str(dict(model_args))[:300]}",
            do="Correct model_args.",
            kind="hyperparameters",
        ) from error
    # Their gradient needs what went in, so torch keeps a copy before it overwrites it: in place costs time and saves
    # no memory. mobilenetv2_100 trains 11 % faster so, efficientnet_b2 4 %. ReLU's gradient needs what came out.
    for module in backbone.modules():
        if isinstance(module, (nn.Hardtanh, nn.Hardswish, nn.SiLU)):
            module.inplace = False
    return backbone


def num_features(backbone: nn.Module, image_size: int) -> int:
    """How many features the backbone makes of pictures of `image_size` pixels a side.

    Asked of the network itself: timm's `num_features` is not the answer for all of them. Raises UserError where it does
    not take such pictures.
    """
    training = backbone.training
    try:
        with torch.inference_mode():
            width = backbone.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the network does not accept images of {image_size} px: {str(error).splitlines()[0]}",
            where="hyperparameters model, image_size",
            do='Set the size it was made for, or model_args={"img_size": …}.',
            kind="hyperparameters",
        ) from error
    backbone.train(training)
    return int(width)


def pretrained_config(name: str) -> dict[str, Any]:
    """What timm states of the network's weights: mean, std, the classifier's tensor names."""
    config = timm.get_pretrained_cfg(name)
    return dict(config.to_dict()) if config else {}
