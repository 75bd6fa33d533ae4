"""Hostile sets: data sets of a few kilobytes that lie about themselves, and the words that each is refused with."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np

from sources import png_of, write_class_folder

Make = Callable[[Path], None]
SECRET = "/etc/passwd"
ROWS = 4


# HDF5


def zeros(file: h5py.File, name: str) -> None:
    file.create_dataset(name, data=np.zeros((ROWS, 8, 8, 3), np.uint8))


def counted(file: h5py.File, name: str) -> None:
    file.create_dataset(name, data=np.arange(ROWS) % 2)


def hdf5(x: Callable[[h5py.File, str], object] = zeros, y: Callable[[h5py.File, str], object] = counted) -> Make:
    def make(folder: Path) -> None:
        with h5py.File(folder / "train_x.h5", "w") as file:
            x(file, "x")
        with h5py.File(folder / "train_y.h5", "w") as file:
            y(file, "y")

    return make


def external_storage(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (ROWS, 8, 8, 3), np.uint8, external=[(SECRET, 0, ROWS * 192)])


def external_targets(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (ROWS,), np.uint8, external=[(SECRET, 0, ROWS)])


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((ROWS, 8, 8, 3), np.uint8)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(ROWS, 8, 8, 3))
    file.create_virtual_dataset(name, layout)


def shaped(*shape: int, dtype: object = np.uint8, **options: object) -> Callable[[h5py.File, str], object]:
    return lambda file, name: file.create_dataset(name, shape, dtype, **options)


def filtered(number: int) -> Callable[[h5py.File, str], None]:
    """Packed by a filter that is not there, and that the library would look for among its plugins."""

    def make(file: h5py.File, name: str) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1, 8, 8, 3))
        plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
        space = h5py.h5s.create_simple((ROWS, 8, 8, 3))
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_U8LE, space, plan)

    return make


def bomb(file: h5py.File, name: str) -> None:
    """Chunks of a picture of 192 bytes, of which the last unpacks to 16 MiB."""
    dataset = file.create_dataset(name, (ROWS, 8, 8, 3), np.uint8, chunks=(1, 8, 8, 3), compression="gzip")
    dataset[:] = 7
    dataset.id.write_direct_chunk((ROWS - 1, 0, 0, 0), zlib.compress(bytes(16 << 20)))


def compressed_twice(file: h5py.File, name: str) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1, 8, 8, 3))
    plan.set_deflate(9)
    plan.set_deflate(9)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_U8LE, h5py.h5s.create_simple((ROWS, 8, 8, 3)), plan)


def cut_off(folder: Path) -> None:
    hdf5()(folder)
    content = (folder / "train_x.h5").read_bytes()
    (folder / "train_x.h5").write_bytes(content[: len(content) // 2])


def no_hdf5(folder: Path) -> None:
    hdf5()(folder)
    (folder / "train_x.h5").write_bytes(b"x" * 5000)


def pipe(folder: Path) -> None:
    hdf5()(folder)
    (folder / "train_x.h5").unlink()
    os.mkfifo(folder / "train_x.h5")


HDF5: dict[str, tuple[Make, str]] = {
    "external storage": (hdf5(external_storage), "x keeps its bytes in another file"),
    "targets in external storage": (hdf5(y=external_targets), "y keeps its bytes in another file"),
    "external link": (
        hdf5(lambda file, name: file.__setitem__(name, h5py.ExternalLink("train_y.h5", "y"))),
        "x is a link",
    ),
    "dangling link": (hdf5(lambda file, name: file.__setitem__(name, h5py.SoftLink("/nowhere"))), "x is a link"),
    "virtual set": (hdf5(virtual), "x is a virtual dataset"),
    "group": (hdf5(lambda file, name: file.create_group(name)), "x is a group"),
    "named type": (hdf5(lambda file, name: file.__setitem__(name, np.dtype("u1"))), "x is a group or a type"),
    "targets a group": (hdf5(y=lambda file, name: file.create_group(name)), "y is a group"),
    "no extent": (hdf5(lambda file, name: file.create_dataset(name, data=h5py.Empty("u1"))), "x is empty"),
    "no rows": (hdf5(shaped(0, 8, 8, 3)), r"x is uint8 \(0, 8, 8, 3\)"),
    "pictures without a side": (hdf5(shaped(ROWS, 0, 8, 3)), r"x is uint8 \(4, 0, 8, 3\)"),
    "pictures of floats": (hdf5(shaped(ROWS, 8, 8, 3, dtype=np.float32)), "x is float32"),
    "compound": (hdf5(shaped(ROWS, 8, 8, 3, dtype=np.dtype([("a", "u1")]))), "x is "),
    "object references": (hdf5(shaped(ROWS, 8, 8, 3, dtype=h5py.ref_dtype)), "x is object"),
    "arrays of any length": (hdf5(shaped(ROWS, 8, 8, 3, dtype=h5py.vlen_dtype(np.uint8))), "x is object"),
    "huge picture": (hdf5(shaped(ROWS, 200_000, 200_000, 3, chunks=(1, 64, 64, 3))), "x claims 4 images of 200,000"),
    "10^12 pictures": (hdf5(shaped(10**12, 8, 8, 3, chunks=(1, 8, 8, 3))), "x claims 1,000,000,000,000 images"),
    "huge chunk": (
        hdf5(shaped(ROWS, 9000, 9000, 3, chunks=(4, 9000, 9000, 3), compression="gzip")),
        "x has chunks of 972,000,000 bytes",
    ),
    "chunk that is a bomb": (hdf5(bomb), "unpacks to more than the 192 bytes"),
    "compressed twice": (hdf5(compressed_twice), "x is compressed twice"),
    "unknown filter": (hdf5(filtered(32001)), "packed by filter 32001"),
    "own filter": (hdf5(filtered(700)), "packed by filter 700"),
    "10^12 targets": (
        hdf5(y=shaped(10**12, dtype=np.int64, chunks=(1024,))),
        "1,000,000,000,000 targets for 4 images",
    ),
    "targets of another length": (hdf5(y=shaped(5)), "5 targets for 4 images"),
    "targets that are NaN": (
        hdf5(y=lambda file, name: file.create_dataset(name, data=[0.0, 1.0, np.nan, 1.0])),
        "the target of row 2 is nan",
    ),
    "targets of words": (
        hdf5(y=lambda file, name: file.create_dataset(name, data=np.array([b"a", b"b"] * 2))),
        r"y is \|S1",
    ),
    "cut off": (cut_off, "not a whole HDF5 file"),
    "no HDF5": (no_hdf5, "not a whole HDF5 file"),
    "pipe": (pipe, "a pipe and not a file"),
}  # fmt: skip


# HDF5 of encoded images

ROW = "isic_id,patient_id,target\n"


def encoded(*more: Callable[[h5py.File, str], object], first: Callable[[h5py.File, str], object] | None = None) -> Make:
    """Images a and b, and z as each of `more` makes it; or all of them as `first` makes them."""

    def make(folder: Path) -> None:
        with h5py.File(folder / "train-image.hdf5", "w") as file:
            for number, name in enumerate("ab"):
                (first or image_bytes)(file, name) if number == 0 or first else image_bytes(file, name)
            for one in more:
                one(file, "z")
        names = "abz" if more else "ab"
        rows = "".join(f"{name},P{number},{number % 2}\n" for number, name in enumerate(names))
        (folder / "train-metadata.csv").write_text(ROW + rows)

    return make


def image_bytes(file: h5py.File, name: str) -> None:
    file[name] = np.void(png_of(f"p{ord(name)}"))


def gzipped_zeros(file: h5py.File, name: str) -> None:
    """A row of 4 MiB of bytes, whose only chunk unpacks to 64 MiB."""
    dataset = file.create_dataset(name, (4 << 20,), np.uint8, chunks=(4 << 20,), compression="gzip")
    dataset[:] = 7
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(64 << 20)))


def cut_off_images(folder: Path) -> None:
    encoded()(folder)
    path = folder / "train-image.hdf5"
    path.write_bytes(path.read_bytes()[:900])


ENCODED: dict[str, tuple[Make, str]] = {
    "external link": (
        encoded(lambda file, name: file.__setitem__(name, h5py.ExternalLink(SECRET, "a"))),
        "z is a link",
    ),
    "soft link": (encoded(lambda file, name: file.__setitem__(name, h5py.SoftLink("/a"))), "z is a link"),
    "group": (encoded(lambda file, name: file.create_group(name)), "z is a group"),
    "external storage": (
        encoded(lambda file, name: file.create_dataset(name, (99,), np.uint8, external=[(SECRET, 0, 99)])),
        "z keeps its bytes in another file",
    ),
    "bytes that nobody wrote": (
        encoded(lambda file, name: file.create_dataset(name, (1 << 29,), np.uint8)),
        "z claims 536,870,912 bytes, more than 0",
    ),
    "chunk that is a bomb": (encoded(gzipped_zeros), "unpacks to more than the 4,194,304 bytes"),
    "values of any length": (
        encoded(first=lambda file, name: file.create_dataset(name, data=b"x", dtype=h5py.string_dtype())),
        r"a is object \(\) and not the bytes of an image",
    ),
    "no image": (
        encoded(lambda file, name: file.__setitem__(name, np.void(b"no image"))),
        "not an image in a known format",
    ),
    "no dataset": (encoded(first=lambda file, name: None), "it holds no dataset"),
    "row without its image": (
        lambda folder: (encoded()(folder), (folder / "train-metadata.csv").write_text(ROW + "a,p,0\nb,q,1\ny,r,1\n")),
        "image not found",
    ),
    "cut off": (cut_off_images, "not a whole HDF5 file"),
}  # fmt: skip


# MedMNIST


def arrays(images: object = None, labels: object = None, **more: object) -> Make:
    """An archive of four images, with what is given in their place."""

    def make(folder: Path) -> None:
        pixels = np.arange(ROWS * 64, dtype=np.uint8).reshape(ROWS, 8, 8)
        given = {"train_images": pixels if images is None else images}
        given["train_labels"] = np.arange(ROWS)[:, None] % 2 if labels is None else labels
        np.savez_compressed(folder / "breastmnist.npz", **given, **more)

    return make


def lying(header: bytes, content: bytes = b"", *, packed: bool = True) -> Make:
    """An archive whose images have this header and content."""

    def make(folder: Path) -> None:
        kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(folder / "breastmnist.npz", "w", kind) as archive:
            archive.writestr("train_images.npy", header + content)
            file = io.BytesIO()
            np.save(file, np.arange(ROWS) % 2)
            archive.writestr("train_labels.npy", file.getvalue())

    return make


def npy(described: str, *, version: bytes = b"\x01\x00") -> bytes:
    text = described.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def claim(shape: str, dtype: str = "|u1") -> bytes:
    return npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}")


def cut_off_archive(folder: Path) -> None:
    arrays()(folder)
    path = folder / "breastmnist.npz"
    path.write_bytes(path.read_bytes()[:400])


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("/tmp/unpickled",)


NPZ: dict[str, tuple[Make, str]] = {
    "pickle": (arrays(np.array([Evil()] * ROWS, dtype=object)), "train_images holds Python objects"),
    "more than is there": (lying(claim("(4, 60000, 60000)")), "claims to be uint8 .*, and has 0 bytes"),
    "less than is there": (lying(claim("(4, 8, 8)"), bytes(64 << 20)), "and has 67,108,864 bytes"),
    "less than nothing": (lying(claim("(4, -8, -8)"), bytes(256)), "claims to be uint8"),
    "unpacked in its place": (lying(claim("(9, 8, 8)"), bytes(256), packed=False), "and has 256 bytes"),
    "code for a header": (lying(npy("__import__('os').mkdir('/tmp/unpickled')")), "train_images cannot be read"),
    "long header": (
        lying(b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little")),
        "written in version 2.0 of NumPy's format",
    ),
    "volumes": (arrays(np.zeros((ROWS, 8, 8, 8), np.uint8)), r"\(4, 8, 8, 8\), which are volumes"),
    "floats": (arrays(np.zeros((ROWS, 8, 8), np.float32)), "train_images is float32"),
    "no images": (arrays(np.zeros((0, 8, 8), np.uint8)), r"train_images is uint8 \(0, 8, 8\)"),
    "labels of another length": (arrays(labels=np.zeros((3, 1), int)), r"train_labels is int64 \(3, 1\), for 4 images"),
    "labels of words": (arrays(labels=np.array(["a", "b"] * 2)), "train_labels is <U1"),
    "labels that are NaN": (arrays(labels=np.full((ROWS, 1), np.nan)), "train_labels is float64"),
    "a thousand arrays": (
        arrays(**{f"a{number}": np.zeros(1) for number in range(1001)}),
        "1,003 members, more than 1,000",
    ),
    "cut off": (cut_off_archive, "not a whole NumPy archive"),
}  # fmt: skip


# Manifests, lists and tables


def manifest(*lines: object) -> Make:
    def make(folder: Path) -> None:
        for name in "ab":
            (folder / f"{name}.png").write_bytes(png_of(f"p{ord(name)}"))
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (folder / "train.manifest").write_bytes(b"\n".join(texts))

    return make


def labelled(value: object, **more: object) -> Make:
    return manifest(*[{"source-ref": f"s3://x/{name}.png", "target": value, **more} for name in "ab"])


def classes(class_map: object) -> Make:
    return labelled([0, 1], **{"target-metadata": {"class-map": class_map}})


def table(content: bytes, name: str = "train.csv") -> Make:
    def make(folder: Path) -> None:
        (folder / "a.png").write_bytes(png_of("p1"))
        (folder / name).write_bytes(content)

    return make


def sparse_table(folder: Path) -> None:
    with (folder / "train.csv").open("wb") as file:
        file.truncate(4 << 30)


TABLES: dict[str, tuple[Make, str]] = {
    "references from the root beside others": (
        manifest({"source-ref": "/x/a.png", "target": 0}, {"source-ref": "b.png", "target": 1}),
        "begins with / in 1 of 2 lines",
    ),
    "class-map that is a list": (classes(["a", "b"]), "line 1: the class-map of 'target'"),
    "class-map of lists": (classes({"0": ["a"]}), "line 1: the class-map of 'target'"),
    "two classes of one name": (classes({"0": "a", "1": "a"}), "2 classes of 1 names"),
    "class called as the column": (classes({"0": "image_name"}), "has the name of the image column, image_name"),
    "deep label": (labelled("[" * 100_000), "line 1 has no class in 'target'"),
    "label of labels": (labelled([[0]]), "line 1 has no class in 'target'"),
    "label that is NaN": (labelled(float("nan")), "line 1 has no class in 'target'"),
    "label of 5,000 digits": (manifest(b'{"source-ref": "a.png", "target": %s}' % (b"1" * 5000)), "line 1 is not"),
    "deep line": (manifest(b"[" * 100_000), "nested too deeply"),
    "line of two million characters": (manifest(b" " * 2_000_000 + b"{}"), "line 1 has 2,000,002 characters"),
    "key twice": (manifest(b'{"source-ref": "a.png", "target": 0, "target": 1}'), "'target' occurs twice"),
    "half of a character": (manifest(b'{"source-ref": "a.png", "target": "\\ud800"}'), "line 1 is not"),
    "NUL in a line": (manifest(b'{"source-ref": "a.png\0", "target": 0}'), "holds NUL bytes"),
    "NUL as an escape": (manifest(b'{"source-ref": "a\\u0000.png", "target": 0}'), "line 1 is not"),
    "manifest in Latin-1": (manifest(b'{"source-ref": "\xe4.png", "target": 0}'), "the manifest cannot be read"),
    "name of 100,000 letters": (
        manifest({"source-ref": "a" * 100_000, "target": 0}, {"source-ref": "b.png", "target": 1}),
        "has a cell of 100,000 characters in its row 1",
    ),
    "list in UTF-16": (table("1\t0\ta.png\n".encode("utf-16"), "train.lst"), "the list cannot be read"),
    "list with NUL": (table(b"1\t0\ta.png\0\n", "train.lst"), "holds NUL bytes"),
    "list with NaN": (table(b"1\tnan\ta.png\n", "train.lst"), "line 1 is not number"),
    "list of 2,000,000 labels": (
        table(b"1\t" + b"0\t" * 2_000_000 + b"a.png\n", "train.lst"),
        "line 1 has 2,000,000 labels",
    ),
    "table with NUL": (table(b"image_name,patient_id,target\na,p,0\0\n"), "holds NUL bytes"),
    "half a table in UTF-16": (
        table("image_name,patient_id,target\na,p,0\n".encode("utf-16")[:-1]),
        "not a readable CSV",
    ),
    "table with a quote that never ends": (
        table(b'image_name,patient_id,target\na,p,"0\nb,q,1\n'),
        "a quote that opens here is never closed",
    ),
    "table with a column twice": (table(b"image_name,patient_id,target,target\na,p,0,1\n"), "names 'target' twice"),
    "table with longer rows": (table(b"image_name,patient_id,target\na,p,0,1\n"), "line 2 has 4 cells, and the header"),
    "table with a cell of a million letters": (
        table(b"image_name,patient_id,target\na,p,%s\n" % (b"x" * 1_000_000)),
        "column 'target' has a cell of 1,000,000 characters in its row 1",
    ),
    "table of 4 GiB of nothing": (sparse_table, "the file has 4,294,967,296 bytes, more than"),
    "table without rows": (table(b"image_name,patient_id,target\n"), "the CSV has no rows"),
    "empty table": (table(b""), "the CSV is empty"),
}  # fmt: skip


# Shards

JPEG = {"a.png": png_of("p1"), "a.cls": b"0", "b.png": png_of("p2"), "b.cls": b"1"}


def shard(files: Mapping[str, bytes] = JPEG, *more: tarfile.TarInfo | bytes) -> Make:
    """A shard of these files, and behind them headers without content, or bytes as they are."""

    def make(folder: Path) -> None:
        with tarfile.open(folder / "train-0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            for info in more:
                assert tar.fileobj is not None
                raw = info if isinstance(info, bytes) else info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
                tar.fileobj.write(raw)
                tar.offset += len(raw)

    return make


def header(name: str, *, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def sparse(size: int, real_size: int) -> bytes:
    """The header of a GNU sparse file with no data."""
    raw = bytearray(header("c.png", kind=tarfile.GNUTYPE_SPARSE, size=size).tobuf(tarfile.GNU_FORMAT))
    raw[386:410] = b"00000000000\0" * 2
    raw[483:495] = b"\x80" + real_size.to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(record: bytes) -> bytes:
    return header("x", kind=tarfile.XHDTYPE, size=len(record)).tobuf(tarfile.USTAR_FORMAT) + record.ljust(
        -(-len(record) // 512) * 512, b"\0"
    )


def packed(folder: Path) -> None:
    import gzip

    shard()(folder)
    (folder / "train-0.tar").write_bytes(gzip.compress((folder / "train-0.tar").read_bytes()))


def broken_in_the_middle(folder: Path) -> None:
    """One header's checksum is wrong; Python takes it for the archive's end."""
    shard()(folder)
    content = bytearray((folder / "train-0.tar").read_bytes())
    start = content.index(b"b.png")
    content[start + 148 : start + 154] = b"777777"
    (folder / "train-0.tar").write_bytes(content)


def cut_in_a_member(folder: Path) -> None:
    shard()(folder)
    content = (folder / "train-0.tar").read_bytes()
    (folder / "train-0.tar").write_bytes(content[: content.index(b"b.png") + 540])


SHARDS: dict[str, tuple[Make, str]] = {
    "sparse member": (shard(JPEG, sparse(0, 1 << 40)), "'c.png' is a sparse file"),
    "sparse member that leads back": (shard(JPEG, sparse(-1024, 1)), "not a whole tar file"),
    "member of a terabyte": (shard(JPEG, header("c.png", size=1 << 40)), "'c.png' claims 1,099,511,627,776 bytes"),
    "member of less than nothing": (shard(JPEG, header("c.png", size=-1024)), "claims -1,024 bytes"),
    "long name of a gigabyte": (
        shard(JPEG, header("L", kind=tarfile.GNUTYPE_LONGNAME, size=1 << 30)),
        "a header of 1073741824 bytes",
    ),
    "long name of less than nothing": (
        shard(JPEG, header("L", kind=tarfile.GNUTYPE_LONGNAME, size=-512)),
        "a header of -512 bytes",
    ),
    "long names upon long names": (
        shard(JPEG, header("L", kind=tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) * 3000),
        "nested too deeply",
    ),
    "attributes of digits": (shard(JPEG, pax(b"1" * 100_000)), "hundreds of digits"),
    "attributes with a size below nothing": (
        shard(JPEG, pax(b"15 size=-10240\n") + header("c.png").tobuf(tarfile.USTAR_FORMAT)),
        "not a whole tar file",
    ),
    "symbolic link": (shard(JPEG, header("c.png", kind=tarfile.SYMTYPE, link=SECRET)), "'c.png' is a link"),
    "hard link": (shard(JPEG, header("c.json", kind=tarfile.LNKTYPE, link="a.png")), "'c.json' is a link"),
    "device": (shard(JPEG, header("c.png", kind=tarfile.CHRTYPE)), "is a link, a device or a pipe"),
    "escape code in a name": (shard({**JPEG, "\x1b[2Jc.png": b"1"}), r"'\\x1b\[2Jc.png' has control characters"),
    "name that is no UTF-8": (shard(JPEG, header("\udcff.png")), r"'\\udcff.png' has control characters"),
    "two pictures of one key": (shard({**JPEG, "a.jpg": png_of("p3")}), "'a' has two files of one kind"),
    "no members": (shard({}), "no member is named as an image"),
    "members of no use": (shard({"README": b"x"}), "no member is named as an image"),
    "compressed": (packed, "not a whole tar file"),
    "broken header in the middle": (broken_in_the_middle, "there is more data after byte"),
    "cut off in a member": (cut_in_a_member, "not a whole tar file"),
    "empty file": (lambda folder: (folder / "train-0.tar").write_bytes(b""), "not a whole tar file"),
    "deep JSON": (shard({**JPEG, "a.json": b"[" * 100_000}), "a.json is not a JSON object: nested too deeply"),
    "JSON of two megabytes": (shard({**JPEG, "a.json": b" " * 2_000_000}), "a member of 2,000,000 bytes"),
    "JSON list": (shard({**JPEG, "a.json": b"[]"}), "a.json is not a JSON object"),
    "JSON with a key twice": (shard({**JPEG, "a.json": b'{"sex": 1, "sex": 2}'}), "'sex' occurs twice"),
    "class in Latin-1": (shard({**JPEG, "a.cls": b"\xe4"}), "a.cls is not a word in UTF-8"),
}  # fmt: skip


# Files


def among_pictures(add: Callable[[Path], object]) -> Make:
    """A good folder of classes, and one file more."""

    def make(folder: Path) -> None:
        write_class_folder(folder)
        add(folder / "daisy")

    return make


def instead(name: str, add: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> None:
        (folder / "a.png").write_bytes(png_of("p1"))
        add(folder / name)

    return make


def inside(folder: Path, do: Callable[[], object]) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        do()
    finally:
        os.chdir(before)


def listen(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        inside(folder, lambda: listening.bind("z.png"))  # a path of 108 letters at the most


def nest() -> None:
    """Folders in folders, until no path can name them."""
    for _ in range(20):
        Path("f" * 250).mkdir()
        os.chdir("f" * 250)


FILES: dict[str, tuple[Make, str]] = {
    "pipe as a picture": (among_pictures(lambda folder: os.mkfifo(folder / "z.png")), "a pipe and not a file"),
    "socket as a picture": (among_pictures(listen), "a socket and not a file"),
    "device as a picture": (
        among_pictures(lambda folder: (folder / "z.png").symlink_to("/dev/zero")),
        "a device and not a file",
    ),
    "dangling link as a picture": (
        among_pictures(lambda folder: (folder / "z.png").symlink_to("nowhere")),
        "No such file",
    ),
    "link to itself as a picture": (
        among_pictures(lambda folder: (folder / "z.png").symlink_to("z.png")),
        "symbolic links",
    ),
    "empty picture": (
        among_pictures(lambda folder: (folder / "z.png").write_bytes(b"")),
        "the image cannot be decoded: it is empty",
    ),
    "picture of 8 GiB of nothing": (
        among_pictures(lambda folder: os.truncate(os.open(folder / "z.png", os.O_CREAT | os.O_WRONLY), 8 << 30)),
        "the file has 8,589,934,592 bytes",
    ),
    "folders without end": (
        among_pictures(lambda folder: inside(folder, nest)),
        "the folder cannot be listed: File name too long",
    ),
    "pipe as a table": (instead("train.csv", os.mkfifo), "a pipe and not a file"),
    "pipe as a manifest": (instead("train.manifest", os.mkfifo), "a pipe and not a file"),
    "pipe as a list": (instead("train.lst", os.mkfifo), "a pipe and not a file"),
    "pipe as a shard": (instead("train.tar", os.mkfifo), "a pipe and not a file"),
    "device as a table": (instead("train.csv", lambda path: path.symlink_to("/dev/zero")), "a device and not a file"),
    "dangling link as a table": (instead("train.csv", lambda path: path.symlink_to("nowhere")), "No such file"),
}  # fmt: skip

HOSTILE: dict[str, tuple[Make, str]] = {
    f"{kind}: {name}": made
    for kind, sets in {
        "HDF5": HDF5,
        "encoded": ENCODED,
        "npz": NPZ,
        "table": TABLES,
        "shard": SHARDS,
        "file": FILES,
    }.items()
    for name, made in sets.items()
}
