"""Setup: what every fold starts from, the same for each, and the training of one fold before its first step."""

# D features of a picture · K outputs · M metadata features · S samples · V views

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils import ModelEmaV3
from torch import Tensor

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.training.loop import Mixing, StepSettings
from lesion.data.cache import Pictures
from lesion.data.folds import Folds
from lesion.data.metadata import ColumnType, MetadataEncoder, Row
from lesion.data.table import SampleTable, Source
from lesion.data.transforms import Preprocess, decode_px
from lesion.engine.checkpoint import saved_setting
from lesion.engine.device import autocast, keep_slow_convolutions_in_fp32, largest_batch
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.optim import Schedule, create_optimizer
from lesion.engine.run import Run
from lesion.engine.training import EarlyStopping, Training
from lesion.evaluation.metrics import METRICS
from lesion.models.fusion import FusionNet, create_network
from lesion.models.probe import LinearHead, fit_head
from lesion.models.starting_weights import weights_digest
from lesion.models.weight_files import WeightsFile
from lesion.models.weights import load_backbone_weights
from lesion.targets import Target, Weights

log = logging.getLogger(__name__)

BATCH_SIZE = "batch_size_train"
CPU_BATCH = 64  # a CPU computes no faster with more, and its memory is no limit
PACKAGES = (
    *("lesion", "torch", "timm", "numpy", "scipy", "scikit-learn"),
    *("albumentations", "opencv-python-headless", "pillow"),
)


@dataclass(frozen=True)
class Setup:
    """What all folds start from."""

    run: Run
    config: ClassifyConfig
    source: Source
    pictures: Pictures  # the same rows, as squares
    targets_SK: NDArray[np.float32]
    metadata_rows: Sequence[Row]
    metadata_kinds: Mapping[str, ColumnType]
    preprocess: Preprocess
    target: Target
    weights: Mapping[str, Tensor] | None  # pretrained ones of the backbone
    weights_file: WeightsFile | None = None
    data_parallel: DataParallelGroup = field(default_factory=DataParallelGroup)  # those that train each fold together
    held_back_S: NDArray[np.bool_] | None = None  # rows that no fold trains on, which evaluate a soup

    @property
    def prediction_settings(self) -> dict[str, Any]:
        """The settings that change predictions and no weights, in JSON's types."""
        of_weights = self.config.that_affect("weights")
        return {name: value for name, value in self.config.that_affect("predictions").items() if name not in of_weights}


def settings_and_versions(config: ClassifyConfig, run: Run) -> dict[str, Any]:
    """The part of the fingerprint that is known before the data is read."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    decoded = {"decode_px": decode_px(config.image_size)}  # a rule of this version, which changes what is learnt from
    return {**config.that_affect("weights"), **versions, **decoded, "precision": run.precision}


def fingerprint(setup: Setup, valid_FS: Folds) -> dict[str, Any]:
    """Everything that influences the weights. A checkpoint resumes only under an equal one."""
    settings = settings_and_versions(setup.config, setup.run)
    return {**settings, **digests(setup.source.table(), valid_FS, setup.weights)}


def digests(table: SampleTable, valid_FS: Folds, weights: Mapping[str, Tensor] | None) -> dict[str, str]:
    """The rest of the fingerprint: of the data with its folds, and of the starting weights."""
    rows = hashlib.sha256(table.fingerprint().encode() + valid_FS.tobytes()).hexdigest()
    return {"data": rows, "weights": weights_digest(weights)}


def with_batch_size(
    config: ClassifyConfig, target: Target, preprocess: Preprocess, run: Run, *, known: Callable[[], Mapping[str, Any]]
) -> ClassifyConfig:
    """The same settings with `batch_size_train=auto` decided: that of the job's checkpoints, by what is `known` of its
    fingerprint; else on a GPU by trying steps of the network.

    All processes of the job take the smallest that one of them found.
    """
    if config.batch_size_train != "auto":
        return config
    saved = saved_setting(run.job.checkpoint_dir, BATCH_SIZE, known())
    size = CPU_BATCH if saved is None else int(saved)
    if saved is None and run.device.type == "cuda":
        network = create_network(
            config.model,
            config.model_args,
            preprocess,
            num_metadata=0,
            num_outputs=target.num_outputs,
            seed=config.seed,
        ).to(run.device)
        optimizer = create_optimizer(
            config.optimizer, network, [], learning_rate=0.0, weight_decay=0.0, rest_factor=1.0, layer_decay=1.0
        )
        side_px = preprocess.image_size

        def try_step(num_pictures: int) -> None:
            images_NCHW = torch.zeros(num_pictures, 3, side_px, side_px, dtype=torch.uint8, device=run.device)
            with autocast(run.precision, run.device):
                logits_NK = network(images_NCHW, torch.zeros(num_pictures, 0, device=run.device))
            optimizer.zero_grad(set_to_none=True)
            logits_NK.float().sum().backward()
            optimizer.step()

        # The network and its optimiser are thrown away: only their memory counts, so zeros and rate 0 will do.
        size = largest_batch(try_step)
    size = run.processes.minimum(size)
    log.info("batch_size_train=%d%s", size, "" if saved is None else ", as in the checkpoints")
    return config.model_copy(update={BATCH_SIZE: size})


def start_training(setup: Setup, encoder: MetadataEncoder, head: LinearHead | None) -> Training:
    """A fold's training before its first step: initial network, optimiser, schedule, EMA, early stopping."""
    config = setup.config
    network = fresh_network(setup, num_metadata=encoder.num_features)
    keep_slow_convolutions_in_fp32(network, setup.run.precision, setup.run.device)
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
    # Warm-up: else the random head would stay in the average for some 1 / (1 − decay) steps.
    ema = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    return Training(network, optimizer, schedule, EarlyStopping(better, config.patience), ema)


def step_settings(setup: Setup, weights_K: Weights, *, epoch: int) -> StepSettings:
    """The settings of an epoch's optimiser steps."""
    config = setup.config
    return StepSettings(
        loss=partial(setup.target.loss, weights_K=weights_K, smoothing=config.label_smoothing),
        device=setup.run.device,
        precision=setup.run.precision,
        num_micro_batches=config.gradient_accumulation,
        clip_norm=config.clip_norm,
        mixing=Mixing(config.mixup, config.cutmix),
        set_trainable=partial(
            FusionNet.set_trainable, backbone=epoch >= config.freeze_epochs, statistics=config.batch_norm == "train"
        ),
        data_parallel=setup.data_parallel,
    )


def fresh_network(setup: Setup, *, num_metadata: int) -> FusionNet:
    """The initial network, the same for every fold: weights from the seed, the backbone's from the pretrained ones."""
    network = create_network(
        setup.config.model,
        setup.config.model_args,
        setup.preprocess,
        num_metadata=num_metadata,
        num_outputs=setup.target.num_outputs,
        seed=setup.config.seed,
    )
    if setup.weights is not None:
        load_backbone_weights(network.backbone, setup.config.model, setup.weights, where="pretrained weights")
    return network.to(setup.run.device)


def probe_head(
    features_VSD: NDArray[np.float32], rows_S: NDArray[np.intp], setup: Setup, weights_K: Weights
) -> LinearHead:
    """The linear probe that a fold's head starts from, fitted on its training rows."""
    return fit_head(features_VSD[:, rows_S], setup.targets_SK[rows_S], kind=setup.target.kind, weights_K=weights_K)


def class_weights(config: ClassifyConfig, target: Target, targets_SK: NDArray[np.float32]) -> Weights:
    """The class weights [K] in the loss, from a fold's training rows."""
    if config.class_weight == "balanced":
        return target.balanced(targets_SK)
    weight = 1.0 if config.class_weight == "none" else float(config.class_weight)
    return np.full(target.num_outputs, weight, dtype=np.float32)
