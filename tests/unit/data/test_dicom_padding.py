"""Padding of DICOM: black, whatever its number, the window and the photometric interpretation make of it."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from dicom_files import bytes_of, dataset_of, refused
from lesion.data.decode import images

MEASURED = np.array([[100, 150, 200], [250, 300, 350]])
WINDOW = {"WindowCenter": 225, "WindowWidth": 250, "VOILUTFunction": "LINEAR_EXACT"}  # black at 100, white at 350


def shown_with(padding: list[int], *, kind: str, elements: dict, syntax: str = ExplicitVRLittleEndian) -> np.ndarray:
    """What is seen of MEASURED with a row of padding below it. `kind`: how the words are stored, u2, i2 or u1."""
    elements = dict(elements)
    photometric, bits = elements.pop("photometric", "MONOCHROME2"), elements.pop("bits", 16)
    is_signed = kind.startswith("i")
    stored = np.vstack([MEASURED - elements.get("RescaleIntercept", 0), [padding]])
    stored = (stored & 0xFFFF).astype("u2").view(kind)
    limit = elements.pop("limit", None)
    dataset = dataset_of(stored, photometric, 16, **elements)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(is_signed)
    value = elements.pop("value", padding[0])
    number = "SS" if value < 0 else "US"
    dataset.add_new("PixelPaddingValue", number, value)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", number, limit)
    if syntax != RLELossless:
        dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = stored.byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    return images.decode(bytes_of(dataset))[..., 0]


# Words, how they are stored, and elements: what scanners write.
CASES = {
    "below": ([0, 0, 0], "u2", {}),
    "above": ([65535] * 3, "u2", {}),
    "above, signed": ([32767] * 3, "i2", {}),
    "far below, signed": ([-2000] * 3, "i2", {}),
    "the smallest": ([-32768] * 3, "i2", {}),
    "stated without a sign": ([-2000] * 3, "i2", {"value": 63536}),
    "stated with a sign": ([63536] * 3, "u2", {"value": -2000}),
    "in the middle": ([225] * 3, "u2", {}),
    "a range": ([60000, 62000, 65535], "u2", {"limit": 65535}),
    "a range from above": ([62000, 61000, 60000], "u2", {"limit": 60000}),
    "a negative range": ([-2000, -1500, -1025], "i2", {"limit": -1025}),
    "with a rescale": ([-2000] * 3, "i2", {"RescaleSlope": 1, "RescaleIntercept": -1024}),
    "a negative range with a rescale": (
        [-2000, -1999, -1900],
        "i2",
        {"limit": -1900, "RescaleSlope": 1, "RescaleIntercept": -1024},
    ),
    "12 bits": ([4095] * 3, "u2", {"bits": 12}),
    "12 bits with a sign": ([-2000] * 3, "i2", {"bits": 12}),
    "beyond the stored bits": ([63536] * 3, "u2", {"bits": 12}),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("window", [{}, WINDOW], ids=["stretched", "window"])
@pytest.mark.parametrize("case", CASES)
def test_padding_is_black_and_does_not_count_for_the_window(case, window, photometric):
    """Black at 100 and white at 350 both by the window and by the smallest and largest measured value."""
    padding, kind, elements = CASES[case]
    found = shown_with(padding, kind=kind, elements={**elements, **window, "photometric": photometric})
    expected = (MEASURED - 100) / 250 * 255
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_allclose(found[:2], expected, atol=0.51)
    assert (found[2] == 0).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize(("kind", "padding"), [("u2", 65535), ("i2", -2000)])
def test_padding_is_found_however_the_file_is_written(syntax, kind, padding):
    found = shown_with([padding] * 3, kind=kind, elements={}, syntax=syntax)
    assert (found[2] == 0).all() and found[0, 0] == 0 and found[1, 2] == 255


def test_a_value_that_shares_its_lower_bits_with_padding_is_measured():
    """63536 in a word of 12 stored bits is 2096 there, and 2096 alone is not padding."""
    stored = np.array([[0, 2096, 4095, 63536]], np.uint16)
    dataset = dataset_of(stored, bits=12)
    dataset.add_new("PixelPaddingValue", "US", 63536)
    found = images.decode(bytes_of(dataset))[0, :, 0]
    assert found.tolist() == [0, round(2096 / 4095 * 255), 255, 0]


@pytest.mark.parametrize(("photometric", "number"), [("MONOCHROME2", 255), ("MONOCHROME1", 128)])
def test_eight_bits_with_padding(photometric, number):
    """8 bits are shown whole, and padding in them is black too; its number is in the lower byte."""
    stored = np.array([[0, 100, number]], np.uint8)
    dataset = dataset_of(stored, photometric)
    dataset.add_new("PixelPaddingValue", "US", number)
    expected = [0, 100, 0] if photometric == "MONOCHROME2" else [255, 155, 0]
    assert images.decode(bytes_of(dataset))[0, :, 0].tolist() == expected


def test_a_frame_of_padding_is_black():
    dataset = dataset_of(np.full((4, 4), 7, np.uint16), bits=16)
    dataset.add_new("PixelPaddingValue", "US", 7)
    assert not images.decode(bytes_of(dataset)).any()


@pytest.mark.parametrize(("photometric", "samples"), [("HSV", 3), ("ARGB", 4), ("CMYK", 4), ("RGB", 4)])
def test_colours_that_are_not_read_are_refused_by_name_with_a_way(photometric, samples):
    """DCMTK's dcmj2pnm knows the three that DICOM has retired."""
    dataset = dataset_of(np.zeros((4, 4, 3), np.uint8), "RGB")
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = photometric, samples
    dataset.PixelData = bytes(16 * samples)
    said = refused(bytes_of(dataset))
    assert photometric in said and "dcmj2pnm --write-png" in said and "Replace it" not in said
    assert ("retired" in said) == (photometric != "RGB")
