"""Algorithm: the classifier's entry in the registry. Imports what a command needs when that command is given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from lesion.algorithms.base import Device, PrecisionChoice
from lesion.algorithms.classify import recipes
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.errors import UserError

if TYPE_CHECKING:
    from lesion.algorithms.classify.config import ClassifyConfig
    from lesion.algorithms.classify.explanation.explainer import ClassifierExplainer
    from lesion.algorithms.classify.prediction.predictor import Ensemble
    from lesion.algorithms.classify.reference import ClassifierReference
    from lesion.check.report import Report
    from lesion.job import Job


class Classify:
    """Image classification with cross-validation: binary, multiclass or multilabel."""

    name = "classify"
    metric_lines = METRIC_LINES
    objective = "validation:roc_auc"
    out_of_memory = "lower batch_size_train or image_size, or choose a larger instance"

    @property
    def config(self) -> type[ClassifyConfig]:
        from lesion.algorithms.classify.config import ClassifyConfig  # here: pydantic takes longer than the recipes

        return ClassifyConfig

    def check(
        self,
        config: ClassifyConfig,
        channels: Mapping[str, Path],
        *,
        output: Path,
        num_workers: int,
        show_progress: bool,
    ) -> Report:
        from lesion.algorithms.classify.task import questions
        from lesion.check.run import check_channels
        from lesion.models.starting_weights import check_backbone

        asked = questions(config, check_settings=partial(check_backbone, config, channels.get("pretrained")))
        return check_channels(asked, channels, output=output, num_workers=num_workers, show_progress=show_progress)

    def processes_on_cpu(self, config: ClassifyConfig, *, num_cores: int, memory_bytes: int) -> int:
        from lesion.algorithms.classify.training.memory import processes_on_cpu

        return processes_on_cpu(config, num_cores=num_cores, memory_bytes=memory_bytes)

    def train(self, job: Job, config: ClassifyConfig) -> None:
        from lesion.algorithms.classify.train import train

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
    ) -> Ensemble:
        from lesion.algorithms.classify.prediction.load import load_predictor

        return load_predictor(
            model_dir,
            device=device,
            num_cores=num_cores,
            fold=fold,
            precision=precision,
            operating_point=operating_point,
        )

    def describe(self, what: Literal["recipes"]) -> str:
        return {"recipes": recipes.describe}[what]()

    def export_onnx(self, model_dir: Path, output: Path, *, fold: int | None) -> None:
        from lesion.algorithms.classify.prediction.export import export_onnx

        export_onnx(model_dir, output, fold=fold)

    def evaluate(
        self,
        model_dir: Path,
        source_path: Path,
        *,
        output: Path,
        source: str,
        settings: Mapping[str, str],
        device: Device,
        num_cores: int,
        precision: PrecisionChoice,
        operating_point: str | None,
        show_progress: bool,
    ) -> str:
        from lesion.algorithms.classify.external.evaluate import evaluate_set

        predictor = self.load(
            model_dir,
            device=device,
            num_cores=num_cores,
            fold=None,
            precision=precision,
            operating_point=operating_point,
        )
        return evaluate_set(
            source_path,
            predictor,
            output=output,
            source=source,
            settings=settings,
            num_cores=num_cores,
            show_progress=show_progress,
        )

    def load_reference(self, model_dir: Path, *, operating_point: str | None) -> ClassifierReference:
        from lesion.algorithms.classify.reference import load_reference

        return load_reference(model_dir, operating_point=operating_point)

    def map_writer(self, predictor: Any, folder: Path, table: Any) -> NoReturn:  # noqa: ARG002
        raise UserError(
            "the answers of a classifier have no maps",
            where="--maps",
            do="Leave it out, or say where a prediction lies with `lesion explain`.",
        )

    def load_explainer(
        self,
        model_dir: Path,
        *,
        device: Device,
        num_cores: int,
        fold: int | None,
        class_name: str | None,
        method: str | None,
    ) -> ClassifierExplainer:
        from lesion.algorithms.classify.explanation.explainer import load_explainer

        return load_explainer(
            model_dir, device=device, num_cores=num_cores, fold=fold, class_name=class_name, method=method
        )


CLASSIFY = Classify()
