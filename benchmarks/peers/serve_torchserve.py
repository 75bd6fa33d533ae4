"""TorchServe: a worker a core with one thread each, batches that wait 5 ms. Needs Java.

Started by itself it packs itself as the handler of an archive, and becomes TorchServe; the archive of a few kilobytes
is made in a moment, since the weights are read from where they lie.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

CORES, BATCH = int(os.environ["BENCH_CORES"]), int(os.environ["BENCH_BATCH"])


class Handler:
    """What TorchServe calls."""

    def initialize(self, context: object) -> None:  # noqa: ARG002  as it is called
        import torch
        from serve_model import load_model

        torch.set_num_threads(1)
        self.model = load_model()

    def handle(self, requests: list[dict[str, bytes]], context: object) -> list[dict[str, float]]:  # noqa: ARG002
        from serve_model import predict, read

        images = [read(bytes(request.get("body") or request["data"])) for request in requests]
        return [{"probability": probability} for probability in predict(self.model, images)]


def main(port: int, folder: Path) -> None:
    from model_archiver.model_packaging import generate_model_archive

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = {"minWorkers": CORES, "maxWorkers": CORES, "batchSize": BATCH, "maxBatchDelay": 5}
    (folder / "model-config.yaml").write_text("\n".join(f"{name}: {value}" for name, value in settings.items()))
    sys.argv = [
        "torch-model-archiver", "--model-name", "classifier", "--version", "1.0", "--handler", __file__,
        "--config-file", str(folder / "model-config.yaml"), "--export-path", str(folder),
    ]  # fmt: skip
    generate_model_archive()
    http, grpc = (("management", "metrics"), ("inference", "management"))
    ports = iter(free_ports(4))
    lines = [f"inference_address=http://127.0.0.1:{port}"]
    lines += [f"{name}_address=http://127.0.0.1:{next(ports)}" for name in http]
    lines += [f"grpc_{name}_port={next(ports)}" for name in grpc]
    (folder / "config.properties").write_text("\n".join(lines))
    os.environ |= {"TMPDIR": str(folder), "TEMP": str(folder), "LOG_LOCATION": str(folder / "logs")}
    os.environ["METRICS_LOCATION"] = str(folder / "logs")
    os.chdir(folder)
    torchserve = Path(sys.executable).with_name("torchserve")
    options = ["--foreground", "--ncs", "--disable-token-auth", "--ts-config", "config.properties"]
    os.execv(torchserve, [str(torchserve), "--start", *options, "--model-store", ".", "--models", "classifier.mar"])


def free_ports(number: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(os.environ["BENCH_SCRATCH"]) / "torchserve")
