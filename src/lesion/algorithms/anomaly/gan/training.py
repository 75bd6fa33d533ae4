"""Training: the three networks, their optimisers and the average that is kept, between two steps. Saved and restored.

All chance (what is masked, how pictures are mixed) follows from seed, stage, step and number of rollbacks, so a state
needs no generator's state.
"""

# N batch · C channels · H, W pixels

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from lesion.algorithms.anomaly.gan.growth import Stage
from lesion.algorithms.anomaly.gan.losses import discriminator_loss, encoder_loss, generator_loss
from lesion.algorithms.anomaly.gan.masking import draw_sources, masked
from lesion.algorithms.anomaly.gan.networks import Discriminator, Encoder, Generator
from lesion.engine.checkpoint import State
from lesion.engine.device import Precision
from lesion.engine.optimizer_state import optimizer_tensors, restore_optimizer

LOSSES = ("discriminator", "generator", "encoder")
BETAS = (0.0, 0.99)  # Karras et al. 2018, appendix A.1
HALF_LIVES = 10  # of the average of weights, in a stage


class GanTraining:
    """The networks and how far they are. `average` is the generator whose weights are an exponential moving average
    (EMA) of all steps': it is evaluated and kept."""

    def __init__(
        self,
        filters: Sequence[int],
        *,
        pictures: int,
        learning_rate: float,
        reconstruction_weight: float,
        seed: int,
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        """`pictures` are those of a stage. Initial weights depend on `seed` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator, discriminator, encoder = Generator(filters), Discriminator(filters), Encoder(filters)
        self.generator, self.discriminator, self.encoder = generator, discriminator, encoder
        self.average = copy.deepcopy(generator).requires_grad_(False)
        for network in self.networks.values():
            network.to(device)
        self._optimizers = {
            name: Adam(network.parameters(), lr=learning_rate, betas=BETAS)
            for name, network in zip(LOSSES, (discriminator, generator, encoder), strict=True)
        }
        self._pictures, self._weight, self._seed = pictures, reconstruction_weight, seed
        self._device, self._precision = device, precision
        self.stage = self.step = self.num_pictures = self.num_rollbacks = 0  # the second and third of the stage

    @property
    def num_learned(self) -> int:
        """The pictures of all stages so far."""
        return self.stage * self._pictures + self.num_pictures

    def learn(self, stage: Stage, images_NHWC: Tensor) -> Tensor:
        """A step on a batch of uint8 pictures at the full side, or any multiple of the stage's: D learns, then G and E.
        Returns the losses [3] as LOSSES names them; where they are not finite, neither are the weights."""
        rng = np.random.default_rng([self._seed, self.stage, self.step, self.num_rollbacks])
        alpha, block = stage.alpha(self.num_pictures, self._pictures), stage.block
        real_NCHW = pictures_at(images_NHWC.to(self._device), stage.side_px, alpha)
        source_NHW = np.stack([draw_sources(stage.side_px, rng) for _ in range(len(real_NCHW))])
        share_N = torch.from_numpy(rng.random(len(real_NCHW), dtype=np.float32)).to(self._device)

        def judge(pictures_NCHW: Tensor) -> Tensor:
            return self.discriminator(pictures_NCHW, block, alpha).float()  # type: ignore[no-any-return]

        def encode(pictures_NCHW: Tensor) -> Tensor:
            return self.encoder(pictures_NCHW, block, alpha)[0].float()  # type: ignore[no-any-return]

        mixed = torch.autocast("cuda", torch.bfloat16, enabled=self._precision == "bf16")  # on a GPU alone
        with mixed:
            fake_NCHW, latents_NL = self.generator(masked(real_NCHW, source_NHW), block, alpha)
            fake_NCHW = fake_NCHW.float()
            of_discriminator = discriminator_loss(judge, real_NCHW, fake_NCHW, share_N)
        self._descend("discriminator", of_discriminator)
        self.discriminator.requires_grad_(False)
        with mixed:
            of_generator = generator_loss(judge, real_NCHW, fake_NCHW, weight=self._weight)
        self._descend("generator", of_generator)
        self.discriminator.requires_grad_(True)
        with mixed:
            of_encoder = encoder_loss(encode, latents_NL.float(), fake_NCHW)
        self._descend("encoder", of_encoder)
        self._average(len(real_NCHW))
        self.step += 1
        self.num_pictures += len(real_NCHW)
        return torch.stack([of_discriminator, of_generator, of_encoder]).detach()

    def next_stage(self) -> None:
        """The next step is the next stage's first."""
        self.stage, self.step, self.num_pictures = self.stage + 1, 0, 0

    def state(self) -> State:
        """The state from which `restore` continues bit for bit."""
        tensors = {
            f"{name}.{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        groups = {}
        for name, optimizer in self._optimizers.items():
            tensors |= {f"optimizer_{name}.{key}": tensor for key, tensor in optimizer_tensors(optimizer).items()}
            groups[name] = optimizer.state_dict()["param_groups"]
        values: dict[str, Any] = {"param_groups": groups, "stage": self.stage, "step": self.step}
        values |= {"num_pictures": self.num_pictures, "num_rollbacks": self.num_rollbacks}
        return State(tensors, values)

    def restore(self, state: State) -> None:
        """Puts a training of the same settings into `state`."""
        for name, network in self.networks.items():
            network.load_state_dict(state.below(name))
        for name, optimizer in self._optimizers.items():
            restore_optimizer(optimizer, state.below(f"optimizer_{name}"), state.values["param_groups"][name])
        self.stage, self.step = state.values["stage"], state.values["step"]
        self.num_pictures, self.num_rollbacks = state.values["num_pictures"], state.values["num_rollbacks"]

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks by name."""
        names = (*LOSSES, "average")
        return dict(zip(names, (self.discriminator, self.generator, self.encoder, self.average), strict=True))

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self._optimizers[name]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def _average(self, num_pictures: int) -> None:
        kept = 0.5 ** (HALF_LIVES * num_pictures / self._pictures)
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - kept)


def as_input(images_NHWC: Tensor) -> Tensor:
    """uint8 RGB [N, H, W, 3] as networks take it: float32 [N, 3, H, W] in −1 to 1."""
    return images_NHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures_at(images_NHWC: Tensor, side_px: int, alpha: float) -> Tensor:
    """uint8 pictures at a stage's side, by area, float32 [N, 3, H, W] in −1 to 1. While the block fades in, what a
    picture at half the side lacks counts for `alpha` only (Karras et al. 2018, figure 2)."""
    images_NCHW = as_input(images_NHWC)
    if (factor := images_NCHW.shape[-1] // side_px) > 1:
        images_NCHW = functional.avg_pool2d(images_NCHW, factor)
    if alpha < 1:
        half_NCHW = functional.avg_pool2d(images_NCHW, 2)
        images_NCHW = torch.lerp(
            functional.interpolate(half_NCHW, scale_factor=2.0, mode="nearest"), images_NCHW, alpha
        )
    return images_NCHW
