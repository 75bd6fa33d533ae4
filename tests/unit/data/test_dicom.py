"""DICOM: frames are shown as the standard says, whatever way they are stored; headers fill what a table lacks."""

from __future__ import annotations

import io
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from lesion.data import dicom, images
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


def test_eight_bits_of_grey_are_shown_as_they_are():
    np.testing.assert_array_equal(shown(dataset_of(RAMP)), grey(RAMP))


def test_monochrome1_is_dark_where_it_is_high():
    np.testing.assert_array_equal(shown(dataset_of(RAMP, "MONOCHROME1")), grey(255 - RAMP))


def test_rgb_is_rgb_and_planes_may_lie_behind_one_another():
    np.testing.assert_array_equal(shown(dataset_of(COLOURS, "RGB")), COLOURS)
    planar = dataset_of(COLOURS, "RGB", PlanarConfiguration=1)
    planar.PixelData = COLOURS.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(shown(planar), COLOURS)


def test_ybr_becomes_rgb():
    """By Pillow's own conversion of JPEG's YCbCr, which is DICOM's YBR_FULL (PS3.3, C.7.6.3.1.2)."""
    ybr = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    np.testing.assert_allclose(shown(dataset_of(ybr, "YBR_FULL")).astype(int), COLOURS, atol=3)


def test_a_palette_gives_its_colours():
    levels = np.arange(256, dtype=np.uint16) * 257
    dataset = dataset_of(RAMP, "PALETTE COLOR")
    for name, table in (("Red", levels), ("Green", levels[::-1]), ("Blue", np.zeros_like(levels))):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.astype("<u2").tobytes())
    expected = np.stack([RAMP, 255 - RAMP, np.zeros_like(RAMP)], axis=-1)
    np.testing.assert_array_equal(shown(dataset), expected)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_window_is_the_linear_function_of_the_standard(bits):
    """PS3.3, C.11.2.1.2.1, in float64 by hand: centre c, width w."""
    stored = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    c, w = 2 ** (bits - 1) + 3, 2 ** (bits - 2)
    x = stored.astype(float)
    y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    expected = np.where(x <= c - 0.5 - (w - 1) / 2, 0, np.where(x > c - 0.5 + (w - 1) / 2, 255, y))
    found = shown(dataset_of(stored, bits=bits, WindowCenter=c, WindowWidth=w))
    np.testing.assert_allclose(found[..., 0], expected, atol=0.51)


def test_the_first_of_several_windows_is_taken_after_the_rescale():
    """Hounsfield units: stored 0 to 4095 are −1024 to 3071; the lung's window shows −1350 to 150."""
    stored = np.array([[0, 424, 1174, 4095]], np.uint16)
    elements = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": [-600, 40], "WindowWidth": [1500, 400]}
    found = shown(dataset_of(stored, bits=12, **elements))[0, :, 0]
    np.testing.assert_allclose(found, [(-1024 + 1350) / 1500 * 255, 127.5, 255, 255], atol=1)


def test_without_a_window_more_than_eight_bits_are_stretched_from_the_smallest_to_the_largest():
    stored = np.array([[-200, 0, 300]], np.int16)
    np.testing.assert_array_equal(shown(dataset_of(stored, bits=16))[0, :, 0], [0, 102, 255])


def test_a_frame_of_one_value_is_a_picture():
    assert shown(dataset_of(np.full((4, 4), 900, np.uint16), bits=12)).tolist() == np.zeros((4, 4, 3)).tolist()


def test_a_voi_table_is_applied():
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 8], (255 - np.arange(256)).astype("<u2").tobytes()
    stored = RAMP.astype(np.uint16)
    dataset = dataset_of(stored, bits=12)
    item.add_new(0x00283006, "OW", item.LUTData)
    dataset.VOILUTSequence = [item]
    np.testing.assert_array_equal(shown(dataset), grey(255 - RAMP))


def test_of_many_frames_the_first_is_shown():
    frames = np.stack([RAMP, 255 - RAMP, RAMP // 2])
    np.testing.assert_array_equal(shown(dataset_of(frames)), grey(RAMP))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_every_uncompressed_syntax_is_read(syntax):
    dataset = dataset_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(shown(dataset), grey(RAMP))


def test_run_lengths_are_read():
    dataset = dataset_of(COLOURS, "RGB")
    dataset.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(shown(dataset), COLOURS)


def compressed(dataset: FileDataset, syntax: str, content: bytes) -> FileDataset:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].VR = "OB"
    return dataset


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_jpeg_is_read():
    smooth = np.asarray(Image.fromarray(COLOURS).resize((200, 120), Image.Resampling.BICUBIC))
    jpeg = encoded(smooth, "JPEG", quality=95, subsampling=0)
    found = shown(compressed(dataset_of(smooth, "YBR_FULL"), JPEGBaseline8Bit, jpeg))
    np.testing.assert_allclose(found.astype(int), smooth, atol=12)
    assert np.abs(found.astype(int) - smooth).mean() < 2


def test_jpeg_2000_is_read():
    found = shown(compressed(dataset_of(RAMP), JPEG2000Lossless, encoded(RAMP.astype(np.uint8), "JPEG2000")))
    np.testing.assert_array_equal(found, grey(RAMP))


def test_jpeg_ls_is_read():
    """By CharLS's encoder: the pixels must come back as they were."""
    import jpeg_ls

    wide = np.random.default_rng(1).integers(0, 2**12, (30, 41), np.uint16)
    wide[0, :2] = 0, 4095  # the ends that the frame is stretched between
    found = shown(compressed(dataset_of(wide, bits=12), JPEGLSLossless, bytes(jpeg_ls.encode_array(wide))))
    np.testing.assert_allclose(found[..., 0], wide / 4095 * 255, atol=0.51)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("JPEG 2000", "J2K_pixelrep_mismatch.dcm"),
        ("JPEG-LS", "MR_small_jpeg_ls_lossless.dcm"),
        ("RLE", "SC_rgb_rle_16bit.dcm"),
        ("JPEG", "SC_rgb_jpeg_dcmtk.dcm"),
    ],
)
def test_files_of_other_programs_are_read(name, file):
    """pydicom's own test files, written by DCMTK, GDCM and scanners."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / file
    dataset = pydicom.dcmread(path)
    assert name in dataset.file_meta.TransferSyntaxUID.name
    image_HWC = images.read(path)
    assert image_HWC.shape == (dataset.Rows, dataset.Columns, 3) and image_HWC.std() > 5


def test_a_syntax_without_a_decoder_is_named_with_the_way_out():
    message = refused(bytes_of(compressed(dataset_of(RAMP), JPEGLosslessSV1, b"\xff\xd8\xff\xc3\x00\x00")))
    assert "JPEG Lossless" in message and "dcmdjpeg" in message


LARGE = np.zeros((900, 1100), np.uint8)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless])
def test_a_frame_that_is_larger_than_its_header_says_is_refused_before_it_is_unpacked(syntax):
    import jpeg_ls

    frames = {
        JPEGBaseline8Bit: encoded(LARGE, "JPEG"),
        JPEG2000Lossless: encoded(LARGE, "JPEG2000"),
        JPEGLSLossless: bytes(jpeg_ls.encode_array(LARGE)),
    }
    message = refused(bytes_of(compressed(dataset_of(RAMP), syntax, frames[syntax])))
    assert "the header says 16×16 px and the frame 1100×900" in message


def test_a_file_without_preamble_is_read():
    content = bytes_of(dataset_of(RAMP))[132:]
    np.testing.assert_array_equal(images.decode(content), grey(RAMP))


def test_threads_read_at_once():
    contents = [bytes_of(dataset_of(np.full((32, 32), level, np.uint8))) for level in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [int(found[0, 0, 0]) for found in pool.map(images.decode, contents)] == list(range(40))


# What is no picture


def test_a_file_without_pixels_is_refused():
    dataset = dataset_of(RAMP)
    del dataset.PixelData
    assert "without pixels" in refused(bytes_of(dataset))


def test_a_frame_that_is_too_large_is_refused_before_it_is_decoded():
    assert "more than 100,000,000 pixels" in refused(bytes_of(dataset_of(RAMP, Rows=65535, Columns=65535)))


@pytest.mark.parametrize("changes", [{"Rows": 500}, {"BitsAllocated": 7}, {"PhotometricInterpretation": "NONE"}])
def test_elements_that_do_not_fit_the_pixels_are_refused(changes):
    assert "DICOM" in refused(bytes_of(dataset_of(RAMP, **changes)))


def test_a_deflated_file_is_refused_since_nothing_bounds_it():
    dataset = dataset_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    assert "deflated transfer syntax" in refused(bytes_of(dataset))


def test_a_deflated_file_is_refused_wherever_its_header_says_so():
    """Here behind an element of 6,000 bytes."""
    dataset = dataset_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    content = bytes_of(dataset)
    syntax = content.index(b"\x02\x00\x10\x00UI")
    content = content[:syntax] + b"\x02\x00\x04\x00OB\0\0\x70\x17\0\0" + bytes(6000) + content[syntax:]
    assert "deflated transfer syntax" in refused(content)


def test_a_cut_jpeg_ls_frame_is_refused_before_its_decoder_looks_for_the_rest():
    import jpeg_ls

    frame = bytes(jpeg_ls.encode_array(np.random.default_rng(0).integers(0, 256, (50, 60)).astype(np.uint8)))
    dataset = dataset_of(np.zeros((50, 60), np.uint8))
    assert "its end is missing" in refused(bytes_of(compressed(dataset, JPEGLSLossless, frame[: len(frame) // 2])))


def test_run_lengths_that_become_more_than_the_pixels_are_refused():
    """A megabyte of runs of 128 zeros would be 64 MB."""
    frame = np.array([1, 64, *[0] * 14], "<u4").tobytes() + b"\x81\0" * 500_000
    assert "run lengths" in refused(bytes_of(compressed(dataset_of(RAMP), RLELossless, frame)))


def test_a_frame_of_many_scans_is_refused():
    progressive = encoded(LARGE, "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    content = progressive[:-2] + scan * 300 + b"\xff\xd9"
    assert "scans" in refused(bytes_of(compressed(dataset_of(LARGE), JPEGBaseline8Bit, content)))


def test_a_file_of_a_million_elements_or_items_is_refused():
    content = bytes_of(dataset_of(RAMP))
    start = content.index(b"\x28\x00\x02\x00")
    elements = b"".join(b"\x09\x00" + number.to_bytes(2, "little") + b"LO\0\0" for number in range(16, 65536)) * 4
    assert "more elements" in refused(content[:start] + elements + content[start:])
    items = b"\x09\x00\x10\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 300_000
    items += b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert "No tag to read" in refused(content[:start] + items + content[start:])  # pydicom's word for a limit met


def test_sequences_within_sequences_end_in_words():
    content = bytes_of(dataset_of(RAMP))
    start = content.index(b"\x28\x00\x02\x00")
    level = b"\x09\x00\x10\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert "DICOM" in refused(content[:start] + level * 5000 + content[start:])


def test_a_window_of_a_million_numbers_is_refused():
    dataset = dataset_of(RAMP.astype(np.uint16), bits=12, WindowWidth=10)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.WindowCenter = [1] * 500_000
    assert "bytes long" in refused(bytes_of(dataset))


def test_a_palette_of_segments_that_become_more_than_a_palette_is_refused():
    dataset = dataset_of(RAMP, "PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        lines = np.array([0, 1, 0] + [1, 65535, 0] * 1000, "<u2").tobytes()
        setattr(dataset, f"Segmented{name}PaletteColorLookupTableData", lines)
    assert "palette" in refused(bytes_of(dataset))


def test_room_is_asked_for_before_the_frame_is_unpacked():
    asked: list[int] = []
    images.decode(bytes_of(dataset_of(LARGE)), reserve_bytes=asked.append)
    assert len(asked) == 1 and asked[0] > 3 * LARGE.size


def test_garbage_in_a_frame_is_refused():
    refused(bytes_of(compressed(dataset_of(RAMP), JPEGBaseline8Bit, b"not a picture at all")))


@given(data=st.data())
def test_a_broken_file_is_refused_or_read_and_nothing_else(data):
    content = bytearray(bytes_of(dataset_of(RAMP)))
    for place in data.draw(st.lists(st.integers(128, len(content) - 300), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(100, len(content)))
    try:
        assert images.decode(bytes(content[:cut])).ndim == 3
    except UserError as error:
        assert error.kind == "unreadable_image"


# What the header says


def test_the_header_fills_the_columns_of_the_challenge():
    elements = {"PatientID": "H-17", "PatientSex": "F", "PatientAge": "045Y", "BodyPartExamined": "ABDOMEN"}
    expected = {"patient_id": "H-17", "sex": "female", "age_approx": 45.0, "anatom_site_general_challenge": "abdomen"}
    assert dicom.metadata(bytes_of(dataset_of(RAMP, **elements))) == expected


@pytest.mark.parametrize(
    ("elements", "age"),
    [
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "026W"}, 0.5),
        ({"PatientAge": "010D"}, 0.03),
        ({"PatientBirthDate": "19800615", "StudyDate": "20200614"}, 39.0),
        ({"PatientBirthDate": "19800615", "StudyDate": "20200615"}, 40.0),
        ({"PatientBirthDate": "19800615"}, None),
        ({"PatientBirthDate": "20300101", "StudyDate": "20200101"}, None),
        ({"PatientAge": "old"}, None),
        ({}, None),
    ],
)
def test_ages_are_years(elements, age):
    assert dicom.metadata(bytes_of(dataset_of(RAMP, **elements))).get("age_approx") == age


def test_what_the_header_does_not_say_is_left_out():
    assert dicom.metadata(bytes_of(dataset_of(RAMP, PatientSex="", PatientID=" "))) == {}


def test_no_patient_is_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    dataset = dataset_of(RAMP, PatientName="Doe^Jane", PatientID="H-17", Rows=400)
    refused(bytes_of(dataset))
    assert "Doe" not in caplog.text and "H-17" not in caplog.text
