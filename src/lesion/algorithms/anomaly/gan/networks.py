"""Networks: generator, encoder and discriminator that grow block by block, from 4 px to the full side.

The progressive GAN (Karras et al. 2018, appendix A) as ProGANomaly (P-CEAD) makes a detector of anomalies of it: the
generator reconstructs a picture instead of drawing one. What we do otherwise: docs/decisions/0062.
"""

# N batch · C channels · H, W pixels · F filters · L numbers of a latent

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

FILTERS = (512, 512, 512, 512, 256, 128, 64, 32, 16)  # of the blocks at 4, 8, … 1024 px
FEWEST_FILTERS = 4
FIRST_PX = 4  # a side of the first block; block b works at 4 · 2^b
SLOPE = 0.2  # of the leaky ReLU


def filters_of(side_px: int, divisor: int) -> tuple[int, ...]:
    """The filters of each block of networks for pictures with this side, a power of two from 4 to 1024."""
    num_blocks = int(math.log2(side_px // FIRST_PX)) + 1
    return tuple(max(number // divisor, FEWEST_FILTERS) for number in FILTERS[:num_blocks])


def side_of(block: int) -> int:
    """The side in pixels that a block works at."""
    return FIRST_PX << block


class EqualizedConv(nn.Conv2d):
    """A convolution with equalised learning rate: weights are drawn from N(0, 1), and multiplied at each use by He's
    constant, so that Adam moves all of them equally fast (Karras et al. 2018, section 4.1)."""

    def __init__(self, num_in: int, num_out: int, kernel_px: int, *, padding: int = 0, gain: float = math.sqrt(2)):
        super().__init__(num_in, num_out, kernel_px, padding=padding)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        self._scale = gain / math.sqrt(num_in * kernel_px**2)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return self._conv_forward(features_NCHW, self.weight * self._scale, self.bias)  # type: ignore[no-any-return]


class PixelNorm(nn.Module):
    """Divides the features of each pixel by their root mean square (Karras et al. 2018, section 4.2)."""

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return features_NCHW * (features_NCHW.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def conv(num_in: int, num_out: int, kernel_px: int = 3, *, padding: int = 1, has_norm: bool = False) -> nn.Sequential:
    """A convolution with its leaky ReLU, and in the decoder pixel normalisation."""
    norm = [PixelNorm()] if has_norm else []
    return nn.Sequential(EqualizedConv(num_in, num_out, kernel_px, padding=padding), nn.LeakyReLU(SLOPE), *norm)


class Downward(nn.Module):
    """Pictures of any block's side down to features of 4 px [N, F, 4, 4]: the first part of all three networks.

    `alpha` below 1 fades the last block in: the rest of what the block before it sees is the picture at half the side.
    """

    def __init__(self, filters: Sequence[int]) -> None:
        super().__init__()
        self.from_rgb = nn.ModuleList(conv(3, number, 1, padding=0) for number in filters)
        self.first = nn.ModuleList(conv(number, number) for number in filters[1:])
        self.second = nn.ModuleList(conv(above, below) for below, above in itertools.pairwise(filters))

    def forward(self, images_NCHW: Tensor, block: int, alpha: float) -> tuple[Tensor, list[Tensor]]:
        """The features, and those that each block from the first above 4 px on hands to the decoder at its own side."""
        skips: list[Tensor] = []
        features = self.from_rgb[block](images_NCHW)
        for number in range(block, 0, -1):
            features = self.first[number - 1](features)
            skips.insert(0, features)
            features = functional.avg_pool2d(self.second[number - 1](features), 2)
            if number == block and alpha < 1:
                features = torch.lerp(self.from_rgb[number - 1](functional.avg_pool2d(images_NCHW, 2)), features, alpha)
        return features, skips

    def features(self, images_NCHW: Tensor) -> Tensor:
        """What the last block, faded in, makes of pictures at its own side: the last skip [N, filters[-1], H, W]."""
        images_NCHW = self.from_rgb[-1](images_NCHW)
        return self.first[-1](images_NCHW)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Pictures in −1 to 1 [N, 3, H, W] to their latents [N, L, 1, 1], of length √L each."""

    def __init__(self, filters: Sequence[int]) -> None:
        super().__init__()
        width = filters[0]
        self.down = Downward(filters)
        self.last = nn.Sequential(conv(width, width), EqualizedConv(width, width, FIRST_PX, gain=1.0), PixelNorm())

    def forward(self, images_NCHW: Tensor, block: int, alpha: float) -> tuple[Tensor, list[Tensor]]:
        """The latents, and the skips of the U-Net."""
        features, skips = self.down(images_NCHW, block, alpha)
        return self.last(features), skips


class Decoder(nn.Module):
    """Latents and skips to pictures [N, 3, H, W], about in −1 to 1."""

    def __init__(self, filters: Sequence[int]) -> None:
        super().__init__()
        width = filters[0]
        self.start = conv(width, width, FIRST_PX, padding=FIRST_PX - 1, has_norm=True)  # 1 px becomes 4
        self.start_second = conv(width, width, has_norm=True)
        above = list(itertools.pairwise(filters))
        self.first = nn.ModuleList(conv(below + number, number, has_norm=True) for below, number in above)
        self.second = nn.ModuleList(conv(number, number, has_norm=True) for number in filters[1:])
        self.to_rgb = nn.ModuleList(EqualizedConv(number, 3, 1, gain=1.0) for number in filters)

    def forward(self, latents_NL: Tensor, skips: Sequence[Tensor], block: int, alpha: float) -> Tensor:
        """The pictures at the side of `block`, which fades in below `alpha` 1."""
        before = features = self.start_second(self.start(latents_NL))
        for number in range(1, block + 1):
            before = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.first[number - 1](torch.cat([before, skips[number - 1]], dim=1))
            features = self.second[number - 1](features)
        images_NCHW: Tensor = self.to_rgb[block](features)
        if block and alpha < 1:
            images_NCHW = torch.lerp(self.to_rgb[block - 1](before), images_NCHW, alpha)
        return images_NCHW


class Generator(nn.Module):
    """Reconstructs pictures: an encoder and a decoder joined by skips at each side (a U-Net), which grow together."""

    def __init__(self, filters: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(filters), Decoder(filters)

    def forward(self, images_NCHW: Tensor, block: int, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
        """The reconstructions, in the shape of the pictures, and the latents that they come from."""
        latents_NL, skips = self.encoder(images_NCHW, block, alpha)
        return self.decoder(latents_NL, skips, block, alpha), latents_NL


class Discriminator(nn.Module):
    """Pictures to one number each [N], large for real ones.

    The only network that compares the pictures of a batch (minibatch standard deviation, Karras et al. 2018, section
    3): it is thrown away after training, so no answer depends on a picture's neighbours.
    """

    def __init__(self, filters: Sequence[int]) -> None:
        super().__init__()
        width = filters[0]
        self.down = Downward(filters)
        self.last = nn.Sequential(
            conv(width + 1, width), conv(width, width, FIRST_PX, padding=0), EqualizedConv(width, 1, 1, gain=1.0)
        )

    def forward(self, images_NCHW: Tensor, block: int, alpha: float) -> Tensor:
        features, _ = self.down(images_NCHW, block, alpha)
        variance = features.var(dim=0, correction=0)  # [F, 4, 4]; a root needs the 1e-8 for its gradient at 0
        spread = (variance + 1e-8).sqrt().mean().expand(len(features), 1, FIRST_PX, FIRST_PX)
        return self.last(torch.cat([features, spread], dim=1)).flatten()  # type: ignore[no-any-return]
