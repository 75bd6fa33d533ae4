"""Stub libraries: small replacements of shared libraries that others are linked against and Lesion never calls.

Run while the image is built: `python3 stub_libraries.py DIR` collects, from the shared objects under DIR, the symbols
that they import from each library below, and writes a library of that name with those symbols and no others. A call of
one raises a C++ exception, which torch and OpenCV turn into a Python error with its text. docs/image.md says what calls
them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Where each lies, what it is, and how its symbols begin. CUDA's are not installed at all, the others are replaced.
STUBS = {
    "torch": {
        "torch/lib/libcufft.so.11": ("cuFFT", "cufft"),
        "torch/lib/libcufile.so.0": ("cuFile", "cuFile"),
        "torch/lib/libcurand.so.10": ("cuRAND", "curand"),
        "torch/lib/libcusparse.so.12": ("cuSPARSE", "cusparse"),
        "torch/lib/libcusparseLt.so.0": ("cuSPARSELt", "cusparseLt"),
        "torchvision.libs/libnvjpeg.*.so.12": ("nvJPEG", "nvjpeg"),
    },
    "libraries": {
        f"opencv_python_headless.libs/{name}-*.so.*": (title, prefix)
        for name, title, prefix in (
            ("libavcodec", "FFmpeg", "av"),
            ("libavformat", "FFmpeg", "av"),
            ("libavutil", "FFmpeg", "av"),
            ("libavif", "libavif", "avif"),
            ("libswresample", "FFmpeg", "swr"),
            ("libswscale", "FFmpeg", "sws"),
        )
    },
}
SOURCE = """
#include <stdexcept>
static void refuse(const char *name) {{
  throw std::runtime_error(std::string(name) + " was called, and Lesion's image leaves {title} out: see docs/image.md");
}}
extern "C" {{
{functions}
}}
"""


def main() -> None:
    root = Path(sys.argv[1])
    libraries = {path.name: (path, *what) for path, what in stub_paths(root)}
    wanted: dict[str, set[str]] = {name: set() for name in libraries}
    for file in sorted(root.rglob("*.so*")):
        if file.name not in libraries:
            for name in needed(file) & wanted.keys():
                wanted[name] |= symbols_wanted(file, name, libraries[name][2])
    for name, (path, title, _) in libraries.items():
        before = path.stat().st_size if path.exists() else 0
        build(path, title, wanted[name])
        print(f"{name}: {len(wanted[name])} symbols, {before} bytes before, {path.stat().st_size} now")


def stub_paths(root: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """The file of each library, there or to be made, its title and the beginning of its symbols."""
    for pattern, what in STUBS[root.name].items():
        for path in sorted(root.glob(pattern)) or [root / pattern]:
            yield path, what


def needed(file: Path) -> set[str]:
    """The libraries that a shared object is linked against."""
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("--dynamic", file)))


def symbols_wanted(file: Path, library: str, prefix: str) -> set[str]:
    """`name@VERSION`, or `name` where symbols have no versions, of what a shared object wants of `library`."""
    needs = re.search(rf"File: {re.escape(library)}\s(.*?)(?:File:|\Z)", readelf("--version-info", file), re.DOTALL)
    versions = set(re.findall(r"Name: (\S+)", needs[1])) if needs else set()
    symbols = re.findall(r"\sUND\s+([A-Za-z_]\w*)(?:@([\w.]+))?", readelf("--dyn-syms", file))
    if versions:
        return {f"{name}@{version}" for name, version in symbols if version in versions}
    return {name for name, version in symbols if not version and name.startswith(prefix)}


def build(path: Path, title: str, symbols: set[str]) -> None:
    names = {symbol.partition("@")[0] for symbol in symbols}
    versions = {symbol.partition("@")[2] for symbol in symbols} - {""}
    functions = "\n".join(f'void {name}() {{ refuse("{name}"); }}' for name in sorted(names))
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder, "stub.cpp"), Path(folder, "versions")
        source.write_text(SOURCE.format(title=title, functions=functions))
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in sorted(versions)))
        versioned = [f"-Wl,--version-script={script}"] if versions else []
        subprocess.run(
            ["g++", "-shared", "-fPIC", "-Os", "-s", f"-Wl,-soname,{path.name}", *versioned, "-o", path, source],
            check=True,
        )


def readelf(option: str, file: Path) -> str:
    """What readelf prints; nothing for a file that is no ELF object, as for a linker script named .so."""
    return subprocess.run(["readelf", "--wide", option, file], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main()
