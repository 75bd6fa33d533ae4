"""Backbone: a timm name to a network that turns pictures into features, and the preprocessing its weights expect."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
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
        return timm.create_model(name, pretrained=False, num_classes=0, **model_args)  # type: ignore[no-any-return]
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        raise UserError(
            f"'{name}' cannot be made: {error}",
            where=f"model_args={dict(model_args)}",
            do="Correct model_args.",
            kind="hyperparameters",
        ) from error


def pretrained_config(name: str) -> dict[str, Any]:
    """What timm states of the network's weights: mean, std, the classifier's tensor names."""
    config = timm.get_pretrained_cfg(name)
    return dict(config.to_dict()) if config else {}
