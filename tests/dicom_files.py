"""DICOM files: small ones of every kind, for tests."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from lesion.data.decode import images
from lesion.errors import UserError

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)  # every level of 8 bits
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def dataset_of(stored: np.ndarray, photometric: str = "MONOCHROME2", bits: int = 8, **elements: object) -> FileDataset:
    """A secondary capture with `stored` as its pixels; elements by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    frames = stored[None] if stored.ndim == 2 or (stored.shape[-1] == 3 and stored.ndim == 3) else stored
    dataset.SamplesPerPixel = 3 if stored.ndim >= 3 and stored.shape[-1] == 3 else 1
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    kind = {(8, 0): np.uint8, (16, 0): "<u2", (16, 1): "<i2", (8, 1): np.int8}
    dataset.PixelData = stored.astype(kind[dataset.BitsAllocated, dataset.PixelRepresentation]).tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def bytes_of(dataset: FileDataset, **options: object) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


def shown(dataset: FileDataset) -> np.ndarray:
    return images.decode(bytes_of(dataset), name="a.dcm")


def refused(content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        images.decode(content, name="a.dcm")
    assert caught.value.kind == "unreadable_image" and "a.dcm" in str(caught.value)
    return str(caught.value)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(levels)[..., None], 3, axis=-1)


def compressed(dataset: FileDataset, syntax: str, content: bytes) -> FileDataset:
    """The dataset with `content` as its one frame."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].VR = "OB"
    return dataset


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
