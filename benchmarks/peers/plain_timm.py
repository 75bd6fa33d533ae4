"""Plain timm: `create_dataset`, `create_loader` and a loop of one's own, as timm's documentation puts them together.

Each fold's pictures lie in class folders (links), which is what timm reads. The network is kept at its best epoch, as
timm's own training script does. `--bf16` adds what a user who knows the machine would: channels-last and autocast.
"""

from __future__ import annotations

# First, since its clock counts the import of the others.
from job import NUM_WARM, Indices, Job, OnBatch, Phases, rate_of_pass, rate_of_steps, read_job, run  # isort: skip

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from timm.data import create_dataset, create_loader, resolve_data_config
from torch import Tensor, nn

NUM_WORKERS = 2


class PlainTimm:
    def __init__(self, job: Job) -> None:
        self.job, self.table = job, job.table()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(job.seed)

    def cross_validate(self, phases: Phases) -> NDArray[np.float64]:
        job = self.job
        prob_S = np.full(len(self.table), np.nan)
        for fold, training_S, valid_S in job.splits():
            with phases("start"):
                root = self.class_folders(fold, training_S, valid_S)
                network = self.network()
                training, held = self.loader(root, network, "train"), self.loader(root, network, "val")
                optimizer = torch.optim.AdamW(network.parameters(), lr=job.learning_rate, weight_decay=0.05)
                scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job.epochs * max(len(training), 1))
            best_auc = -1.0
            for epoch in range(job.epochs):
                with phases("training", len(training_S)):
                    network.train()
                    for images, targets in training:
                        self.step(network, optimizer, images, targets)
                        scheduler.step()
                with phases("validation", len(valid_S)):
                    held_prob_S = self.predict(network, held)[valid_S]
                    auc = roc_auc_score(self.table["target"].to_numpy()[valid_S], held_prob_S)
                print(f"fold={fold} epoch={epoch} roc_auc={auc:.4f}")
                if auc > best_auc:
                    best_auc, prob_S[valid_S] = auc, held_prob_S
                    torch.save(network.state_dict(), root / "best.pth")
        return prob_S

    def step(self, network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> None:
        with self.autocast():
            logits = network(self.laid_out(images))
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float()[:, 0], targets.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def predict(self, network: nn.Module, loader: Any) -> NDArray[np.float64]:
        """A probability for each row of the table [S] that the loader holds; nothing for the others."""
        network.eval()
        probs = []
        for images, _ in loader:
            with self.autocast():
                probs.append(network(self.laid_out(images)).float().sigmoid()[:, 0].cpu())
        prob_S = np.full(len(self.table), np.nan)
        rows = [int(Path(name).stem.split("_")[0]) for name in loader.dataset.filenames(basename=True)]
        prob_S[rows] = torch.cat(probs).double().numpy()
        return prob_S

    def network(self) -> nn.Module:
        network = timm.create_model(self.job.model, num_classes=1, **self.job.timm_args()).to(self.device)
        return network.to(memory_format=torch.channels_last) if self.job.bf16 else network

    def loader(self, root: Path, network: nn.Module, split: str) -> Any:
        """The loader of a split; pictures come as the network's weights expect them."""
        config = resolve_data_config({}, model=network)
        augmentation = {"scale": (0.6, 1.0), "vflip": 0.5, "color_jitter": 0.15}  # milder than for ImageNet
        dataset = create_dataset("", root=str(root), split=split, is_training=split == "train")
        return create_loader(
            dataset,
            input_size=(3, self.job.image_size, self.job.image_size),
            batch_size=min(self.job.batch_size, len(dataset)),  # in training a part of a batch is dropped
            is_training=split == "train",
            interpolation=config["interpolation"],
            mean=config["mean"],
            std=config["std"],
            num_workers=NUM_WORKERS,
            pin_memory=self.device.type == "cuda",
            device=self.device,
            **(augmentation if split == "train" else {}),
        )

    def class_folders(self, fold: int, training_S: Indices, valid_S: Indices) -> Path:
        """Folders train/0, train/1, val/0 and val/1 of links, each named by its row's number."""
        root = self.job.csv.parent / ("timm_bf16" if self.job.bf16 else "timm") / f"fold_{fold}"
        shutil.rmtree(root, ignore_errors=True)
        for split, rows_S in (("train", training_S), ("val", valid_S)):
            for row in rows_S.tolist():
                path = Path(self.table["path"][row])
                link = root / split / str(self.table["target"][row]) / f"{row:06d}_{path.name}"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        return root

    def laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.job.bf16 else images

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.job.bf16)

    def measurements(self) -> dict[str, Callable[[], float]]:
        every = np.arange(len(self.table))
        network = self.network().train()
        loader = self.loader(self.class_folders(0, every, every[:1]), network, "train")
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.job.learning_rate, weight_decay=0.05)

        def read(on_batch: OnBatch) -> None:
            on_batch(0)
            for images, _ in loader:
                on_batch(len(images))

        def train(on_batch: OnBatch) -> None:
            for images, targets in itertools.islice(loader, NUM_WARM + self.job.num_timed):
                self.step(network, optimizer, images, targets)
                on_batch(len(images))

        for _ in loader:  # the workers start and stay
            pass
        return {"pipeline": lambda: rate_of_pass(read), "real": lambda: rate_of_steps(train, self.job.num_timed)}


if __name__ == "__main__":
    told, arguments = read_job(__doc__)
    run(PlainTimm(told), told, arguments)
