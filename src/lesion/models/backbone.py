"""Backbone: a timm name to a network that turns pictures into features, and the preprocessing its weights expect."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import timm
import torch
from torch import nn

from lesion.errors import UserError
from lesion.model_args import FACTORY_ARGS
from lesion.words import listed, nearest, shortened


def create_backbone(name: str, model_args: Mapping[str, Any]) -> nn.Module:
    """The named network without its classifier, freshly initialised: float images [N, 3, H, W] to features [N, D].

    Raises UserError for a name or a tag that timm does not know, with those that it does, and for arguments that the
    network refuses.
    """
    refuse_unknown(name)
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **model_args)
    except Exception as error:  # what a thousand networks raise for arguments that they do not take has no common kind
        raise UserError(
            f"'{name}' cannot be made: {_reason(error)}",
            where=_args(model_args),
            do=_what_it_takes(error),
            kind="hyperparameters",
        ) from error
    # Their gradient needs what went in, so torch keeps a copy before it overwrites it: in place costs time and saves
    # no memory. mobilenetv2_100 trains 11 % faster so, efficientnet_b2 4 %. ReLU's gradient needs what came out.
    for module in backbone.modules():
        if isinstance(module, (nn.Hardtanh, nn.Hardswish, nn.SiLU)):
            module.inplace = False
    return backbone


def refuse_unknown(name: str) -> None:
    """Raises UserError for a network, or a tag of its weights, that timm does not know, with the nearest it does."""
    plain = name.rpartition("/")[2].rpartition(":")[2]  # the Hub writes timm/resnet18.a1_in1k
    network, _, tag = plain.partition(".")
    if not timm.is_model(name):
        near = difflib.get_close_matches(network.lower(), timm.list_models(), 3)
        if plain != name and timm.is_model(plain):
            do = f"Write {plain}."
        elif near:
            do = f"Did you mean {' or '.join(near)}?"
        else:
            do = "Give a name that timm has: python -c \"import timm; print(timm.list_models('*resnet*'))\" lists some."
        what = f"no network is called '{shortened(name, 80)}'"
        raise UserError(what, where="hyperparameter model", do=do, kind="hyperparameters")
    known = {one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")}
    if tag and tag not in known:
        what = f"'{network}' has no weights with the tag '{shortened(tag, 80)}'"
        tags = [f"{network}.{one}" for one in sorted(known)]
        do = f"Set model={network}" + (f", or one of {listed(tags, most=12)}." if tags else ", which has no tags.")
        raise UserError(what, where="hyperparameter model", do=do, kind="hyperparameters")


def num_features(backbone: nn.Module, image_size: int, *, name: str, model_args: Mapping[str, Any]) -> int:
    """The number of features that the backbone gives for pictures of `image_size` pixels per side.

    Measured by a forward pass, since timm's `num_features` is wrong for some networks. `name` and `model_args`, with
    which it was made, are for the refusal. Raises UserError if the network does not accept such pictures, or does not
    answer each with a vector.
    """
    training = backbone.training
    try:
        with torch.inference_mode():
            features_ND = backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # as above
        raise UserError(
            f"'{name}'{' with these model_args' if model_args else ''} does not accept images of {image_size} px: "
            f"{_reason(error)}",
            where="hyperparameters model, image_size" + (f", {_args(model_args)}" if model_args else ""),
            do=_fitting_size(name, image_size, model_args),
            kind="hyperparameters",
        ) from error
    if not isinstance(features_ND, torch.Tensor) or features_ND.ndim != 2 or features_ND.shape[1] == 0:
        found = list(features_ND.shape) if isinstance(features_ND, torch.Tensor) else type(features_ND).__name__
        do = "Choose another model: this one's features are no vector."
        if model_args:
            start = "Leave global_pool out" if "global_pool" in model_args else "Correct model_args"
            do = f'{start}, or set "global_pool": "avg".'
        raise UserError(
            f"the network must answer each image with one vector of features, and '{name}' answers {found}",
            where=_args(model_args),
            do=do,
            kind="hyperparameters",
        )
    backbone.train(training)
    return int(features_ND.shape[1])


def refuse_untrainable(backbone: nn.Module, image_size: int, *, name: str, model_args: Mapping[str, Any]) -> None:
    """Raises UserError where arguments such as a drop rate of 5 let the network predict, but not learn.

    The backbone's statistics are changed: throw it away.
    """
    training = backbone.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            backbone.train()(torch.zeros(2, 3, image_size, image_size))
    except Exception as error:  # as above
        raise UserError(
            f"'{name}' cannot be trained: {_reason(error)}",
            where=_args(model_args),
            do="Correct model_args.",
            kind="hyperparameters",
        ) from error
    backbone.train(training)


def pretrained_config(name: str) -> dict[str, Any]:
    """What timm states of the network's weights: mean, std, the classifier's tensor names; nothing of an unknown one,
    which `create_backbone` refuses."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a tag that there is not
        return {}
    return dict(config.to_dict()) if config else {}


def _args(model_args: Mapping[str, Any]) -> str:
    return f"model_args={shortened(json.dumps(dict(model_args), default=str), 300)}"


def _reason(error: Exception) -> str:
    """An exception's first line; what has no words of its own, such as KeyError('nope'), with its kind."""
    reason = (str(error).strip() or "it does not say why").splitlines()[0]
    is_bare = isinstance(error, KeyError) or not str(error).strip() or " " not in reason
    return shortened(f"{type(error).__name__}: {reason}" if is_bare else reason, 300)


def _what_it_takes(error: Exception) -> str:
    """The remedy for arguments that the network refuses: of an unknown name, the nearest that there is, or all."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    frames = traceback.walk_tb(error.__traceback__)
    owners = [frame.f_globals[found[1]] for frame, _ in frames if found and found[1] in frame.f_globals]
    if found is None or not owners:
        return "Correct model_args."
    known = sorted({*inspect.signature(owners[0]).parameters} - FACTORY_ARGS - {"kwargs"})
    near = nearest(found[2], known)
    return (f"Did you mean {near}? " if near else "") + f"It takes {listed(known, most=40)}."


def _fitting_size(name: str, image_size: int, model_args: Mapping[str, Any]) -> str:
    """The remedy for a network that does not take pictures of a size; what it advises was tried."""
    if model_args:
        return "Correct model_args."
    made_for = (pretrained_config(name).get("input_size") or (3, image_size, image_size))[-1]
    ways = [f"image_size={made_for}, the size that it was made for"] if image_size != made_for else []
    with suppress(Exception), torch.random.fork_rng(devices=[]), torch.inference_mode():
        other = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
        other.eval()(torch.zeros(1, 3, image_size, image_size))
        ways.append(f'model_args={{"img_size": {image_size}}}')
    return f"Set {', or '.join(ways or ['model to another network'])}."
