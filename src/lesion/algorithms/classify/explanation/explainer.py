"""Explainer: what explains single pictures by an artifact's networks, in torch where it is installed."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from lesion import artifact
from lesion.algorithms.base import Device, Explanation, Options
from lesion.algorithms.classify.explanation.attribution import MetadataAttribution
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import chosen_folds, load_predictor, load_torch
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.data.decode.images import Pixels
from lesion.data.metadata import Row
from lesion.errors import UserError
from lesion.explain.explained_class import named_class
from lesion.words import nearest

log = logging.getLogger(__name__)

METHODS = ("grad_cam", "hires_cam", "layer_cam", "cam", "occlusion", "integrated_gradients")  # as explain/methods has
WITHOUT_TORCH = ("cam", "occlusion")


class ClassifierExplainer:
    """Explains one class, or of each picture the one that is predicted, by one method."""

    def __init__(self, ensemble: Ensemble, attribution: MetadataAttribution, options: Options) -> None:
        self.predictor, self._attribution, self._options = ensemble, attribution, options
        self.change_names = attribution.names

    def explain(self, image: Pixels, row: Row) -> Explanation:
        """Why a picture (uint8 RGB [H, W, 3], any size) with its metadata got its answer."""
        picture = self.predictor.prepare(image, row, self._options)
        [output] = self.predictor.executors[0]([picture])
        assert output.map is not None and picture.wanted_map is not None
        explained = picture.wanted_map.explained_for(output.logits_FVK)
        changes = self._attribution(picture, explained)
        log_odds = self._attribution.log_odds(output, explained)
        return Explanation(self.predictor.answer(output, self._options), output.map, log_odds, changes)


def load_explainer(
    model_dir: Path, *, device: Device, num_cores: int, fold: int | None, class_name: str | None, method: str | None
) -> ClassifierExplainer:
    """The explainer of an artifact, of all its folds or of one. Raises UserError where the artifact cannot be used, or
    has no such class, or there is no such method here."""
    if method is not None and method not in METHODS:
        near = nearest(method, METHODS)
        do = f"Did you mean {near}?" if near else f"Choose one of {', '.join(METHODS)}."
        raise UserError(f"no method is called '{method[:80]}'", where="--method", do=do)
    manifest = artifact.load_manifest(model_dir)
    model = read(model_dir, manifest)
    if class_name is not None:
        named_class(model.question, class_name, or_else="leave --class out")
    folds = chosen_folds(model, fold, model_dir)
    if importlib.util.find_spec("torch") is None:
        if method is not None and method not in WITHOUT_TORCH:
            do = f"Choose one of {', '.join(WITHOUT_TORCH)}, or use the image that trains."
            raise UserError(f"method {method} needs torch, which is not installed", where="--method", do=do)
        ensemble = load_predictor(model_dir, device=device, num_cores=num_cores, fold=fold)
    else:
        from lesion.engine.device import limit_threads, pick_device

        picked = pick_device(device)
        if picked.type == "cpu":
            limit_threads(num_cores)
        ensemble = load_torch(model_dir, manifest, model, folds, [picked])
    if model.explanation is not None and model.explanation.is_of(method) and model.explanation.warning:
        log.warning("do not read the maps: %s", model.explanation.warning)
    options = Options(map=class_name or "", map_method=method)
    return ClassifierExplainer(ensemble, MetadataAttribution(ensemble, folds), options)
