"""Backbone features: what a backbone makes of rows, by torch or OpenVINO; and those of the linear probes."""

# N pictures · V views · S samples · D features of a picture

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lesion.algorithms.classify.prediction.openvino_cpu import GraphExecutor, compile_graph, graph_features
from lesion.algorithms.classify.prediction.predictor import Prepared
from lesion.algorithms.classify.training.loop import features
from lesion.algorithms.classify.training.setup import Setup, fresh_network
from lesion.data.loader import Dataset, load_batches, ordered_batches
from lesion.data.transforms import views
from lesion.engine.device import Precision, autocast
from lesion.export import to_openvino
from lesion.inference.openvino_graph import GraphPrecision, core
from lesion.models.fusion import FusionNet

log = logging.getLogger(__name__)

# How far a feature of the graph may lie from torch's, as a share of the largest. Further off, torch computes them.
TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-3, "bf16": 0.1}


def backbone_features(setup: Setup) -> NDArray[np.float32] | None:
    """Frozen backbone features of every picture [V, S, D]; each process computes a part of them. None unless
    head_init=probe.

    Where nothing is trained after it, these are the features of the served network: its views, in fp32. A CPU computes
    them by OpenVINO, up to four times as fast as by torch.
    """
    config, run = setup.config, setup.run
    if config.head_init != "probe":
        return None
    is_all, everyone, started = config.epochs == 0, run.processes.as_group(), time.monotonic()
    rows_S = everyone.slice(np.arange(len(setup.targets_SK)))
    num_views = config.tta if is_all else 1
    precision: Precision = "fp32" if is_all else run.precision
    network = fresh_network(setup, num_metadata=0).eval()
    executor = graph_of(network, setup, rows_S, precision) if config.export_graph and run.device.type == "cpu" else None
    if executor is None:
        features_VSD = by_torch(network, setup, rows_S, num_views, precision)
    else:
        features_VSD = by_graph(executor, 0, setup, rows_S, num_views)
    told = (features_VSD.shape[2], num_views, len(rows_S), "torch" if executor is None else "openvino")
    log.info("features=%d views=%d rows=%d by=%s seconds=%.1f", *told, time.monotonic() - started)
    return np.asarray(everyone.gather(rows_S, torch.from_numpy(features_VSD))[1].numpy())


def by_torch(
    network: FusionNet, setup: Setup, rows_S: NDArray[np.intp], num_views: int, precision: Precision
) -> NDArray[np.float32]:
    """The features [V, S, D] of some rows."""
    nothing_SM = np.zeros((len(setup.targets_SK), 0), dtype=np.float32)
    dataset = Dataset(setup.pictures, nothing_SM, setup.targets_SK, nothing_SM[0])
    batches = ordered_batches(rows_S, setup.config.batch_size_predict)
    loaded = load_batches(dataset, batches, num_workers=setup.run.num_workers)
    return np.asarray(features(network, loaded, setup.run.device, num_views=num_views, precision=precision).numpy())


def by_graph(
    executor: GraphExecutor,
    place: int,
    setup: Setup,
    rows_S: NDArray[np.intp],
    num_views: int,
    *,
    nums_metadata: Sequence[int] = (0,),
) -> NDArray[np.float32]:
    """The features [V, S, D] of some rows by the fold at this place. Metadata, so many of each fold, changes none."""

    def prepare(number: int) -> Prepared:
        return prepared(setup, int(rows_S[number]), num_views, nums_metadata)

    return graph_features(executor, place, prepare, len(rows_S), num_workers=setup.run.num_workers)


def prepared(setup: Setup, row: int, num_views: int, nums_metadata: Sequence[int] = (0,)) -> Prepared:
    """A row's picture without its metadata."""
    return Prepared(setup.pictures.square(row), [np.zeros(num, dtype=np.float32) for num in nums_metadata], num_views)


def graph_of(network: FusionNet, setup: Setup, rows_S: NDArray[np.intp], precision: Precision) -> GraphExecutor | None:
    """The network as OpenVINO computes it; None, and a line in the log, where it cannot be converted, or where its
    features of the first row are not torch's."""
    if not len(rows_S):
        return None
    wanted: GraphPrecision = "bf16" if precision == "bf16" else "fp32"
    num_cores = setup.run.num_cores
    try:
        graph, weights = to_openvino({0: network}, {0: 0}, setup.preprocess.image_size)
        model = core().read_model(graph, weights)
        counts = {"num_views": 1, "num_cores": num_cores}
        executor = compile_graph(model, [0], precision=wanted, all_cores="never", **counts)[0]
        first = prepared(setup, int(rows_S[0]), 1)
        found_D = executor.of_fold(0, [first])[0][1][0]
        with torch.inference_mode(), autocast(precision, setup.run.device):
            images_NHWC = torch.from_numpy(views(first.pixels_HWC, 1))
            expected_D = network.features(images_NHWC.permute(0, 3, 1, 2))[0].float().numpy()
        difference = float(np.abs(found_D - expected_D).max() / np.abs(expected_D).max().clip(1e-30))
        if not difference <= TOLERANCE[wanted]:
            raise ValueError(f"a feature differs by {difference:.2g} of the largest")
    except Exception as error:  # what a thousand networks raise has no common kind
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("features: by torch, not by OpenVINO: %s: %s", type(error).__name__, reason)
        return None
    return executor
