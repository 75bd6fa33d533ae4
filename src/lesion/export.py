"""Export: networks to a graph that computes without torch and without this code: OpenVINO's for a CPU, or ONNX.

Of OpenVINO's converter only the parts that read a traced network are called: its `convert_model` reports its use to its
makers over the network.
"""

# N batch · F folds · H, W pixels · K outputs · M metadata features

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lesion.engine.openvino import import_openvino
from lesion.errors import UserError
from lesion.files import temporary_folder, write_atomic, writing
from lesion.models.fusion import FusionNet
from lesion.models.places import with_place_logits


class Square(nn.Module):
    """A network whose input is uint8 RGB [N, H, W, 3], as images lie in memory."""

    def __init__(self, network: FusionNet, *, has_places: bool = False) -> None:
        super().__init__()
        self.network, self._has_places = network, has_places

    def forward(self, images_NHWC: Tensor, metadata_NM: Tensor) -> tuple[Tensor, ...]:
        """Logits [N, K] and features [N, D]; if it `has_places`, also the logits of each [N, K, h, w]."""
        outputs = with_place_logits if self._has_places else FusionNet.outputs
        return outputs(self.network, images_NHWC.permute(0, 3, 1, 2), metadata_NM)


def to_openvino(
    networks: Mapping[int, FusionNet], nums_metadata: Mapping[int, int], image_size: int, *, has_places: bool = False
) -> tuple[bytes, bytes]:
    """The folds' networks as one graph of OpenVINO: its XML and its weights, float32.

    Inputs `image`, uint8 [1, H, W, 3] in RGB, shared by all, and `metadata_F`, float32 [1, M], for each fold with
    metadata; outputs `logits_F`, float32 [1, K], `features_F`, float32 [1, D], and with `has_places` `places_F`,
    float32 [1, K, h, w], the logits of each place. The networks must be on the CPU in eval mode. Raises the
    converter's exceptions.
    """
    openvino = import_openvino()
    from openvino import opset13

    image = opset13.parameter([1, image_size, image_size, 3], openvino.Type.u8, name="image")
    image.output(0).set_names({"image"})
    parameters, results = [image], []
    traces: dict[int, torch.jit.ScriptModule] = {}  # by number of metadata features: networks of folds are alike
    for fold, network in networks.items():
        square, num_metadata = Square(network, has_places=has_places).eval(), nums_metadata[fold]
        example = (torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8), torch.zeros(1, num_metadata))
        if num_metadata in traces:  # to trace costs most of the conversion: only the weights are other ones
            traces[num_metadata] = copy.deepcopy(traces[num_metadata])  # the converted graph keeps the tensors
            give_weights(square, traces[num_metadata])
        else:
            traces[num_metadata] = trace(square, example)
        model = graph_of_trace(traces[num_metadata], example)
        pictures, *rest = model.get_parameters()
        metadata = rest[0] if num_metadata else None
        logits, features, *places = model.get_results()
        pictures.output(0).replace(image.output(0))
        if metadata is not None:
            metadata.set_friendly_name(f"metadata_{fold}")
            metadata.output(0).set_names({f"metadata_{fold}"})
            parameters.append(metadata)
        logits.set_friendly_name(f"fold_{fold}")
        logits.input_value(0).get_tensor().set_names({f"logits_{fold}"})
        features.set_friendly_name(f"features_{fold}")
        features.input_value(0).get_tensor().set_names({f"features_{fold}"})
        for output in places:
            output.set_friendly_name(f"places_{fold}")
            output.input_value(0).get_tensor().set_names({f"places_{fold}"})
        results += [logits, features, *places]
    return graph_bytes(openvino.Model(results, parameters, "lesion"))


def traced_graph(module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """A module as a graph of OpenVINO, float32: what it does to the `example`, whose types and shapes its inputs have.

    The module must be on the CPU. Raises the tracer's and the converter's exceptions.
    """
    return graph_of_trace(trace(module.eval(), example), example)


def trace(module: nn.Module, example: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """What a module in eval mode does to the `example`. The trace and the module share their weights."""
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's warnings are for the network's author
        traced: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        return traced


@torch.no_grad()
def give_weights(module: nn.Module, traced: torch.jit.ScriptModule) -> None:
    """Copies a module's parameters and buffers to the trace of a module of the same kind."""
    given = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, tensor in (*traced.named_parameters(), *traced.named_buffers()):
        tensor.copy_(given[name])


def graph_of_trace(traced: torch.jit.ScriptModule, example: tuple[Tensor, ...]) -> Any:
    """A trace, with the weights that it has now, as a graph of OpenVINO."""
    openvino = import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(False), torch.no_grad():
        frozen = torch.jit.freeze(traced)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(frozen)  # kept until its graph is converted
    model = frontend.convert(frontend.load(decoder))
    kinds = {torch.uint8: openvino.Type.u8, torch.float32: openvino.Type.f32}
    for parameter, tensor in zip(model.get_parameters(), example, strict=False):  # without those that are not used
        parameter.set_element_type(kinds[tensor.dtype])
        parameter.set_partial_shape(openvino.PartialShape(list(tensor.shape)))
    model.validate_nodes_and_infer_types()
    return model


def graph_bytes(model: Any) -> tuple[bytes, bytes]:
    """A graph of OpenVINO as its XML and its weights, float32."""
    openvino = import_openvino()
    with temporary_folder() as folder:
        path = folder / "graph.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class Probabilities(nn.Module):
    """Several folds' networks as one: pictures, and the metadata of each fold that takes some, to probabilities.

    `combine` makes them of logits [N, F, V, K], as for every other answer; of the views there is the picture itself.
    """

    def __init__(
        self, networks: Mapping[int, FusionNet], nums_metadata: Mapping[int, int], combine: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(map(Square, networks.values()))
        self._takes_metadata = [nums_metadata[fold] > 0 for fold in networks]
        self._combine = combine

    def forward(self, images_NHWC: Tensor, *metadata: Tensor) -> Tensor:
        """Probabilities [N, K]."""
        given = iter(metadata)
        none_N0 = images_NHWC.new_zeros((len(images_NHWC), 0), dtype=torch.float32)
        logits_FNK = [
            network(images_NHWC, next(given) if takes else none_N0)[0]
            for network, takes in zip(self.networks, self._takes_metadata, strict=True)
        ]
        return self._combine(torch.stack(logits_FNK, dim=1).unsqueeze(2))


def to_onnx(
    networks: Mapping[int, FusionNet],
    nums_metadata: Mapping[int, int],
    image_size: int,
    path: Path,
    *,
    combine: Callable[[Tensor], Tensor],
) -> None:
    """Writes the folds' networks as one ONNX model: `image`, uint8 [N, H, W, 3] in RGB, and `metadata_F`, float32
    [N, M], to `probabilities` [N, K], which `combine` makes of logits [N, F, 1, K]. The networks must be on the CPU in
    eval mode.

    Raises UserError where the package `onnx` is missing or the network cannot be written so, PlatformError where the
    disk refuses.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UserError("the package onnx is not installed", do="pip install 'lesion[onnx]', or onnx alone.")
    takes = [fold for fold in networks if nums_metadata[fold]]
    example = (
        torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8),
        *(torch.zeros(2, nums_metadata[fold]) for fold in takes),
    )
    names = ["image", *(f"metadata_{fold}" for fold in takes)]
    try:
        with temporary_folder() as folder, warnings.catch_warnings(), writing(folder):
            warnings.simplefilter("ignore")
            part = folder / "model.onnx"
            torch.onnx.export(
                Probabilities(networks, nums_metadata, combine).eval(),
                example,
                part,
                input_names=names,
                output_names=["probabilities"],
                dynamic_axes={name: {0: "batch"} for name in (*names, "probabilities")},
                dynamo=False,
            )
            content = part.read_bytes()
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"the network cannot be written as ONNX: {str(error).strip().splitlines()[0]}", do="Choose another one."
        ) from error
    write_atomic(path, content)
