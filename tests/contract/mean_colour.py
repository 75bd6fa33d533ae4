"""Mean colour: a toy algorithm. What the rest of Lesion owes to an algorithm is seen on one that is not the classifier.

Logistic regression on an image's mean colour, by gradient descent. Importing this module adds it to the registry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lesion.algorithms.base import Answer, Options, Output
from lesion.algorithms.registry import ALGORITHMS
from lesion.artifact import MANIFEST, Manifest, load_manifest, package_versions, read_tensors, save
from lesion.check.finding import Finding
from lesion.check.report import Report
from lesion.config import tunable
from lesion.data.channels import columns_of, open_channels
from lesion.data.labels.encode import read_labels
from lesion.data.table import Columns
from lesion.data.transforms import Preprocess
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.optim import Schedule
from lesion.engine.run import open_run
from lesion.engine.training import EarlyStopping, Training
from lesion.errors import UserError
from lesion.metric_lines import MetricLine, by_name
from lesion.settings import InputSettings, JobSettings, MachineSettings

FILE = "colour.safetensors"


class Config(InputSettings, MachineSettings, JobSettings):
    algorithm: Literal["mean_colour"] = tunable("mean_colour", doc="Algorithm: mean colour.")
    recipe: Literal["none"] = tunable("none", doc="Recipe: there is none.")
    steps: int = tunable(2, ge=1, doc="Steps of gradient descent.")

    def columns(self) -> Columns:
        return replace(columns_of(self), are_targets_needed=True)


class MeanColour:
    name, config, out_of_memory = "mean_colour", Config, "choose a larger instance"
    metric_lines = by_name([MetricLine("train:loss", "lower")])
    objective = None

    def check(self, config: Config, channels: Any, *, output: Any, **_: Any) -> Report:
        report = Report("Lesion: check of mean colours")
        report.findings += map(Finding.of_error, open_channels(channels, config.columns()).problems)
        report.write(output, lambda row: np.zeros((8, 8, 3), np.uint8))
        return report

    def train(self, job: Any, config: Config) -> None:
        with open_run(job, config, Preprocess(32, (0.5,) * 3, (0.5,) * 3), writes=[job.model_dir / MANIFEST]) as run:
            source, _ = open_channels(job.channels, config.columns(), source=config.source).whole()
            table = source.table()
            targets_S1 = torch.from_numpy(read_labels(table).encode(table))
            colours_S3 = torch.stack([torch.from_numpy(colour(source.read(row))) for row in range(len(table))])
            network = torch.nn.Linear(3, 1)
            torch.nn.init.zeros_(network.weight), torch.nn.init.zeros_(network.bias)
            optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
            options = {"num_epochs": 1, "warmup_epochs": 0, "better": "lower", "factor": 0.5, "patience": 1}
            schedule = Schedule(optimizer, kind="plateau", **options)
            training = Training(network, optimizer, schedule, EarlyStopping("lower", 1))
            fingerprint = {**config.that_affect("weights"), "data": table.fingerprint()}
            with run.checkpoints(fingerprint, DataParallelGroup()) as checkpoints, run.step("training", remedy="wait"):
                if state := checkpoints.load("colour"):
                    training.restore(state)
                while training.num_updates < config.steps:
                    optimizer.zero_grad()
                    binary_cross_entropy_with_logits(network(colours_S3), targets_S1).backward()
                    optimizer.step()
                    training.after_step()
                    checkpoints.after_step("colour", training.state)
            settings, data = config.as_json(), table.fingerprint()
            made = {"algorithm": self.name, "packages": package_versions(), "config": settings}
            manifest = Manifest(files={}, data_fingerprint=data, metrics={}, payload={}, **made)
            save(job.model_dir, manifest, {FILE: network.state_dict()})
            checkpoints.clear()

    def load(self, model_dir: Any, **_: Any) -> Predictor:
        manifest = load_manifest(model_dir)
        return Predictor(manifest, read_tensors(model_dir, manifest, FILE))

    def processes_on_cpu(self, config: Any, *, num_cores: int, memory_bytes: int) -> int:
        return 1

    def describe(self, what: str) -> str:
        return ""

    def export_onnx(self, *_: Any, **__: Any) -> None:
        raise UserError("this algorithm has no ONNX graph", do="Predict with `lesion predict` or the server.")

    def evaluate(self, *_: Any, **__: Any) -> Any:
        raise UserError("this algorithm judges no labelled sets", do="Predict with `lesion predict`.")

    def load_reference(self, *_: Any, **__: Any) -> Any:
        raise UserError("this algorithm keeps nothing to compare with", do="Predict with `lesion predict`.")

    def load_explainer(self, *_: Any, **__: Any) -> Any:
        raise UserError("this algorithm has no explanations", do="Predict with `lesion predict`.")


class Predictor:
    backend, max_batch, num_cells, column_names, image_column = "numpy", 4, 2, ["probability", "label"], "image_name"
    metadata_columns, metadata_words, dicom_frames, decode_px = (), {}, "first", None

    def __init__(self, manifest: Manifest, weights: Any) -> None:
        self.manifest, self.executors = manifest, [self.compute]
        self.weight_13, self.bias_1 = weights["weight"].numpy(), weights["bias"].numpy()

    def prepare(self, image: Any, row: Any, options: Options = Options()) -> Any:
        return colour(image)

    def compute(self, batch: Any) -> list[Output]:
        return [Output((self.weight_13 @ colour_3 + self.bias_1)[None, None]) for colour_3 in batch]

    def answer(self, output: Output, options: Options) -> Answer:
        prob = float(f"{1 / (1 + np.exp(-float(output.logits_FVK.item()))):.9g}")
        fields = {"probability": prob, "label": "yes" if prob >= 0.5 else "no"}
        return Answer(fields, {"prediction": [prob]}, [*fields.values()], fields, prob)

    def describe(self) -> dict[str, Any]:
        return {"question": "how dark is it"}


def colour(image_HWC: Any) -> Any:
    """The mean colour [3] of an image, in 0 to 1."""
    return (image_HWC.mean(axis=(0, 1)) / 255).astype(np.float32)


MEAN_COLOUR = MeanColour()
ALGORITHMS.setdefault("mean_colour", "mean_colour:MEAN_COLOUR")
