"""Slides: finds whole-slide files and large pictures, reads their resolution, and reads them window by window.

OpenSlide reads both; a slide is never in memory as a whole, a plain picture is, and must stay below memory.MAX_PIXELS.
"""

# H, W pixels

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import cv2
import numpy as np
import openslide
from PIL import Image, ImageCms

from lesion.data.decode import dicom, images, memory
from lesion.data.decode.image_files import are_dicom, image_files
from lesion.data.decode.images import Pixels
from lesion.data.decode.reading import check_regular, reading
from lesion.data.sources.location import walk_files
from lesion.errors import UserError

WHOLE_SLIDES = {".svs", ".ndpi", ".scn", ".mrxs", ".svslide", ".bif"}
NOT_A_SLIDE = "the slide cannot be read"
CONVERT = "Copy it again, leave it out, or convert it: vips tiffsave IN OUT.tif --tile --pyramid."
# The largest that scanners make are 400,000 px wide.
MAX_SIDE_PX, MAX_SLIDE_PX = 1_000_000, 200_000_000_000
SIDES = ("width", "height")
USUAL_MAGNIFICATION = 20.0
MPP_AT_1X = 10.0  # by convention 20× is 0.5 µm a pixel
MAX_MPP = 20.0  # 72 dpi, which programs write into a TIFF when they know nothing, would be 353 µm a pixel
SAME = 1.01  # within 1 % two resolutions are one: the sizes of a pyramid's levels are rounded


@dataclass(frozen=True)
class SlideFile:
    """A slide by name: its path below the input, without the ending."""

    name: str
    path: Path


@dataclass(frozen=True)
class Stated:
    """A file's stated resolution of level 0; None where it states nothing."""

    magnification: float | None = None
    mpp: float | None = None  # µm a pixel

    @property
    def is_known(self) -> bool:
        return self.magnification is not None or self.mpp is not None


@dataclass(frozen=True)
class Resolution:
    """At which resolution tiles are cut: a magnification, µm a pixel, or the file's own pixels."""

    kind: Literal["magnification", "mpp", "level_0"]
    value: float = 1.0

    def downsample(self, stated: Stated, *, where: object) -> float:
        """How many pixels of level 0 one pixel is wide. Raises UserError where that is not known, or less than one."""
        if self.kind == "level_0":
            return 1.0
        if self.kind == "magnification":
            own = stated.magnification or (MPP_AT_1X / stated.mpp if stated.mpp else None)
            factor = own and own / self.value
        else:
            own = stated.mpp or (MPP_AT_1X / stated.magnification if stated.magnification else None)
            factor = own and self.value / own
        if factor is None:
            raise UserError("the slide does not state its magnification", where=where, do="Cut it with --level-0.")
        if factor * SAME < 1:
            raise UserError(
                f"asked for {self.kind}={self.value:g}, and the slide has only {own:g}",
                where=where,
                do="Ask for what it has, or cut it with --level-0.",
            )
        return max(factor, 1.0)


def usual_resolution(stated: Sequence[Stated]) -> Resolution:
    """20× where all slides state a magnification, their own pixels where none does. Raises UserError for a mixture."""
    known = [one.is_known for one in stated]
    if any(known) and not all(known):
        raise UserError(
            f"{known.count(False)} of {len(known)} slides do not state their magnification",
            do="Cut all with --level-0, or prepare the slides without one separately.",
        )
    return Resolution("magnification", USUAL_MAGNIFICATION) if any(known) else Resolution("level_0")


def find_slides(source: Path) -> list[SlideFile]:
    """The slide in a file, or those below a folder, by name. Raises UserError where there are none or two of a name."""
    if source.is_file():
        return [SlideFile(source.stem, source)]
    paths = _slides_below(source) if source.is_dir() else []
    if not paths:
        do = f"Give a folder of images or of {', '.join(sorted(WHOLE_SLIDES))}."
        raise UserError("no slides here", where=source, do=do)
    found: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(source).with_suffix("").as_posix()
        if name in found:
            raise UserError("two slides have one name", where=f"{found[name]}, {path}", do="Rename one of them.")
        found[name] = path
    return [SlideFile(name, path) for name, path in found.items()]


def _slides_below(folder: Path) -> list[Path]:
    """Whole slides and images, but not DICOM: one slide is many files there. Any one of them may be given by itself."""
    files = [path for path in walk_files(folder) if path.suffix.lower() not in dicom.SUFFIXES]
    found = image_files(files)
    is_dicom = dict(zip(found, are_dicom(found), strict=True))
    return [path for path in files if path.suffix.lower() in WHOLE_SLIDES or is_dicom.get(path) is False]


def pick_slide(slides: Sequence[SlideFile], written: str, *, where: object) -> SlideFile | None:
    """The slide named `written`, or None: by path or file name, with or without ending.

    Raises UserError if it matches two.
    """
    for text in (written, PurePosixPath(written).name):
        by_name = [slide for slide in slides if text in {slide.name, slide.name + slide.path.suffix}]
        found = by_name or [slide for slide in slides if text in {slide.path.stem, slide.path.name}]
        if len(found) > 1:
            raise UserError(
                f"'{written}' fits {len(found)} slides, the first: {found[0].path}, {found[1].path}",
                where=where,
                do="Write the path below the input.",
            )
        if found:
            return found[0]
    return None


def read_stated(path: Path) -> Stated:
    """A file's stated resolution, from its header. Raises UserError if it is neither slide nor picture."""
    slide = _open_slide(path)
    if slide is None:
        what = f"{NOT_A_SLIDE}: neither a whole slide nor an image that can be opened"
        with reading(path, what, do=CONVERT, kind="unreadable_image"), Image.open(path, formats=images.FORMATS):
            return Stated()
    with slide:
        magnification = _positive(slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
        mpp = _positive(slide.properties.get(openslide.PROPERTY_NAME_MPP_X))
        return Stated(magnification, mpp if mpp is not None and mpp < MAX_MPP else None)


class Slide:
    """An open slide. Reading is safe from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for what is neither a slide nor a picture that can be decoded."""
        self._path = path
        self._slide, self._to_srgb = _open(path)
        self._background = "#" + self._slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")
        self._downsamples = self._slide.level_downsamples
        self.width_px, self.height_px = self._slide.dimensions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slide.close()

    def read(self, x_px: int, y_px: int, width: int, height: int, *, downsample: float) -> Pixels:
        """A window as uint8 sRGB [height, width, 3], its corner in pixels of level 0, each pixel `downsample` of them.

        Read from the coarsest level that is fine enough, then shrunk by area; what was not scanned has the slide's
        background colour, or white. Raises UserError where the file is broken.
        """
        level = max(index for index, own in enumerate(self._downsamples) if own <= downsample * SAME)
        scale = downsample / self._downsamples[level]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if size[0] * size[1] > memory.MAX_PIXELS:
            raise UserError(
                f"{width}×{height} px at 1/{downsample:g} of the slide's own are {size[0]:,}×{size[1]:,} px to read",
                where=self._path,
                do="Make tiles smaller: --size, or a higher --magnification.",
            )
        where = f"{NOT_A_SLIDE}: broken at x={x_px}, y={y_px}"
        with reading(self._path, where, do=CONVERT, kind="unreadable_image"):
            region = self._slide.read_region((x_px, y_px), level, size)
        image = Image.new("RGB", size, self._background)
        image.paste(region, mask=region)
        if self._to_srgb is not None:
            image = ImageCms.applyTransform(image, self._to_srgb) or image
        pixels_HWC = np.asarray(image)
        if size == (width, height):
            return pixels_HWC
        return np.asarray(cv2.resize(pixels_HWC, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _open(path: Path) -> tuple[openslide.AbstractSlide, ImageCms.ImageCmsTransform | None]:
    """The open file, and how its colours become sRGB: None where they are, as those of a decoded picture."""
    slide = _open_slide(path)
    if slide is not None:
        return slide, _srgb_transform(slide)
    try:
        pixels_HWC = images.read(path)  # not OpenSlide's own way: one decoder in this house
    except UserError as error:
        raise _not_a_slide(path, f"no whole slide, and {error.what}") from error
    return openslide.ImageSlide(Image.fromarray(pixels_HWC)), None


def _open_slide(path: Path) -> openslide.OpenSlide | None:
    """The open whole slide, or None if it is not one. Raises UserError for one that is broken, or of absurd size."""
    check_regular(path, kind="unreadable_image")
    with reading(path, NOT_A_SLIDE, do=CONVERT, kind="unreadable_image"):
        try:
            slide = openslide.OpenSlide(path)
        except openslide.OpenSlideUnsupportedFormatError:
            return None
        width_px, height_px = slide.dimensions
        pieces = [
            math.prod(int(slide.properties.get(f"openslide.level[{level}].tile-{side}", 0)) for side in SIDES)
            for level in range(slide.level_count)
        ]
    if max(width_px, height_px) > MAX_SIDE_PX or width_px * height_px > MAX_SLIDE_PX or max(pieces) > memory.MAX_PIXELS:
        slide.close()
        raise _not_a_slide(path, f"it claims {width_px:,}×{height_px:,} px, in pieces of {max(pieces):,} px")
    return slide


def _srgb_transform(slide: openslide.OpenSlide) -> ImageCms.ImageCmsTransform | None:
    try:
        profile = slide.color_profile
        if profile is None or "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # a broken profile is of no use, as in images.decode
        return None


def _positive(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:  # scanners leave "n/a" and the like
        return None
    return number if 0 < number < float("inf") else None


def _not_a_slide(path: Path, why: str) -> UserError:
    return UserError(f"{NOT_A_SLIDE}: {why}", where=path, do=CONVERT, kind="unreadable_image")
