"""DICOM layouts: every bit depth, byte order, plane layout, photometric interpretation, palette, window and its place,
against the standard's own formulas in plain NumPy, or pydicom's own reading of the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, convert_color_space
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_files import COLOURS, RAMP, bytes_of, dataset_of, grey, refused, shown
from lesion.data.decode import images

H, W = 6, 10
RNG = np.random.default_rng(3)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
NATIVE = [syntax.name.replace(" ", "_") for syntax in SYNTAXES]


def words_of(values: np.ndarray, *, bits: int, high_bit: int, allocated: int, rubbish: int = 0) -> np.ndarray:
    """Stored words: the numbers' bits up to `high_bit`, and `rubbish` in all others."""
    mask = (1 << bits) - 1
    shift = high_bit + 1 - bits
    words = ((values.astype(np.int64) & mask) << shift) | (rubbish & ~(mask << shift))
    return (words & ((1 << allocated) - 1)).astype(f"u{allocated // 8}")


def stored_as(words: np.ndarray, syntax: pydicom.uid.UID, photometric: str = "MONOCHROME2", **elements) -> FileDataset:
    """A file with these words [H, W] or [H, W, 3] as its pixels, in the byte order of its syntax."""
    dataset = dataset_of(np.zeros(words.shape, np.uint8), photometric)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    dataset.BitsAllocated = 8 * words.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    stored = words.transpose(2, 0, 1) if elements.get("PlanarConfiguration") else words
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def as_pydicom_reads(content: bytes) -> np.ndarray:
    """The frame after the modality and VOI transforms, as shares of the range that pydicom gives them."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    values = apply_modality_lut(dataset.pixel_array, dataset)
    return np.asarray(apply_voi_lut(values, dataset, prefer_lut=False))


def levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255


DEPTHS = [
    (bits, high_bit, allocated, is_signed)
    for allocated in (8, 16, 32)
    for bits in range(1, min(allocated, 16) + 1)
    for high_bit in {bits - 1, allocated - 1}
    for is_signed in (False, True)
    if not (is_signed and bits == 1)
]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=NATIVE)
def test_every_depth_is_read_whatever_lies_in_the_unused_bits(syntax):
    """1 to 16 bits in 8, 16 and 32, right and left in the word, signed and not; overlays in the others."""
    for bits, high_bit, allocated, is_signed in DEPTHS:
        low = -(2 ** (bits - 1)) if is_signed else 0
        values = RNG.integers(low, low + 2**bits, (H, W))
        values[0, :2] = low, low + 2**bits - 1  # the whole range, so that stretched and shown whole are the same
        words = words_of(values, bits=bits, high_bit=high_bit, allocated=allocated, rubbish=0x5A5A5A5A)
        dataset = stored_as(words, syntax, PixelRepresentation=int(is_signed), BitsStored=bits, HighBit=high_bit)
        case = f"{bits} bits up to {high_bit} of {allocated}, signed {is_signed}"
        expected = grey(levels(values, low, low + 2**bits - 1))
        np.testing.assert_allclose(shown(dataset), expected, atol=0.51, err_msg=case)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_single_bits_are_unpacked_where_frames_begin_within_a_byte(frame):
    bits = RNG.integers(0, 2, (3, 5, 5), np.uint8)  # 25 bits a frame
    dataset = stored_as(bits[0], ExplicitVRLittleEndian, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    found = images.decode(bytes_of(dataset), frame=frame)
    np.testing.assert_array_equal(found, grey(bits[frame] * 255))
    content = pydicom.dcmread(io.BytesIO(bytes_of(dataset)))
    np.testing.assert_array_equal(found[..., 0] // 255, content.pixel_array[frame])


@pytest.mark.parametrize("syntax", [*SYNTAXES, RLELossless])
@pytest.mark.parametrize("planes", [0, 1])
def test_colours_in_every_layout(syntax, planes):
    """8 and 16 bits, pixel by pixel and colour by colour."""
    for colours in (COLOURS, COLOURS.astype(np.uint16) << 8 | 7):
        dataset = stored_as(colours, ExplicitVRLittleEndian if syntax == RLELossless else syntax, "RGB")
        dataset.PlanarConfiguration = 0
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        elif planes:
            order = ">" if syntax == ExplicitVRBigEndian else "<"
            dataset.PixelData = colours.transpose(2, 0, 1).astype(colours.dtype.newbyteorder(order)).tobytes()
        dataset.PlanarConfiguration = planes
        np.testing.assert_array_equal(shown(dataset), COLOURS)


@pytest.mark.parametrize("bits", [5, 12])
def test_colours_of_odd_depth_use_all_levels(bits):
    values = RNG.integers(0, 2**bits, (H, W, 3))
    words = words_of(values, bits=bits, high_bit=bits - 1, allocated=16)
    dataset = stored_as(words, ExplicitVRLittleEndian, "RGB", PlanarConfiguration=0, BitsStored=bits, HighBit=bits - 1)
    expected = np.rint(values * 255 / 31) if bits == 5 else values >> 4
    np.testing.assert_array_equal(shown(dataset), expected)


def test_eight_bits_in_big_endian_words_of_two():
    """Frames of an odd number of bytes: the second begins within a word (PS3.5, 8.1.1)."""
    frames = RNG.integers(0, 256, (2, 3, 5), np.uint8)
    dataset = stored_as(frames[0], ExplicitVRBigEndian, NumberOfFrames=2)
    dataset.PixelData = np.frombuffer(frames.tobytes(), np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    dataset["PixelData"].VR = "OW"
    for number in range(2):
        np.testing.assert_array_equal(images.decode(bytes_of(dataset), frame=number), grey(frames[number]))


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_colours_become_rgb(photometric):
    ybr = convert_color_space(COLOURS, "RGB", "YBR_FULL")
    dataset = stored_as(ybr, ExplicitVRLittleEndian, photometric, PlanarConfiguration=0)
    if photometric == "YBR_FULL_422":  # of two pixels the luminances, and the first one's colours (C.7.6.3.1.2)
        pairs = ybr.reshape(len(ybr), -1, 2, 3)
        dataset.PixelData = np.stack(
            [pairs[..., 0, 0], pairs[..., 1, 0], pairs[..., 0, 1], pairs[..., 0, 2]], -1
        ).tobytes()
    expected = pydicom.dcmread(io.BytesIO(bytes_of(dataset))).pixel_array  # converted to RGB by pydicom
    np.testing.assert_array_equal(shown(dataset), expected)


# Windows and where they stand


def within(name: str, **elements: object) -> Dataset:
    """A functional group with these elements in the sequence `name`."""
    group, item = Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    setattr(group, name, [item])
    return group


WINDOW = {"WindowCenter": 300, "WindowWidth": 500}
OTHER = {"WindowCenter": 2000, "WindowWidth": 4000}
EMPTY = {"WindowCenter": "", "WindowWidth": ""}


def voi(**elements: object) -> Dataset:
    return within("FrameVOILUTSequence", **elements)


def rescale(slope: object, intercept: object) -> Dataset:
    return within("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")


def joined(*groups: Dataset) -> Dataset:
    whole = Dataset()
    for group in groups:
        whole.update(group)
    return whole


# name: elements beside the pixels, the shared group, each frame's own group, rescale and window that count
PLACES: dict[str, tuple[dict, Dataset | None, list[Dataset], tuple[float, float], dict]] = {
    "beside the pixels": ({**WINDOW, "RescaleSlope": 2, "RescaleIntercept": -100}, None, [], (2, -100), WINDOW),
    "shared": (OTHER, joined(voi(**WINDOW), rescale(2, -100)), [], (2, -100), WINDOW),
    "of the frame": (OTHER, voi(**OTHER), [voi(**WINDOW), voi(**OTHER)], (1, 0), WINDOW),
    "rescale shared, window of the frame": ({}, rescale(0.5, 10), [voi(**WINDOW)] * 2, (0.5, 10), WINDOW),
    "rescale of the frame": (WINDOW, rescale(9, 9), [rescale(2, 0), rescale(3, 0)], (2, 0), WINDOW),
    "empty in the frame's group": (WINDOW, None, [voi(**EMPTY)] * 2, (1, 0), WINDOW),
    "too narrow in the frame's group": (WINDOW, None, [voi(WindowCenter=0, WindowWidth=0)] * 2, (1, 0), WINDOW),
    "intercept alone": ({**WINDOW, "RescaleIntercept": -200}, None, [], (1, -200), WINDOW),
}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=NATIVE)
@pytest.mark.parametrize("place", PLACES)
def test_rescale_and_window_are_found_where_they_stand(place, syntax):
    elements, shared, per_frame, (slope, intercept), window = PLACES[place]
    values = RNG.integers(0, 4096, (2, H, W))
    words = words_of(values, bits=12, high_bit=11, allocated=16)
    dataset = stored_as(words[0], syntax, BitsStored=12, HighBit=11, NumberOfFrames=2, **elements)
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    dataset.PixelData = words.astype(order).tobytes()
    if shared is not None:
        dataset.SharedFunctionalGroupsSequence = [shared]
    if per_frame:
        dataset.PerFrameFunctionalGroupsSequence = per_frame
    measured = values[0] * slope + intercept
    c, w = window["WindowCenter"] - 0.5, window["WindowWidth"] - 1  # C.11.2.1.2.1
    expected = np.clip((measured - c) / w + 0.5, 0, 1) * 255
    np.testing.assert_allclose(shown(dataset)[..., 0], expected, atol=0.51)


def test_each_frame_has_its_own_window():
    values = np.tile(np.arange(H * W, dtype=np.uint16).reshape(H, W) * 60, (2, 1, 1))
    dataset = stored_as(values[0], ExplicitVRLittleEndian, BitsStored=12, HighBit=11, NumberOfFrames=2)
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset.PerFrameFunctionalGroupsSequence = [voi(**WINDOW), voi(**OTHER)]
    for number, window in enumerate((WINDOW, OTHER)):
        expected = (
            np.clip((values[0].astype(float) - window["WindowCenter"] + 0.5) / (window["WindowWidth"] - 1) + 0.5, 0, 1)
            * 255
        )
        found = images.decode(bytes_of(dataset), frame=number)
        np.testing.assert_allclose(found[..., 0], expected, atol=0.51)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(
    "elements", [{}, {"RescaleSlope": "0.5", "RescaleIntercept": "-1024"}, {"PixelRepresentation": 1}]
)
def test_each_window_function_is_as_pydicom_computes_it(function, elements):
    values = RNG.integers(0, 2048, (H, W)).astype(np.uint16)
    window = {"WindowCenter": "-100.5", "WindowWidth": "700.25", "VOILUTFunction": function}
    dataset = stored_as(values, ExplicitVRLittleEndian, BitsStored=12, HighBit=11, **window, **elements)
    content = bytes_of(dataset)
    y = as_pydicom_reads(content)
    low, high = (-2048, 2047) if "PixelRepresentation" in elements else (0, 4095)
    slope, intercept = float(elements.get("RescaleSlope", 1)), float(elements.get("RescaleIntercept", 0))
    expected = (y - (low * slope + intercept)) / ((high - low) * slope) * 255
    np.testing.assert_allclose(images.decode(content)[..., 0], expected, atol=0.51)


BAD_WINDOWS = [
    {"WindowCenter": 100, "WindowWidth": 0},
    {"WindowCenter": 100, "WindowWidth": -5},
    {"WindowCenter": 100, "WindowWidth": "0.5"},
    {"WindowCenter": "", "WindowWidth": ""},
    {"WindowCenter": 100},
    {"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
    {"VOILUTSequence": []},
    {"VOILUTSequence": [Dataset()]},
    {"ModalityLUTSequence": []},
    {"ModalityLUTSequence": [Dataset()]},
    {"RescaleSlope": "", "RescaleIntercept": ""},
    {"RescaleSlope": 0, "RescaleIntercept": 7},
]


@pytest.mark.parametrize("elements", BAD_WINDOWS, ids=str)
def test_a_window_or_table_that_says_nothing_is_as_none(elements):
    values = RNG.integers(50, 4000, (H, W)).astype(np.uint16)
    with pydicom.config.disable_value_validation():
        dataset = stored_as(values, ExplicitVRLittleEndian, BitsStored=12, HighBit=11, **elements)
        found = shown(dataset)
    np.testing.assert_allclose(found[..., 0], levels(values, values.min(), values.max()), atol=0.51)


def test_what_was_not_measured_does_not_count_for_the_stretch():
    """A scanner's circle is surrounded by one value far below all others (C.7.5.1.1.2)."""
    values = RNG.integers(0, 1000, (H, W)).astype(np.int16)
    values[0] = -2000
    padding = {"PixelPaddingValue": -2000, "PixelRepresentation": 1}
    found = shown(stored_as(values.view(np.uint16), ExplicitVRLittleEndian, **padding))
    np.testing.assert_allclose(found[..., 0], levels(values, values[1:].min(), values.max()), atol=0.51)


# Tables


def table(entries: np.ndarray, first: int, bits: int, *, kind: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", kind, entries.tolist() if kind == "US" else entries.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("kind", ["US", "OW"])
@pytest.mark.parametrize(("first", "bits"), [(0, 8), (100, 12), (-50, 16)])
def test_modality_and_voi_tables_map_from_their_first_value_on(kind, first, bits):
    """Values below and above a table take its first and its last entry (C.11.1.1, C.11.2.1.1)."""
    entries = RNG.integers(0, 2**bits, 300)
    values = RNG.integers(-200, 600, (H, W)).astype(np.int16)
    looked_up = entries[np.clip(values.astype(int) - first, 0, 299)]
    signed = {"PixelRepresentation": 1}
    dataset = stored_as(values.view(np.uint16), ExplicitVRLittleEndian, **signed)
    dataset.VOILUTSequence = [table(entries, first, bits, kind=kind)]
    np.testing.assert_allclose(shown(dataset)[..., 0], looked_up / (2**bits - 1) * 255, atol=0.51)
    dataset = stored_as(values.view(np.uint16), ExplicitVRLittleEndian, **signed)
    dataset.ModalityLUTSequence = [table(entries, first, bits, kind=kind)]
    expected = levels(looked_up, looked_up.min(), looked_up.max())
    np.testing.assert_allclose(shown(dataset)[..., 0], expected, atol=0.51)


def test_a_voi_table_for_values_below_zero_starts_there_though_its_first_value_is_written_unsigned():
    """Hounsfield units from −1024 on; without stated kinds of numbers, as in implicit files, 64,512 is −1024."""
    values = RNG.integers(0, 300, (H, W)).astype(np.uint16)
    dataset = stored_as(
        values, ImplicitVRLittleEndian, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024
    )
    entries = np.arange(300)[::-1]
    dataset.VOILUTSequence = [table(entries, 2**16 - 1024, 12)]
    np.testing.assert_allclose(shown(dataset)[..., 0], entries[values] / 4095 * 255, atol=0.51)


def with_palette(
    syntax: pydicom.uid.UID, first: int, bits: int, tables: list[np.ndarray], write: Callable
) -> FileDataset:
    """RAMP − 128 or RAMP, by a palette whose tables `write` turns into bytes."""
    is_signed = first < 0
    values = RAMP.astype(np.int16) + first
    dataset = stored_as(values.view(np.uint16), syntax, "PALETTE COLOR", PixelRepresentation=int(is_signed))
    for name, entries in zip(("Red", "Green", "Blue"), tables, strict=True):
        kind = "SS" if is_signed else "US"
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", kind, [len(entries), first, bits])
        prefix, content = write(entries)
        dataset.add_new(f"{prefix}{name}PaletteColorLookupTableData", "OW", content)
    return dataset


def bytes_and_words(entries: np.ndarray, syntax: pydicom.uid.UID, *, is_packed: bool) -> bytes:
    """Entries as words of the syntax's byte order; packed, two of 8 bits are a word, the first in its lower byte."""
    words = entries[0::2] | entries[1::2] << 8 if is_packed else entries
    return words.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()


LEVELS = [np.arange(256), np.arange(256)[::-1].copy(), RNG.permutation(256)]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=NATIVE)
@pytest.mark.parametrize("first", [0, 40, -128])
@pytest.mark.parametrize("form", ["8 bits packed", "8 bits in words", "8 bits called 16", "16 bits"])
def test_every_palette_gives_its_colours(syntax, first, form):
    factor = 257 if form == "16 bits" else 1
    bits = 8 if form in {"8 bits packed", "8 bits in words"} else 16

    def write(entries: np.ndarray) -> tuple[str, bytes]:
        return "", bytes_and_words(entries * factor, syntax, is_packed=form == "8 bits packed")

    dataset = with_palette(syntax, first, bits, LEVELS, write)
    np.testing.assert_array_equal(shown(dataset), np.stack([entries[RAMP] for entries in LEVELS], axis=-1))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=["little", "big"])
def test_a_segmented_palette_is_made_of_its_segments(syntax, bits):
    """Values as they stand, a line, and the first two segments once more (C.7.9.2): 2 + 126, twice."""
    top = 2**bits - 1
    offset = [0, 0, 0, 0] if bits == 8 else [0, 0]
    segments = np.array([0, 2, 0, top, 1, 126, 0, 2, 2, *offset])
    line = np.rint(np.linspace(top, 0, 127)[1:])
    half = np.concatenate([[0, top], line])
    expected = np.concatenate([half, half])

    def write(_: np.ndarray) -> tuple[str, bytes]:
        even = np.concatenate([segments, np.zeros(len(segments) % 2, int)])
        return "Segmented", bytes_and_words(even if bits == 8 else segments, syntax, is_packed=bits == 8)

    dataset = with_palette(syntax, 0, bits, LEVELS, write)
    np.testing.assert_array_equal(shown(dataset), grey(expected[RAMP].astype(int) >> (bits - 8)))


def test_a_value_beyond_an_8_bit_palette_takes_its_last_colour():
    """pydicom's own way wraps 300 around to 44."""
    dataset = with_palette(ExplicitVRLittleEndian, 0, 8, LEVELS, lambda entries: ("", entries.astype("u1").tobytes()))
    dataset.PixelData = np.full((16, 16), 300, "<u2").tobytes()
    assert shown(dataset)[0, 0].tolist() == [entries[255] for entries in LEVELS]


# What cannot be right


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PhotometricInterpretation": "HSV"}, "1 samples a pixel in 'HSV'"),
        ({"PhotometricInterpretation": "RGB"}, "1 samples a pixel in 'RGB'"),
        ({"PhotometricInterpretation": None}, "without PhotometricInterpretation"),
        ({"BitsAllocated": 12}, "8 bits in 12"),
        ({"BitsAllocated": 64}, "8 bits in 64"),
        ({"BitsStored": 9}, "9 bits in 8"),
        ({"HighBit": 5}, "HighBit is 5"),
        ({"SamplesPerPixel": 4}, "4 samples a pixel"),
        ({"BitsStored": None}, "without BitsStored"),
        ({"VOILUTFunction": "CUBIC", **WINDOW}, "VOILUTFunction is 'CUBIC'"),
        ({"PixelData": bytes(10)}, "its pixels have 10 bytes and need 256"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(changes, words):
    with pydicom.config.disable_value_validation():
        assert words in refused(bytes_of(dataset_of(RAMP, **changes)))


def test_colours_without_a_stated_layout_are_refused():
    dataset = dataset_of(COLOURS, "RGB")
    del dataset.PlanarConfiguration
    assert "PlanarConfiguration" in refused(bytes_of(dataset))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_that_begins_with_its_elements_is_read(syntax):
    """Neither preamble nor what says the transfer syntax: programs of old wrote the elements alone."""
    dataset = stored_as(RAMP.astype(np.uint16) * 256, syntax, SpecificCharacterSet="ISO_IR 100")
    content = bytes_of(dataset)
    start = content.index(b"\0\x08\0\x05CS" if syntax == ExplicitVRBigEndian else b"\x08\0\x05\0")
    np.testing.assert_allclose(images.decode(content[start:])[..., 0], RAMP, atol=0.51)
