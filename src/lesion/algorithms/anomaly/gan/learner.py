"""Learner: the progressive GAN as one of the scorers that a job can train: what is said before, learned and stored."""

# S rows

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.gan.cost import in_gib, refuse_too_large, speed_of, stage_costs
from lesion.algorithms.anomaly.gan.growth import stages_of
from lesion.algorithms.anomaly.gan.learn import learn_errors, train_generator
from lesion.algorithms.anomaly.gan.networks import filters_of
from lesion.algorithms.anomaly.gan.scorer import GanScorer, places_a_side
from lesion.algorithms.anomaly.gan.training import GanTraining
from lesion.algorithms.anomaly.hold_out import least_learned
from lesion.algorithms.anomaly.manifest import GanRecord
from lesion.data.cache import Pictures
from lesion.data.remark import Remark
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.run import Run
from lesion.errors import UserError

log = logging.getLogger(__name__)

MOST_FEATURES = 64  # that are compared


class GanLearner:
    """A Learner (anomaly/learner.py)."""

    name = "GAN"
    less_memory = "lower image_size, or raise filter_divisor"

    def __init__(self, config: AnomalyConfig) -> None:
        self._config = config
        self._filters = filters_of(config.image_size, config.filter_divisor)
        self._stages = stages_of(len(self._filters))

    def refuse(self, run: Run) -> None:
        """Raises UserError for several processes, and for bf16 without a GPU."""
        if (num_processes := len(run.processes.names)) > 1:
            raise UserError(
                f"scorer=gan is trained by one process, and the job has {num_processes}",
                do="Set processes=1 and one instance: data-parallel training is not built for it.",
                kind="hyperparameters",
            )
        if run.precision == "bf16" and run.device.type != "cuda":
            raise UserError(
                "precision=bf16 of scorer=gan needs a GPU", do="Set precision=fp32.", kind="hyperparameters"
            )

    def remarks(self) -> Sequence[Remark]:
        """What each phase takes. Raises UserError for networks that do not fit into the memory."""
        config, costs = self._config, stage_costs(self._filters)
        refuse_many_features(config, self._filters[-1])
        is_gpu = config.device != "cpu" and torch.cuda.is_available()
        refuse_too_large(costs, is_gpu=is_gpu)
        speed = speed_of(torch.device("cuda" if is_gpu else "cpu"), self._filters[-1])
        seconds = sum(cost.seconds(config.stage_pictures, speed) for cost in costs)
        last, side = costs[-1], config.image_size
        once = last.seconds(1000, speed) / 10  # a reconstruction is about a tenth of a step's operations
        what = (
            f"the progressive GAN has {len(self._filters)} blocks of {', '.join(map(str, self._filters))} filters; "
            f"phase 0 trains {len(self._stages)} stages of {config.stage_pictures:,} images: about {seconds / 60:.1f} "
            f"minutes on an idle machine, {in_gib(max(cost.num_bytes for cost in costs))} of memory in "
            f"the largest step; phases 1 (errors) and 2 (threshold): about {once:.0f} seconds for 1,000 images each; a "
            f"map has {places_a_side(side)} × {places_a_side(side)} places"
        )
        return (Remark("gan_cost", what),)

    @property
    def weights_file(self) -> None:
        """None: it starts from random weights."""
        return

    def starting_digest(self) -> str:
        """Nothing but the seed, which is a setting: it starts from no weights."""
        return "none"

    def learn(
        self,
        pictures: Pictures,
        rows_S: NDArray[np.intp],
        group_S: NDArray[np.str_],
        *,
        run: Run,
        checkpoints: Checkpoints,
    ) -> GanScorer:
        """The scorer from the pictures of these normal rows, of the groups `group_S` [len(rows_S)]."""
        config = self._config
        is_error_S = error_rows(group_S, config.error_share, seed=config.seed)
        log.info("gan: phase 0 images=%d, phase 1 images=%d of other groups", (~is_error_S).sum(), is_error_S.sum())
        training = GanTraining(
            self._filters,
            pictures=config.stage_pictures,
            learning_rate=config.learning_rate,
            reconstruction_weight=config.reconstruction_weight,
            seed=config.seed,
            device=run.device,
            precision=run.precision,
        )
        train_generator(
            training,
            self._stages,
            pictures,
            rows_S[~is_error_S],
            num_pictures=config.stage_pictures,
            seed=config.seed,
            run=run,
            checkpoints=checkpoints,
        )
        scorer = GanScorer(
            training.average,
            self._filters,
            smoothing_px=config.smoothing,
            cell_px=config.inpainting,
            compare=config.compare,
        )
        scorer.eval().requires_grad_(False).to(run.device)
        batch_size = config.batch_size_predict
        learn_errors(scorer, pictures, rows_S[is_error_S], batch_size=batch_size, run=run, checkpoints=checkpoints)
        return scorer

    def record(self, scorer: GanScorer, file: str) -> GanRecord:
        """What the manifest says of a scorer that this learner made."""
        return GanRecord(
            kind="gan",
            file=file,
            filters=scorer.filters,
            smoothing_px=scorer.smoothing_px,
            cell_px=scorer.cell_px,
            compare=scorer.compare,
        )


def refuse_many_features(config: AnomalyConfig, num_features: int) -> None:
    """Raises UserError for more features than MOST_FEATURES: the moments of each picture grow with their square."""
    least = config.filter_divisor * -(-num_features // MOST_FEATURES)
    if config.compare == "features" and num_features > MOST_FEATURES:
        raise UserError(
            f"compare=features would compare {num_features} features a pixel, and {MOST_FEATURES} are allowed",
            where="hyperparameter compare",
            do=f"Set filter_divisor to at least {least}, or compare=colours.",
            kind="hyperparameters",
        )


def error_rows(group_S: NDArray[np.str_], share: float, *, seed: int) -> NDArray[np.bool_]:
    """Which of the normal rows [S] are for phase 1: whole groups at random, until they hold the share; of two groups or
    more at least one for each phase."""
    groups_G, counts_G = np.unique(group_S, return_counts=True)
    assert len(groups_G) >= least_learned("gan")  # the task has refused fewer
    order = np.random.default_rng([seed, 1]).permutation(len(groups_G))
    is_error_G = np.cumsum(counts_G[order]) - counts_G[order] < share * counts_G.sum()
    is_error_G[-1] = False
    return np.asarray(np.isin(group_S, groups_G[order][is_error_G]))
