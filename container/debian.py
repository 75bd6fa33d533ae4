"""Debian: copies what the image runs of an installed Debian into DIR, the image's root. docs/image.md has the reasons.

Run while the image is built, in a stage that is not shipped: `python3 debian.py DIR`. What is not named here stays
behind: the package manager and its caches, perl, every program with setuid, and whatever the building machine had put
into its base. Fails if a package or a pattern finds nothing, so that the lists stay true when Debian changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import cache_from_source
from pathlib import Path

PACKAGES = {
    "the system's name and licences, certificates, media types and time zones": [
        *("base-files", "ca-certificates", "media-types", "tzdata"),
    ],
    "Python": [
        *("python3-minimal", "python3.11", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
        *("libbz2-1.0", "libcrypt1", "libexpat1", "libffi8", "liblzma5", "libsqlite3-0", "libssl3", "libuuid1"),
    ],
    "what all libraries are linked against": ["gcc-12-base", "libc6", "libgcc-s1", "libstdc++6", "zlib1g"],
    "ldconfig, which NVIDIA's container runtime may call, and the locale C.UTF-8": ["libc-bin"],
    "the shell of entrypoint, lesion, train and serve, and the tools of a person who looks in": [
        *("coreutils", "dash", "findutils", "grep", "sed"),
        *("libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1"),
    ],
}
LEFT_OUT = {
    "what only Debian's own scripts run": ["etc/update-motd.d/*", "usr/bin/py3*", "usr/sbin/update-*"],
    "Python's tests, and its programs for programmers": [
        *("usr/lib/python3.11/test/*", "usr/bin/pdb*", "usr/bin/pydoc*", "usr/bin/pygettext*"),
    ],
    "tools of the C library, two of which want bash": [
        *(f"usr/bin/{name}" for name in ("iconv", "ldd", "localedef", "pldd", "tzselect", "zdump")),
        *("usr/sbin/iconvconfig", "usr/sbin/zic"),
    ],
    "encodings that only iconv reads": ["usr/lib/x86_64-linux-gnu/gconv/*"],
    "modules that want Kerberos, Berkeley DB or a terminal, and with them twelve libraries": [
        f"usr/lib/python3.11/lib-dynload/{name}.cpython-*" for name in ("nis", "_dbm", "readline", "_curses*")
    ],
}
SHARED = ("ca-certificates/*", "common-licenses/*", "doc/*/copyright", "zoneinfo/*")  # all that is read of usr/share
# What no package above holds: made while Debian was installed, or of `openssl`, whose program stays behind.
MADE = ("etc/localtime", "etc/nsswitch.conf", "etc/ssl/certs")
OF_OPENSSL = ("etc/ssl/openssl.cnf", "usr/lib/ssl/certs", "usr/lib/ssl/openssl.cnf")
USERS = "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
MOUNTED = ("dev", "proc", "run", "sys")
ROOT = Path("/")


def main() -> None:
    root = Path(sys.argv[1])
    packages = sorted(package for group in PACKAGES.values() for package in group)
    for name in MOUNTED:
        (root / name).mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    files = files_of(packages)
    for path in [*made(), *files, *bytecode_of(files)]:
        copy(path, root / path.relative_to(ROOT))
    (root / "etc" / "passwd").write_text(USERS)
    (root / "etc" / "group").write_text(GROUPS)
    write_list(packages, root / "var" / "lib" / "dpkg")
    subprocess.run(["ldconfig", "-r", root], check=True)


def made() -> Iterator[Path]:
    for pattern in MADE + OF_OPENSSL:
        found = sorted(ROOT.glob(pattern))
        if not found:
            sys.exit(f"debian.py: there is no /{pattern}: take it out")
        yield from found


def files_of(packages: list[str]) -> list[Path]:
    """The files of the packages without LEFT_OUT. Where /lib leads to /usr/lib they are named by the latter."""
    listed = run("dpkg-query", "--listfiles", *packages).splitlines()
    paths = {path.parent.resolve() / path.name for line in listed if line.startswith("/") and (path := Path(line)).name}
    files = {path for path in paths if path.is_symlink() or path.is_file()}
    for reason, patterns in LEFT_OUT.items():
        for pattern in patterns:
            found = {path for path in files if fnmatch(str(path), f"/{pattern}")}
            if not found:
                sys.exit(f"debian.py: no package has /{pattern}: take it out of '{reason}'")
            files -= found
    return sorted(path for path in files if not path.is_relative_to("/usr/share") or is_shared(path))


def bytecode_of(files: list[Path]) -> Iterator[Path]:
    """What Debian compiled of Python's modules."""
    for file in files:
        if file.suffix == ".py" and (bytecode := Path(cache_from_source(file))).exists():
            yield bytecode


def is_shared(path: Path) -> bool:
    return any(fnmatch(str(path), f"/usr/share/{pattern}") for pattern in SHARED)


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target, follow_symlinks=False)


def write_list(packages: list[str], folder: Path) -> None:
    """The packages as dpkg lists them, with the digests of their files: sbom.py and vulnerability scanners read it."""
    (folder / "info").mkdir(parents=True)
    (folder / "status").write_text("\n".join(run("dpkg-query", "--status", name) for name in packages))
    for name in packages:
        for digests in (ROOT / "var/lib/dpkg/info").glob(f"{name}[.:]*md5sums"):
            shutil.copy2(digests, folder / "info")


def run(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
