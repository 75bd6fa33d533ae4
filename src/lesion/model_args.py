"""Model args: what may be handed to timm beside a network's name. Knows the names only, so that it needs no timm."""

from __future__ import annotations

import math
from collections.abc import Mapping

# The parameters of timm's factory, which say where weights come from and what becomes of the network: Lesion's own
# business. `checkpoint_path` and `pretrained_cfg` open any file, with torch.load where it is no safetensors.
FACTORY_ARGS = frozenset(
    {
        *("model_name", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
        *("scriptable", "exportable", "no_jit"),  # timm.create_model
        *("model_cls", "variant", "model_cfg", "feature_cfg", "kwargs_filter", "pretrained_model_args"),
        *("pretrained_strict", "pretrained_filter_fn", "pruned"),  # timm.models.build_model_with_cfg
        *("num_classes", "in_chans", "features_only", "out_indices", "feature_cls"),  # one vector of features from RGB
        *("device", "dtype"),  # where and in what the network is made
    }
)

LARGEST = 16_384  # widths, sides and numbers of blocks: a network beyond it would fill the memory while it is made


def refuse_factory_args(model_args: Mapping[str, object]) -> None:
    """Raises ValueError, with a sentence, for an argument that is the factory's own, or that names a file or address.

    No network of timm takes a text with a slash or a colon.
    """
    if reserved := sorted(FACTORY_ARGS & set(model_args)):
        raise ValueError(
            f"{', '.join(reserved)} cannot be set, so take it out: the network must answer one vector an image in RGB, "
            "and `pretrained` says what its weights are"
        )
    left: list[tuple[str, object]] = list(model_args.items())
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += [(name, part) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple):
            left += [(name, part) for part in value]
        elif isinstance(value, str) and set(value) & set("/\\:\0"):
            raise ValueError(f"{name[:80]!r} names a file or an address, which is not allowed")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name[:80]!r} is {value}, and a number is needed")
        elif isinstance(value, int | float) and abs(value) > LARGEST:
            raise ValueError(f"{name[:80]!r} is {str(value)[:20]}, and no network takes more than {LARGEST:,}")
