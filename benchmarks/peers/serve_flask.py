"""The usual bring-your-own-container server: gunicorn's sync workers, one a core, each with its own torch model."""

from __future__ import annotations

import sys

import torch
from flask import Flask, jsonify, request
from gunicorn.app.base import BaseApplication
from serve_model import CORES, load_model, predict, read


def make_app() -> Flask:
    torch.set_num_threads(1)  # a worker a core: more threads would fight
    app, model = Flask(__name__), load_model()

    @app.get("/ping")
    def ping() -> tuple[str, int]:
        return "", 200

    @app.post("/invocations")
    def invocations() -> object:
        return jsonify(probability=predict(model, [read(request.get_data())])[0])

    return app


class Server(BaseApplication):
    def load_config(self) -> None:
        settings = {"bind": f"127.0.0.1:{sys.argv[1]}", "workers": CORES, "timeout": 120, "loglevel": "warning"}
        for name, value in {**settings, "control_socket_disable": True}.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return make_app()


if __name__ == "__main__":
    Server().run()
