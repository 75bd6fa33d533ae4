"""Rollback: the last state of training in which all was a number, and the way back to it."""

from __future__ import annotations

import logging

from torch import Tensor

from lesion.algorithms.anomaly.gan.training import GanTraining
from lesion.engine.checkpoint import Checkpoints
from lesion.errors import UserError

log = logging.getLogger(__name__)

NOW, GOOD = "gan", "gan_good"  # the states' names: saved by the clock; saved at the same steps in each run
MOST_ROLLBACKS = 10


class Rollback:
    """Watches a training: takes note of good states, and goes back to the last one where a loss or a weight is NaN or
    infinite. What is drawn after that is drawn anew.

    Good states are states on disk as well, so that a killed job goes back as an unbroken one does.
    """

    def __init__(self, training: GanTraining, checkpoints: Checkpoints) -> None:
        """Puts the training into the state that the job had reached, if there is one."""
        self._training, self._checkpoints = training, checkpoints
        good = checkpoints.load(GOOD)
        self._good = training.state().copied() if good is None else good
        found = [state for state in (checkpoints.load(NOW), good) if state is not None]
        for state in sorted(found, key=lambda state: (state.values["stage"], state.values["step"]))[-1:]:
            training.restore(state)

    def after_step(self, losses: Tensor, *, is_due: bool) -> bool:
        """Whether the step was good, and its state, where a good one `is_due`; else training is where it was good.

        Raises UserError after MOST_ROLLBACKS returns.
        """
        is_good = bool(losses.isfinite().all())
        if is_good and is_due:
            state = self._training.state().copied()
            is_good = all(bool(tensor.isfinite().all()) for tensor in state.tensors.values())
            if is_good:
                self._good = state
                self._checkpoints.save(GOOD, state)
        if not is_good:
            self._go_back(losses)
        return is_good

    def _go_back(self, losses: Tensor) -> None:
        training, num_rollbacks = self._training, self._training.num_rollbacks + 1
        if num_rollbacks > MOST_ROLLBACKS:
            raise UserError(
                f"the progressive GAN's losses or weights were NaN or infinite {num_rollbacks} times; after each of "
                f"the first {MOST_ROLLBACKS} training went back to its last good state",
                where=f"stage {training.stage + 1}, step {training.step}",
                do="Lower learning_rate, or set precision=fp32.",
                kind="hyperparameters",
            )
        told = " ".join(f"{loss:g}" for loss in losses.tolist())
        training.restore(self._good)
        training.num_rollbacks = num_rollbacks
        log.warning(
            "gan: losses or weights are not finite (losses %s): back to stage=%d step=%d, rollback=%d",
            *(told, training.stage + 1, training.step, num_rollbacks),
        )
