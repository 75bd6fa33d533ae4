"""Frozen features: a pretrained network's features, computed once, and scikit-learn's logistic regression a fold.

The plain way to a first number. `--epochs` means nothing here.
"""

from __future__ import annotations

# First, since its clock counts the import of the others.
from job import Job, Phases, read_job, run  # isort: skip

from collections.abc import Callable

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform, resolve_data_config
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

NUM_WORKERS = 2


class Pictures(Dataset[Tensor]):
    def __init__(self, paths: list[str], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


class Frozen:
    def __init__(self, job: Job) -> None:
        self.job, self.table = job, job.table()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def cross_validate(self, phases: Phases) -> NDArray[np.float64]:
        target_S = self.table["target"].to_numpy()
        prob_S = np.full(len(self.table), np.nan)
        with phases("features", len(self.table)):
            features_SD = self.features()
        with phases("heads"):
            for _, training_S, valid_S in self.job.splits():
                model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000))
                model.fit(features_SD[training_S], target_S[training_S])
                prob_S[valid_S] = model.predict_proba(features_SD[valid_S])[:, 1]
        return prob_S

    @torch.inference_mode()
    def features(self) -> NDArray[np.float32]:
        job = self.job
        network = timm.create_model(job.model, num_classes=0, **job.timm_args()).to(self.device).eval()
        if job.bf16:
            network = network.to(memory_format=torch.channels_last)
        config = resolve_data_config({"input_size": (3, job.image_size, job.image_size)}, model=network)
        transform = create_transform(**config)
        loader = DataLoader(Pictures(self.table["path"].tolist(), transform), job.batch_size, num_workers=NUM_WORKERS)
        features = []
        for images in loader:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=job.bf16):
                features.append(network(images.to(self.device)).float().cpu())
        return torch.cat(features).numpy()

    def measurements(self) -> dict[str, Callable[[], float]]:
        raise SystemExit("frozen.py trains no network; leave --rounds out")


if __name__ == "__main__":
    told, arguments = read_job(__doc__)
    run(Frozen(told), told, arguments)
