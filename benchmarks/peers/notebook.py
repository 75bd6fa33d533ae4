"""The usual competition notebook: albumentations over OpenCV, a Dataset, a DataLoader with two workers, Adam, and the
learning rate falling where the AUC stands still. The network is kept at its best epoch.
"""

from __future__ import annotations

# First, since its clock counts the import of the others.
from job import NUM_WARM, Indices, Job, OnBatch, Phases, rate_of_pass, rate_of_steps, read_job, run  # isort: skip

import itertools
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import timm
import torch
from albumentations.pytorch import ToTensorV2
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

NUM_WORKERS = 2


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, rows: pd.DataFrame, transform: A.Compose) -> None:
        self.paths, self.targets, self.transform = rows["path"].tolist(), rows["target"].tolist(), transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(self.paths[index]), cv2.COLOR_BGR2RGB)
        return self.transform(image=image)["image"], torch.tensor([self.targets[index]], dtype=torch.float32)


class Notebook:
    def __init__(self, job: Job) -> None:
        if job.bf16:
            raise SystemExit("notebook.py trains in fp32; leave --bf16 out")
        self.job, self.table = job, job.table()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(job.seed)

    def cross_validate(self, phases: Phases) -> NDArray[np.float64]:
        job = self.job
        prob_S = np.full(len(self.table), np.nan)
        for fold, training_S, valid_S in job.splits():
            with phases("start"):
                network, optimizer = self.network()
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.4, patience=1)
                training, held = self.training_loader(training_S), self.held_loader(valid_S)
            best_auc = -1.0
            for epoch in range(job.epochs):
                with phases("training", len(training_S)):
                    network.train()
                    for images, targets in training:
                        self.step(network, optimizer, images, targets)
                with phases("validation", len(valid_S)):
                    held_prob_S = self.predict(network, held)
                    auc = roc_auc_score(self.table["target"].to_numpy()[valid_S], held_prob_S)
                scheduler.step(auc)
                print(f"fold={fold} epoch={epoch} roc_auc={auc:.4f}")
                if auc > best_auc:
                    best_auc, prob_S[valid_S] = auc, held_prob_S
                    torch.save(network.state_dict(), job.csv.parent / f"notebook_fold_{fold}.pth")
        return prob_S

    def step(self, network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(images.to(self.device)), targets.to(self.device))
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def predict(self, network: nn.Module, loader: DataLoader[Any]) -> NDArray[np.float64]:
        network.eval()
        probs = [network(images.to(self.device)).sigmoid()[:, 0].cpu() for images, _ in loader]
        return torch.cat(probs).double().numpy()

    def network(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        network = timm.create_model(self.job.model, num_classes=1, **self.job.timm_args()).to(self.device)
        return network, torch.optim.Adam(network.parameters(), lr=self.job.learning_rate)

    def training_loader(self, rows_S: Indices) -> DataLoader[Any]:
        side = self.job.image_size
        transform = A.Compose(
            [
                A.Resize(side, side),
                A.Transpose(p=0.5),
                A.VerticalFlip(p=0.5),
                A.HorizontalFlip(p=0.5),
                A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.7),
                A.ShiftScaleRotate(shift_limit=0.1, scale_limit=0.1, rotate_limit=15, p=0.7),
                A.Normalize(self.job.mean, self.job.std),
                ToTensorV2(),
            ]
        )
        pictures = Pictures(self.table.iloc[rows_S], transform)
        # A last batch of one picture has no deviation for BatchNorm.
        drop_last = len(pictures) % self.job.batch_size == 1
        return DataLoader(
            pictures,
            self.job.batch_size,
            shuffle=True,
            num_workers=NUM_WORKERS,
            pin_memory=self.device.type == "cuda",
            drop_last=drop_last,
        )

    def held_loader(self, rows_S: Indices) -> DataLoader[Any]:
        side = self.job.image_size
        transform = A.Compose([A.Resize(side, side), A.Normalize(self.job.mean, self.job.std), ToTensorV2()])
        return DataLoader(Pictures(self.table.iloc[rows_S], transform), self.job.batch_size, num_workers=NUM_WORKERS)

    def measurements(self) -> dict[str, Callable[[], float]]:
        network, optimizer = self.network()
        network.train()
        loader = self.training_loader(np.arange(len(self.table)))

        def read(on_batch: OnBatch) -> None:
            on_batch(0)
            for images, _ in loader:
                on_batch(len(images))

        def train(on_batch: OnBatch) -> None:
            for images, targets in itertools.islice(loader, NUM_WARM + self.job.num_timed):
                self.step(network, optimizer, images, targets)
                on_batch(len(images))

        return {"pipeline": lambda: rate_of_pass(read), "real": lambda: rate_of_steps(train, self.job.num_timed)}


if __name__ == "__main__":
    told, arguments = read_job(__doc__)
    run(Notebook(told), told, arguments)
