"""Slim: takes out of installed packages what the image never runs. docs/image.md gives the reasons and the sizes.

Run while the image is built, in a stage that is not shipped: `python3 slim.py DIR`. Prints what each row took away, and
fails if a row finds nothing, so that the list stays true when a package changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# One graph is made of a network that torch has traced, read back from OpenVINO's own format and computed on a CPU.
OPENVINO = {
    "what computes elsewhere than on this CPU": [
        f"openvino/libs/{name}" for name in ("libopenvino_intel_[gn]pu_*", "libopenvino_*auto*_plugin.so", "cache.json")
    ]
    + ["openvino/libs/libopenvino_hetero_plugin.so"],
    "readers of other formats": [
        *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in ("gguf", "tensorflow_lite")),
        *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in ("jax", "onnx", "paddle", "tensorflow")),
        *(f"openvino/frontend/{name}" for name in ("jax", "onnx", "paddle", "tensorflow")),
    ],
    "the converter's command, and what reports its use over the network": [
        "openvino/tools/ovc",
        "openvino_telemetry*",
    ],
    "the interface for C, and what compiles against it": [
        "openvino/cmake",
        "openvino/libs/libopenvino_c.so*",
        "openvino/libs/*.pc",
        "openvino/libs/libtbbmalloc_proxy*",
    ],
}
# Of imagecodecs, 79 MB of codecs: what unpacks DICOM (lesion/data/dicom_codecs.py), and what that is linked against.
CODECS = {
    "imagecodecs": [f"_{name}.abi3.so" for name in ("jpeg2k", "jpeg8", "jpegls", "jpegxl", "shared", "shared_cython")],
    "imagecodecs.libs": [
        *(f"lib{name}-*" for name in ("charls", "jpeg", "lcms2", "openjp2")),
        *(f"lib{name}-*" for name in ("brotlicommon", "brotlidec", "brotlienc", "jxl", "jxl_cms", "jxl_threads")),
    ],
}
LEFT_OUT = {
    "torch": {
        "C++ headers and CMake files: nothing is compiled here": ["torch/include", "torch/share", "nvidia/*/include"],
        "the compiler of ONNX and Caffe2 messages": ["torch/bin/protoc*"],
        "linear algebra on the GPU (cuSOLVER)": ["torch/lib/libtorch_cuda_linalg.so"],
        "BLAS for programs that were linked for another": ["nvidia/cublas/lib/libnvblas.so*"],
        "profiling by hardware counters": [
            "nvidia/cuda_cupti/lib/libnvperf_*",
            "nvidia/cuda_cupti/lib/libpcsamplingutil.so",
            "nvidia/cuda_cupti/lib/libcheckpoint.so",
        ],
        "what type checkers read": ["**/*.pyi"],
    },
    "libraries": {
        "tests": ["**/tests"],
        "what only builds packages": ["setuptools*", "_distutils_hack", "distutils-precedence.pth", "bin"],
        "what C and Cython compile": ["**/*.c", "**/*.h", "**/*.pxd", "**/*.pyx", "**/*.a", "**/include"],
        "what type checkers read": ["**/*.pyi"],
        "codecs and TLS under FFmpeg and libavif, which stub_libraries.py replaces": [
            f"opencv_python_headless.libs/lib{name}-*" for name in ("aom", "vpx", "ssl", "crypto")
        ],
        "sample data": [
            "matplotlib/mpl-data/sample_data",
            "cv2/data",
            "sklearn/datasets/data",
            "sklearn/datasets/images",
            "pydicom/data/test_files",
            "pydicom/data/charset_files",
        ],
        "fonts, and what embeds them, in PDF and PostScript; figures are PNG": [
            "matplotlib/mpl-data/fonts/afm",
            "matplotlib/mpl-data/fonts/pdfcorefonts",
            "fontTools/[!m]*/",
            "fontTools/merge",
            "fontTools/mtiLib",
        ],
        "names of ImageNet's classes": ["timm/data/_info"],
        **OPENVINO,
    },
    "serve-cpu": {
        "tests": ["**/tests"],
        "what C and Cython compile against": ["**/*.h", "**/*.pxd", "**/*.a", "openvino/include"],
        "the reader of networks that torch has traced": ["openvino/libs/libopenvino_pytorch_frontend.so*"],
        **OPENVINO,
    },
}


def main() -> None:
    root = Path(sys.argv[1])
    for reason, patterns in LEFT_OUT[root.name].items():
        freed = 0
        for pattern in patterns:
            found = [path for path in sorted(root.glob(pattern)) if path.exists()]
            if not found:
                sys.exit(f"slim.py: nothing under {root} is called {pattern}: take the row out")
            for path in found:
                freed += size(path)
                remove(path)
        print(f"{root.name}: {freed / 1e6:.1f} MB less: {reason}")
    if root.name != "torch":
        print(f"{root.name}: {leave_codecs(root) / 1e6:.1f} MB less: codecs that no DICOM file is in")
    print(f"{root.name}: {strip_symbols(root) / 1e6:.1f} MB less: names that only debuggers read")
    print(f"{root.name}: {size(root) / 1e6:.0f} MB")


def leave_codecs(root: Path) -> int:
    """Removes all shared objects of imagecodecs but CODECS. Returns how many bytes they took."""
    freed = 0
    for folder, patterns in CODECS.items():
        kept = {path for pattern in patterns for path in root.joinpath(folder).glob(pattern)}
        if len(kept) != len(patterns):
            sys.exit(f"slim.py: {len(kept)} files of {folder} are called {', '.join(patterns)}: correct the list")
        for path in sorted(set(root.joinpath(folder).glob("*.so*")) - kept):
            freed += size(path)
            remove(path)
    return freed


def strip_symbols(root: Path) -> int:
    """How many bytes the names of inner functions took.

    Of torch's libraries only in those that a CPU can judge. Not in NAME.libs: those files were patched when the wheel
    was made, in a way that `strip` does not bear.
    """
    if root.name == "torch":
        modules = [root / "torch" / "lib" / name for name in ("libtorch_cpu.so", "libtorch_python.so")]
    else:
        modules = [path for path in sorted(root.rglob("*.so")) if not path.parent.name.endswith(".libs")]
    before = sum(map(size, modules))
    subprocess.run(["strip", "--strip-unneeded", *modules], check=True)
    return before - sum(map(size, modules))


def size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
