"""DICOM: frames are shown as the standard says, whatever way they are stored; headers fill what a table lacks."""

from __future__ import annotations

import logging
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dicom_files import COLOURS, RAMP, bytes_of, compressed, dataset_of, encoded, grey, refused, shown
from lesion.data.decode import dicom, images
from lesion.data.numbers import as_number_or_age
from lesion.errors import UserError


def test_eight_bits_of_grey_are_shown_as_they_are():
    np.testing.assert_array_equal(shown(dataset_of(RAMP)), grey(RAMP))


def test_monochrome1_is_dark_where_it_is_high():
    np.testing.assert_array_equal(shown(dataset_of(RAMP, "MONOCHROME1")), grey(255 - RAMP))


def test_the_inverse_presentation_shape_is_dark_where_it_is_high():
    """INVERSE shows the smallest value white (PS3.3, C.11.6). MONOCHROME1 says the same, not its opposite."""
    inverse = {"PresentationLUTShape": "INVERSE"}
    np.testing.assert_array_equal(shown(dataset_of(RAMP, "MONOCHROME2", **inverse)), grey(255 - RAMP))
    np.testing.assert_array_equal(shown(dataset_of(RAMP, "MONOCHROME1", **inverse)), grey(255 - RAMP))
    np.testing.assert_array_equal(shown(dataset_of(RAMP, "MONOCHROME2", PresentationLUTShape="IDENTITY")), grey(RAMP))


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


def test_jpeg_is_read():
    smooth = np.asarray(Image.fromarray(COLOURS).resize((200, 120), Image.Resampling.BICUBIC))
    jpeg = encoded(smooth, "JPEG", quality=95, subsampling=0)
    found = shown(compressed(dataset_of(smooth, "YBR_FULL"), JPEGBaseline8Bit, jpeg))
    np.testing.assert_allclose(found.astype(int), smooth, atol=12)
    assert np.abs(found.astype(int) - smooth).mean() < 2


def test_jpeg_2000_is_read():
    found = shown(compressed(dataset_of(RAMP), JPEG2000Lossless, encoded(RAMP.astype(np.uint8), "JPEG2000")))
    np.testing.assert_array_equal(found, grey(RAMP))


WIDE = np.random.default_rng(1).integers(0, 2**12, (30, 41), np.uint16)
WIDE[0, :2] = 0, 4095  # the ends that a frame is stretched between
SMOOTH = np.linspace(0, 4095, 30 * 41).reshape(30, 41).astype(np.uint16)
UID = "1.2.840.10008.1.2.4."


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(pixels, **options))


def coded(name: str, pixels: np.ndarray, **options: object) -> bytes:
    import imagecodecs

    return bytes(getattr(imagecodecs, f"{name}_encode")(pixels, **options))


# Syntax, pixels, the frame, how far from them what is decoded may lie.
GREY_SYNTAXES = {
    "JPEG extended, 12 bits": ("51", SMOOTH, lambda p: jpeg(p, level=98, bitspersample=12), 40),
    "JPEG lossless": ("57", WIDE, lambda p: jpeg(p, lossless=True, predictor=6, bitspersample=12), 0),
    "JPEG lossless, first order": ("70", WIDE, lambda p: jpeg(p, lossless=True, predictor=1, bitspersample=16), 0),
    "JPEG-LS": ("80", WIDE, lambda p: coded("jpegls", p), 0),
    "JPEG-LS, near-lossless": ("81", WIDE, lambda p: coded("jpegls", p, level=3), 3),
    "JPEG 2000 lossless": ("90", WIDE, lambda p: coded("jpeg2k", p, codecformat="J2K", reversible=True, level=0), 0),
    "JPEG 2000 high-throughput": ("201", WIDE, lambda p: coded("htj2k", p), 0),
    "JPEG XL lossless": ("110", WIDE, lambda p: coded("jpegxl", p, lossless=True, usecontainer=False), 0),
    "JPEG XL lossless, in a file": ("110", WIDE, lambda p: coded("jpegxl", p, lossless=True, usecontainer=True), 0),
    "JPEG XL": ("112", SMOOTH, lambda p: coded("jpegxl", p, distance=0.1, usecontainer=False), 60),
}


def coded_jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG XL file in which a JPEG is kept whole."""
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode_jpeg(encoded(pixels, "JPEG", quality=98, subsampling=0)))


COLOUR_SYNTAXES = {
    "JPEG": ("50", "YBR_FULL_422", lambda p: encoded(p, "JPEG", quality=98, subsampling=0), 12),
    "JPEG, progressive": (
        "55",
        "YBR_FULL",
        lambda p: encoded(p, "JPEG", quality=98, subsampling=0, progressive=True),
        12,
    ),
    "JPEG of red, green and blue": ("50", "RGB", lambda p: jpeg(p, level=98, outcolorspace="RGB"), 12),
    "JPEG lossless": ("70", "RGB", lambda p: jpeg(p, lossless=True, predictor=1), 0),
    "JPEG-LS": ("80", "RGB", lambda p: coded("jpegls", p), 0),
    "JPEG 2000, mixed": (
        *("90", "YBR_RCT", lambda p: coded("jpeg2k", p, codecformat="J2K", reversible=True, level=0, mct=True), 0),
    ),
    "JPEG XL lossless": ("110", "RGB", lambda p: coded("jpegxl", p, lossless=True, usecontainer=False), 0),
    "JPEG XL": ("112", "XYB", lambda p: coded("jpegxl", p, distance=0.5, usecontainer=False), 40),
    "JPEG XL of a JPEG": (*("111", "YBR_FULL_422", coded_jpeg, 12),),
}


@pytest.mark.parametrize("name", GREY_SYNTAXES)
def test_grey_values_of_every_compressed_syntax_are_read(name):
    syntax, values, encode, most = GREY_SYNTAXES[name]
    found = images.decode(with_syntax(dataset_of(values, bits=12), UID + syntax, encode(values)))
    np.testing.assert_allclose(found[..., 0], values / 4095 * 255, atol=2 * most / 4095 * 255 + 0.51)


@pytest.mark.parametrize("name", [name for name, (*_, most) in GREY_SYNTAXES.items() if most == 0])
def test_signed_values_are_their_bits_which_most_codestreams_do_not_know_to_be_signed(name):
    syntax, values, encode, _ = GREY_SYNTAXES[name]
    dataset = dataset_of(values, bits=12, PixelRepresentation=1)
    signed = np.where(values >= 2048, values.astype(int) - 4096, values)
    expected = (signed - signed.min()) / (signed.max() - signed.min()) * 255
    found = images.decode(with_syntax(dataset, UID + syntax, encode(values)))
    np.testing.assert_allclose(found[..., 0], expected, atol=0.51)


@pytest.mark.parametrize("name", COLOUR_SYNTAXES)
def test_colours_of_every_compressed_syntax_are_read(name):
    syntax, photometric, encode, most = COLOUR_SYNTAXES[name]
    smooth = np.asarray(Image.fromarray(COLOURS).resize((200, 120), Image.Resampling.BICUBIC))
    content = with_syntax(dataset_of(smooth, photometric), UID + syntax, encode(smooth))
    np.testing.assert_allclose(images.decode(content).astype(int), smooth, atol=most)


def with_syntax(dataset: FileDataset, syntax: str, frame: bytes) -> bytes:
    """The file in any syntax: pydicom writes none in one that it does not know."""
    content = bytes_of(compressed(dataset, UID + "201", frame))
    assert len(syntax) <= len(UID + "201")
    return content.replace((UID + "201").encode(), syntax.encode().ljust(len(UID + "201"), b"\0"), 1)


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
    message = refused(bytes_of(compressed(dataset_of(RAMP), MPEG2MPML, b"\0\0\1\xb3")))
    assert "MPEG2" in message and "dcmdjpeg" in message


LARGE = np.zeros((900, 1100), np.uint8)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless])
def test_a_frame_that_is_larger_than_its_header_says_is_refused_before_it_is_unpacked(syntax):
    import imagecodecs

    frames = {
        JPEGBaseline8Bit: encoded(LARGE, "JPEG"),
        JPEG2000Lossless: encoded(LARGE, "JPEG2000"),
        JPEGLSLossless: bytes(imagecodecs.jpegls_encode(LARGE)),
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


DEFLATED = pydicom.uid.DeflatedExplicitVRLittleEndian


def deflated(content: bytes, packed: bytes) -> bytes:
    """The file with `packed` in place of its deflated part."""
    return content[: content.index(DEFLATED.encode()) + len(DEFLATED)] + packed


def test_a_deflated_file_is_read():
    dataset = dataset_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    np.testing.assert_array_equal(shown(dataset), grey(RAMP))


def test_a_deflated_file_of_an_endless_header_is_refused():
    """64 MB of one element, in 64 KB."""
    dataset = dataset_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"\x09\x00\x10\x00OB\0\0\0\0\0\x04" + bytes(2**26)) + packer.flush()
    assert "before its pixels" in refused(deflated(bytes_of(dataset), packed))


def test_the_memory_of_what_is_deflated_is_asked_for_before_it_is_unpacked():
    """Frames of 8 MB in 10 kB; and 600 MB of them, of which nothing is unpacked."""
    dataset = dataset_of(np.zeros((256, 256), np.uint8), NumberOfFrames=128)
    dataset.PixelData = bytes(2**23)
    plain = bytes_of(dataset)
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    content, asked = bytes_of(dataset), []
    images.decode(content, reserve_bytes=asked.append)
    assert len(content) < 20_000 and len(asked) == 1 and asked[0] > 2**23
    elements = plain[plain.index(b"\x08\x00\x16\x00UI") : -(2**23) - 4] + (600_000_000).to_bytes(4, "little")
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(elements + bytes(64)) + packer.flush()
    assert "more than 536,870,912" in refused(deflated(content, packed))


@pytest.mark.parametrize("name", [name for name in GREY_SYNTAXES if "XL" not in name])
def test_a_frame_whose_end_is_missing_is_refused(name):
    syntax, values, encode, _ = GREY_SYNTAXES[name]
    frame = encode(values)
    for length in (len(frame) // 2, len(frame) - 2):
        message = refused(with_syntax(dataset_of(values, bits=12), UID + syntax, frame[:length]))
        assert "its end is missing" in message
    padded = frame + b"\xff" * (len(frame) % 2)  # as some programs fill it up
    assert images.decode(with_syntax(dataset_of(values, bits=12), UID + syntax, padded)).std() > 5


def test_a_cut_jpeg_ls_frame_is_refused_before_its_decoder_looks_for_the_rest():
    import imagecodecs

    frame = bytes(imagecodecs.jpegls_encode(np.random.default_rng(0).integers(0, 256, (50, 60)).astype(np.uint8)))
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
        ({"PatientAge": "45y"}, 45.0),
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


@pytest.mark.parametrize("age", ["045Y", "001M", "026W", "010D"])
def test_an_age_in_a_header_is_that_of_the_same_text_in_a_table(age):
    found = dicom.metadata(bytes_of(dataset_of(RAMP, PatientAge=age)))["age_approx"]
    assert found == as_number_or_age(age)


def test_what_the_header_does_not_say_is_left_out():
    assert dicom.metadata(bytes_of(dataset_of(RAMP, PatientSex="", PatientID=" "))) == {}


def test_no_patient_is_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    dataset = dataset_of(RAMP, PatientName="Doe^Jane", PatientID="H-17", Rows=400)
    refused(bytes_of(dataset))
    assert "Doe" not in caplog.text and "H-17" not in caplog.text
