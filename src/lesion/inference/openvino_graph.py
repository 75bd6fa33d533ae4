"""OpenVINO graph: reads an artifact's graph, checks it against what the manifest says, and compiles it for the CPU.

Knows no algorithm: what inputs and outputs are called, and what they mean, is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lesion.engine.openvino import import_openvino
from lesion.stored_files import unusable

if TYPE_CHECKING:
    import openvino

GraphPrecision = Literal["fp32", "bf16"]
Ports = Mapping[str, tuple[str, Sequence[int]]]  # element type and shape of each input and output, by its name

MAX_GRAPH_BYTES = 2**29  # far beyond what is written: a line for each step of the computation
HINT: dict[GraphPrecision, str] = {"fp32": "f32", "bf16": "bf16"}


@cache
def core() -> openvino.Core:
    """OpenVINO's core, one per process, never unloaded.

    Its CPU plugin gives the thread that loads it a stack for signals. Were it unloaded by another thread, that stack
    would be gone and in use: the next signal, as SIGTERM, would crash the process.
    """
    return import_openvino().Core()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_ports(graph: openvino.Model, wanted: Ports, where: Path) -> None:
    """Raises UserError unless the graph has exactly these inputs and outputs, and no weight that is NaN."""
    openvino = import_openvino()
    ports = [*graph.inputs, *graph.outputs]
    for name, (kind, shape) in wanted.items():
        port = next((port for port in ports if name in port.names), None)
        if port is None:
            raise unusable(f"the graph has no {name}, which the manifest lists", where)
        found = (port.element_type.to_string(), port.partial_shape.to_string())
        if found != (kind, openvino.PartialShape(shape).to_string()):
            raise unusable(f"the graph's {name} is {found[0]} {found[1]}, but {kind} {list(shape)} is needed", where)
    if len(ports) != len(wanted):
        raise unusable(f"the graph has {len(ports)} inputs and outputs, but the manifest lists {len(wanted)}", where)
    for operation in graph.get_ops():
        # A lone NaN may be swallowed: OpenVINO's ReLU makes 0 of it. Infinity is what masks are made of.
        is_weight = operation.get_type_name() == "Constant" and operation.get_element_type().is_real()
        if is_weight and np.isnan(np.min(operation.data, initial=0)):
            raise unusable(f"the graph's weights hold NaN, in {operation.get_friendly_name()[:80]}", where)


def compile_for_cpu(
    model: openvino.Model, *, precision: GraphPrecision, num_streams: int, num_cores: int
) -> openvino.CompiledModel:
    """The graph compiled for the CPU: `num_streams` requests may run side by side on `num_cores` cores."""
    settings = {
        "INFERENCE_PRECISION_HINT": HINT[precision],
        "NUM_STREAMS": str(num_streams),
        "INFERENCE_NUM_THREADS": num_cores,
        "ENABLE_CPU_PINNING": False,  # the cores are shared with those that decode, and with other containers
    }
    return core().compile_model(model, "CPU", settings)
