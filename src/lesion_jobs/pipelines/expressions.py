"""Expressions: values of a pipeline that are known only while it runs, as its JSON writes them, and what they come to.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

EXECUTION_ID = "Execution.PipelineExecutionId"
GET, JOIN, JSON_GET = "Get", "Std:Join", "Std:JsonGet"

# The makers return Any: an expression stands where a request has a text.


def get(path: str) -> Any:
    """A parameter, a property of an earlier step or of the execution: `Steps.Train.ModelArtifacts.S3ModelArtifacts`."""
    return {GET: path}


def output_of(step: str, output: str) -> Any:
    """Where an earlier processing step left what it calls `output`."""
    return get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def join(on: str, *values: Any) -> Any:
    """The values as one text, with `on` between them."""
    return {JOIN: {"On": on, "Values": list(values)}}


def json_get(step: str, file: str, path: str) -> Any:
    """A field of a property file that an earlier step wrote."""
    return {JSON_GET: {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{file}"), "Path": path}}


def resolve(value: Any, look_up: Callable[[str], Any]) -> Any:
    """`value` with each expression in it, at any depth, replaced by what `look_up` says of its path."""
    match value:
        case {"Get": path}:
            return look_up(path)
        case {"Std:Join": {"On": on, "Values": values}}:
            return on.join(str(resolve(one, look_up)) for one in values)
        case {"Std:JsonGet": {"PropertyFile": {"Get": file}, "Path": path}}:
            return look_up(f"{file}.{path}")
        case Mapping():
            return {name: resolve(one, look_up) for name, one in value.items()}
        case list():
            return [resolve(one, look_up) for one in value]
    return value


def find(path: str, scope: Mapping[str, Any]) -> Any:
    """What a path leads to in nested mappings; outputs in a list go by their names. Raises KeyError for nothing."""
    found: Any = scope
    for word in re.findall(r"[^.\[\]']+", path):
        found = {item["OutputName"]: item for item in found} if isinstance(found, list) else found
        found = found[word]
    return found
