"""Quantises a graph of OpenVINO to int8 by NNCF, with activations calibrated on pictures.

Started by int8.py with a Python that has nncf (benchmarks/README.md): GRAPH.xml PIXELS.npy OUT.xml. Pixels are uint8
[N, H, W, 3]. Post-training quantisation with the bias correction of NNCF's defaults, `mixed` for activations that have
a sign: Nagel et al., "A White Paper on Neural Network Quantization", 2021.
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import openvino


def main() -> None:
    graph_path, pixels_path, out_path = sys.argv[1:4]
    core = openvino.Core()
    graph = core.read_model(graph_path)
    pixels_NHWC = np.load(pixels_path)
    ports = {name: port for port in graph.inputs for name in port.names if name.startswith("metadata_")}
    metadata = {name: np.zeros(list(port.shape), np.float32) for name, port in ports.items()}
    calibration = nncf.Dataset(list(pixels_NHWC), lambda square_HWC: {"image": square_HWC[None], **metadata})
    quantised = nncf.quantize(
        graph,
        calibration,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pixels_NHWC),
        fast_bias_correction=True,
    )
    openvino.save_model(quantised, out_path, compress_to_fp16=False)


if __name__ == "__main__":
    main()
