"""Start: what every fold starts from, the same for each, and the training of one fold before its first step."""

# D features of a picture · K outputs · M metadata features · S samples · V views

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils import ModelEmaV3
from torch import Tensor

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.loop import Mixing, StepSettings, features
from lesion.data.cache import Pictures
from lesion.data.loader import Dataset, load, ordered_batches
from lesion.data.metadata import Kind, MetadataEncoder, Row
from lesion.data.table import Source
from lesion.data.transforms import Preprocess
from lesion.engine.device import Precision, keep_slow_convolutions_in_fp32
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.optim import Schedule, create_optimizer
from lesion.engine.training import EarlyStopping, Training
from lesion.errors import UserError
from lesion.evaluation.metrics import METRICS
from lesion.models.fusion import FusionNet, create_network
from lesion.models.probe import LinearHead, fit_head
from lesion.models.weights import load_backbone_weights
from lesion.targets import Target, Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What all folds start from."""

    config: ClassifyConfig
    source: Source
    pictures: Pictures  # the same rows, as squares
    targets_SK: NDArray[np.float32]
    metadata_rows: Sequence[Row]
    metadata_kinds: Mapping[str, Kind]
    preprocess: Preprocess
    target: Target
    weights: Mapping[str, Tensor] | None
    device: torch.device
    precision: Precision
    num_workers: int
    data_parallel: DataParallelGroup = field(default_factory=DataParallelGroup)  # those that train each fold together

    @property
    def prediction_settings(self) -> dict[str, Any]:
        """The settings that change predictions and no weights, in JSON's types."""
        of_weights = self.config.that_affect("weights")
        return {name: value for name, value in self.config.that_affect("predictions").items() if name not in of_weights}


def backbone_features(shared: Shared, everyone: DataParallelGroup) -> NDArray[np.float32] | None:
    """What the starting weights make of every picture [V, S, D], once for the heads of all folds, each process of the
    job for a part of the pictures; None if no head starts there.

    Where nothing is trained after it, these are the features of the served network: its views, in fp32.
    """
    config = shared.config
    if config.head_init != "probe":
        return None
    is_all = config.epochs == 0
    rows_S = everyone.slice(np.arange(len(shared.targets_SK)))
    nothing_SM = np.zeros((len(shared.targets_SK), 0), dtype=np.float32)
    dataset = Dataset(shared.pictures, nothing_SM, shared.targets_SK, nothing_SM[0])
    batches, started = ordered_batches(rows_S, config.batch_size_predict), time.monotonic()
    features_VSD = features(
        fresh_network(shared, num_metadata=0),
        load(dataset, batches, num_workers=shared.num_workers),
        shared.device,
        num_views=config.tta if is_all else 1,
        precision="fp32" if is_all else shared.precision,
    )
    num_views, num_rows, width = features_VSD.shape
    log.info("features=%d views=%d rows=%d seconds=%.1f", width, num_views, num_rows, time.monotonic() - started)
    features_VSD = everyone.gather(rows_S, features_VSD)[1]
    return np.asarray(features_VSD.numpy())


def start_training(shared: Shared, encoder: MetadataEncoder, head: LinearHead | None) -> Training:
    """A fold's training before its first step: the network with its starting weights, and all that will change it."""
    config = shared.config
    network = fresh_network(shared, num_metadata=encoder.num_features)
    keep_slow_convolutions_in_fp32(network, shared.precision, shared.device)
    if head is not None:
        network.init_head(head)
    better = METRICS[config.metric].better
    optimizer = create_optimizer(
        config.optimizer,
        network.backbone,
        [parameter for name, parameter in network.named_parameters() if not name.startswith("backbone.")],
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        rest_factor=config.head_lr_factor,
        layer_decay=config.layer_decay,
    )
    schedule = Schedule(
        optimizer,
        kind=config.schedule,
        num_epochs=config.epochs,
        warmup_epochs=config.warmup_epochs,
        better=better,
        factor=config.lr_factor,
        patience=config.lr_patience,
    )
    ema = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    return Training(network, optimizer, schedule, EarlyStopping(better, config.patience), ema)


def step_settings(shared: Shared, weights_K: Weights, *, epoch: int) -> StepSettings:
    """How the steps of an epoch are done."""
    config = shared.config
    return StepSettings(
        loss=partial(shared.target.loss, weights_K=weights_K, smoothing=config.label_smoothing),
        device=shared.device,
        precision=shared.precision,
        num_micro_batches=config.gradient_accumulation,
        clip_norm=config.clip_norm,
        mixing=Mixing(config.mixup, config.cutmix),
        set_trainable=partial(
            FusionNet.set_trainable, backbone=epoch >= config.freeze_epochs, statistics=config.batch_norm == "train"
        ),
        data_parallel=shared.data_parallel,
    )


def fresh_network(shared: Shared, *, num_metadata: int) -> FusionNet:
    """The network as every fold finds it: initial weights from the seed, the backbone's from the starting weights."""
    network = create_network(
        shared.config.model,
        shared.config.model_args,
        shared.preprocess,
        num_metadata=num_metadata,
        num_outputs=shared.target.num_outputs,
        seed=shared.config.seed,
    )
    if shared.weights is not None:
        load_backbone_weights(network.backbone, shared.config.model, shared.weights, where="pretrained weights")
    return network.to(shared.device)


def probe_head(
    features_VSD: NDArray[np.float32], rows_S: NDArray[np.intp], shared: Shared, weights_K: Weights
) -> LinearHead:
    """The head that a fold starts from, of its training rows."""
    return fit_head(features_VSD[:, rows_S], shared.targets_SK[rows_S], kind=shared.target.kind, weights_K=weights_K)


def class_weights(config: ClassifyConfig, target: Target, targets_SK: NDArray[np.float32]) -> Weights:
    """The weights [K] in the loss, from a fold's training rows."""
    if config.class_weight == "balanced":
        return target.balanced(targets_SK)
    if target.kind == "multiclass" and config.class_weight != "none":
        raise UserError(
            f"class_weight={config.class_weight} weighs a yes, and this target has {target.num_outputs} classes",
            do="Set class_weight to none or balanced.",
            kind="hyperparameters",
        )
    weight = 1.0 if config.class_weight == "none" else float(config.class_weight)
    return np.full(target.num_outputs, weight, dtype=np.float32)
