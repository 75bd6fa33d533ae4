"""Losses: of discriminator, generator and encoder, each with gradients to its own network alone."""

# N batch · C channels · H, W pixels · L numbers of a latent

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

GRADIENT_PENALTY = 10.0  # λ of WGAN-GP (Gulrajani et al. 2017, section 4)
DRIFT = 1e-3  # Karras et al. 2018, appendix A.1

Judge = Callable[[Tensor], Tensor]  # pictures to one number each


def discriminator_loss(judge: Judge, real_NCHW: Tensor, fake_NCHW: Tensor, share_N: Tensor) -> Tensor:
    """L_D: WGAN-GP with drift: D(fake) − D(real) + λ (|∇D(x̂)| − 1)² + drift · D(real)², where x̂ lies between both
    pictures, by a share in 0 to 1 each."""
    fake_NCHW = fake_NCHW.detach()
    for_real_N, for_fake_N = judge(real_NCHW), judge(fake_NCHW)
    between_NCHW = torch.lerp(real_NCHW, fake_NCHW, share_N.view(-1, 1, 1, 1)).requires_grad_()
    with torch.autocast("cuda", enabled=False):  # second derivatives overflow in few digits
        [gradient_NCHW] = torch.autograd.grad(judge(between_NCHW).sum(), between_NCHW, create_graph=True)
    length_N = (gradient_NCHW.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    penalty = GRADIENT_PENALTY * (length_N - 1).square().mean()
    return for_fake_N.mean() - for_real_N.mean() + penalty + DRIFT * for_real_N.square().mean()


def generator_loss(judge: Judge, real_NCHW: Tensor, fake_NCHW: Tensor, *, weight: float) -> Tensor:
    """L_G = −D(G(m(x))) + w · MSE(x, G(m(x)))."""
    return weight * functional.mse_loss(fake_NCHW, real_NCHW) - judge(fake_NCHW).mean()


def encoder_loss(encode: Judge, latents_NL: Tensor, fake_NCHW: Tensor) -> Tensor:
    """L_E = MSE(Ge(m(x)), E(G(m(x)))), in which only E learns."""
    return functional.mse_loss(encode(fake_NCHW.detach()), latents_NL.detach())
