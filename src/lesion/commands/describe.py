"""Describe: what an algorithm can be told, what it takes, and what it reports in the log."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from lesion import console
from lesion.algorithms.registry import DEFAULT

SUMMARY = "Print the hyperparameters, the recipes, the sources of data, or the metrics in the log."
EXAMPLE = "lesion describe hyperparameters"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=["hyperparameters", "recipes", "sources", "metrics"],
        help="hyperparameters, recipes and sources as Markdown, metrics as SageMaker's MetricDefinitions",
    )
    parser.add_argument("--algorithm", default=DEFAULT, help="algorithm to describe (default: %(default)s)")


def run(args: Namespace) -> int:
    from lesion.algorithms.registry import find_algorithm

    algorithm = find_algorithm(args.algorithm, where="--algorithm")
    if args.what == "hyperparameters":
        from lesion.config import describe

        console.say(describe(algorithm.config))
    elif args.what == "recipes":
        console.say(algorithm.describe("recipes"))
    elif args.what == "sources":
        from lesion.data.sources.describe import describe_sources

        console.say(describe_sources())
    else:
        lines = algorithm.metric_lines.values()
        console.say(json.dumps([{"Name": line.name, "Regex": line.regex} for line in lines], indent=2))
    return 0
