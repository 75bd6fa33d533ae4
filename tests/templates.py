"""Templates: the resources of Lesion's CloudFormation templates, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "src" / "lesion_jobs" / "cloudformation"


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: !Ref X is {"Ref": "X"}, !GetAtt X.Y is {"GetAtt": "X.Y"}."""


def tagged(loader: Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    reads = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    return {tag: reads[type(node)](node)}


Loader.add_multi_constructor("!", tagged)


def resources(name: str) -> Any:
    return yaml.load((FOLDER / name).read_text(), Loader)["Resources"]
