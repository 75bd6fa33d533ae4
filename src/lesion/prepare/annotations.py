"""Annotations: what a person drew on a slide, read from the file of the program in which it was drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from lesion.data.decode.reading import MIB, file_text, parse_json
from lesion.prepare.annotation_formats import asap, geojson, histomics, imagescope
from lesion.prepare.regions import EXPORT, Annotations, LeftOut, Region, broken
from lesion.words import listed, shortened

MAX_BYTES = 256 * MIB
MAX_POINTS = 5_000_000  # of a file: 1 GB once they are taken apart
SUFFIXES = {".geojson", ".json", ".xml"}
# Annotations of other programs, by the ending of their files: what to do with those that lie beside.
OTHER_PROGRAMS = {
    ".annotations": "HALO's: export them as GeoJSON",
    ".ndpa": "NDP.view's: open them in QuPath, and export them as GeoJSON",
    ".qpdata": "QuPath's own: export them as GeoJSON",
}
# The programs whose JSON is recognised by these keys, and is not read.
OTHER_JSON = {
    "COCO": {"images", "annotations", "categories"},
    "LabelMe": {"shapes", "imagePath"},
    "VIA": {"_via_img_metadata"},
    "Label Studio": {"annotations", "data"},
    "Supervisely": {"objects", "size"},
}
# Likewise the XML, by its root and an element somewhere in it.
OTHER_XML = {
    "NDP.view": ("annotations", "ndpviewstate"),
    "CVAT": ("annotations", "image"),
    "Pascal VOC": ("annotation", "object"),
    "HALO": ("Annotations", "V"),
}


def read_annotations(path: Path) -> Annotations:
    """The regions in a file, in its order, and what else it holds.

    Raises UserError with file and line, or annotation, where it is broken, and that says what it looks like where it is
    of no program that is known here.
    """
    text = file_text(path, "the annotation file cannot be read", do=EXPORT, max_bytes=MAX_BYTES)
    is_xml = path.suffix.lower() == ".xml"
    if text.count("<" if is_xml else "[") > MAX_POINTS:  # each becomes some hundred bytes when it is taken apart
        raise broken(path, f"more than {MAX_POINTS:,} points")
    return Annotations.of(_xml(text, path) if is_xml else _json(text, path))


def _json(text: str, path: Path) -> list[Region | LeftOut]:
    try:
        document = parse_json(text)
    except json.JSONDecodeError as error:
        raise broken(path, f"line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise broken(path, str(error)) from error
    if histomics.is_histomics(document):
        return histomics.read_histomics(document, path)
    if geojson.is_geojson(document):
        return geojson.read_geojson(document, path)
    raise broken(path, _unknown_json(document))


def _xml(text: str, path: Path) -> list[Region | LeftOut]:
    try:
        root = ET.fromstring(text)  # noqa: S314  expat bounds by itself what entities may grow to (since 2.4.1)
    except ET.ParseError as error:
        raise broken(path, f"line {error.position[0]}: {error}") from error
    for program, (tag, inside) in OTHER_XML.items():
        if root.tag == tag and root.find(f".//{inside}") is not None:
            raise broken(path, f"it looks like {program}'s, which is not read")
    if root.tag == asap.ROOT:
        return asap.read_asap(root, path)
    if root.tag == imagescope.ROOT:
        return imagescope.read_imagescope(root, path)
    roots = f"<{asap.ROOT}> (ASAP) or <{imagescope.ROOT}> (ImageScope)"
    raise broken(path, f"<{shortened(root.tag, 80)}> is not {roots}")


def _unknown_json(document: Any) -> str:
    """What a document looks like that is neither GeoJSON nor HistomicsUI's."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return "it holds no list of features"
    for program, keys in OTHER_JSON.items():
        if keys <= set(first):
            return f"it looks like {program}'s, which is not read"
    named = listed([f"'{shortened(key, 40)}'" for key in first]) or "nothing"
    return f"neither GeoJSON (features) nor HistomicsUI's (elements): it holds {named}"
