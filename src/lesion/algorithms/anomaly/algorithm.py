"""Algorithm: anomaly detection's entry in the registry. Imports what a command needs when that command is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.metric_lines import METRIC_LINES
from lesion.algorithms.base import Device, PrecisionChoice
from lesion.errors import UserError

if TYPE_CHECKING:
    from lesion.algorithms.anomaly.explainer import AnomalyExplainer
    from lesion.algorithms.anomaly.map_files.write import MapFiles
    from lesion.algorithms.anomaly.predictor import AnomalyPredictor
    from lesion.check.report import Report
    from lesion.data.table import SampleTable
    from lesion.job import Job


class Anomaly:
    """Anomaly detection: learns from normal images alone, and flags what does not look like them, place by place."""

    name = "anomaly"
    config = AnomalyConfig
    metric_lines = METRIC_LINES
    objective = None  # without anomalous images there is no AUC, and operating_point has set the false-positive rate
    out_of_memory = (
        "lower batch_size_predict, image_size or memory_patches, raise filter_divisor, or choose a larger instance"
    )

    def check(
        self,
        config: AnomalyConfig,
        channels: Mapping[str, Path],
        *,
        output: Path,
        num_workers: int,
        show_progress: bool,
    ) -> Report:
        from lesion.algorithms.anomaly.learner import learner_of
        from lesion.algorithms.anomaly.task import questions
        from lesion.check.run import check_channels
        from lesion.models.starting_weights import without_download

        channel = channels.get("pretrained")
        learner = learner_of(without_download(config, channel), channel)
        asked = questions(config, channels, check_settings=learner.remarks)
        return check_channels(asked, channels, output=output, num_workers=num_workers, show_progress=show_progress)

    def processes_on_cpu(self, config: AnomalyConfig, *, num_cores: int, memory_bytes: int) -> int:  # noqa: ARG002
        return 1  # features of one image after another already take all cores

    def train(self, job: Job, config: AnomalyConfig) -> None:
        from lesion.algorithms.anomaly.train import train

        train(job, config)

    def load(
        self,
        model_dir: Path,
        *,
        device: Device,
        num_cores: int,
        fold: int | None,
        precision: PrecisionChoice,
        operating_point: str | None,
    ) -> AnomalyPredictor:
        from lesion.algorithms.anomaly.load import load_predictor

        return load_predictor(
            model_dir,
            device=device,
            num_cores=num_cores,
            fold=fold,
            precision=precision,
            operating_point=operating_point,
        )

    def describe(self, what: Literal["recipes"]) -> str:  # noqa: ARG002
        return "This algorithm has no recipes: the defaults are the one that was measured (docs/anomaly.md)."

    def export_onnx(self, model_dir: Path, output: Path, *, fold: int | None) -> NoReturn:  # noqa: ARG002
        raise UserError(
            "anomaly detection has no ONNX model", where=model_dir, do="Use the artifact's OpenVINO graph, graph.xml."
        )

    def evaluate(self, model_dir: Path, *_: Any, **__: Any) -> NoReturn:
        raise UserError(
            "anomaly detection judges no further labelled sets",
            where=model_dir,
            do="Give the set as the test channel of the training job, or predict it with `lesion predict`.",
        )

    def load_reference(self, model_dir: Path, *, operating_point: str | None) -> NoReturn:  # noqa: ARG002
        raise UserError(
            "anomaly detection keeps nothing that served images could be compared with: it learned from normal ones",
            where=model_dir,
            do="Watch the share of anomalous answers in the audit lines instead.",
        )

    def map_writer(self, predictor: AnomalyPredictor, folder: Path, table: SampleTable) -> MapFiles:
        from lesion.algorithms.anomaly.map_files.write import MapFiles

        return MapFiles(predictor, folder, table)

    def load_explainer(
        self,
        model_dir: Path,
        *,
        device: Device,
        num_cores: int,
        fold: int | None,
        class_name: str | None,
        method: str | None,
    ) -> AnomalyExplainer:
        from lesion.algorithms.anomaly.explainer import AnomalyExplainer

        predictor = self.load(
            model_dir, device=device, num_cores=num_cores, fold=fold, precision="auto", operating_point=None
        )
        return AnomalyExplainer(predictor, class_name=class_name, method=method)


ANOMALY = Anomaly()
