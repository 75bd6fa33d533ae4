"""The kinds of work that the image's CUDA libraries must do, on small inputs: each would fail if a cut were missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

BACKBONES = ["resnet50", "efficientnet_b2", "mobilenetv2_100", "xception41", "convnext_tiny", "vit_small_patch16_224"]


def network_and_pictures(name: str, device: torch.device) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=1).to(device, memory_format=torch.channels_last)
    pictures_NCHW = torch.rand(8, 3, 224, 224, device=device).to(memory_format=torch.channels_last)
    return network, pictures_NCHW, (torch.arange(8, device=device) % 2).float()[:, None]


def train(network: nn.Module, pictures_NCHW: torch.Tensor, targets_NK: torch.Tensor, dtype: torch.dtype) -> list[float]:
    """Losses of some steps in mixed precision."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    losses = []
    for _ in range(8):
        with torch.autocast("cuda", dtype):
            loss = nn.functional.binary_cross_entropy_with_logits(network(pictures_NCHW), targets_NK)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("is_benchmarked", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_learns_eight_pictures_by_heart(gpu, name, dtype, is_benchmarked, monkeypatch):
    """Convolutions of every engine that cuDNN tries, batch norm, attention, Adam, loss scaling."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", is_benchmarked)
    losses = train(*network_and_pictures(name, gpu), dtype)
    assert all(torch.isfinite(torch.tensor(losses))) and losses[-1] < losses[0]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_gpu_answers_as_the_cpu_does(gpu, name):
    network, pictures_NCHW, _ = network_and_pictures(name, gpu)
    with torch.inference_mode():
        on_gpu = network.eval()(pictures_NCHW).cpu()
        on_cpu = network.cpu()(pictures_NCHW.cpu())
    assert on_gpu == pytest.approx(on_cpu, abs=2e-2)


@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
def test_attention_has_its_kernels(gpu, backend):
    query = torch.rand(2, 4, 64, 32, device=gpu, dtype=torch.float16, requires_grad=True)
    with sdpa_kernel(backend):
        nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()
    assert query.grad is not None and query.grad.isfinite().all()


def test_a_forward_pass_is_captured_as_a_graph(gpu):
    network, pictures_NCHW, _ = network_and_pictures("resnet50", gpu)
    network.eval()
    with torch.inference_mode():
        expected = network(pictures_NCHW)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = network(pictures_NCHW)
        graph.replay()
    assert torch.allclose(captured, expected, atol=1e-3)


@pytest.fixture
def nccl(gpu, tmp_path):
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield gpu
    dist.destroy_process_group()


def test_gradients_are_reduced_by_nccl(nccl):
    network, pictures_NCHW, targets_NK = network_and_pictures("resnet50", nccl)
    losses = train(DistributedDataParallel(network), pictures_NCHW, targets_NK, torch.bfloat16)
    total = torch.ones(3, device=nccl)
    dist.all_reduce(total)
    assert losses[-1] < losses[0] and total.tolist() == [1, 1, 1]


def test_a_process_that_used_the_gpu_ends_well(gpu):
    """Libraries that were stood in for are taken down with the others."""
    code = """
import torch, timm
network = timm.create_model("resnet18", num_classes=1).cuda()
with torch.autocast("cuda", torch.bfloat16):
    network(torch.rand(2, 3, 64, 64, device="cuda")).sum().backward()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


@pytest.mark.parametrize(
    ("work", "title"),
    [
        (lambda gpu: torch.fft.fft(torch.rand(8, device=gpu)), "cuFFT"),
        (lambda gpu: torch.eye(8, device=gpu).to_sparse() @ torch.rand(8, 8, device=gpu), "cuSPARSE"),
    ],
    ids=["cuFFT", "cuSPARSE"],
)
def test_what_the_image_leaves_out_says_so(gpu, work, title):
    library = Path(torch.__file__).parent / "lib" / {"cuFFT": "libcufft.so.11", "cuSPARSE": "libcusparse.so.12"}[title]
    if not library.exists():
        pytest.skip("this is not the image: its libraries are whole")
    with pytest.raises(RuntimeError, match=f"leaves {title} out"):
        work(gpu)
