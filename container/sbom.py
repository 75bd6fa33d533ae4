"""SBOM: what this image is made of, as CycloneDX 1.6 JSON: each Debian package and each Python distribution.

Run in the image: docker run --rm --network none --entrypoint python3 IMAGE /usr/local/share/lesion/sbom.py
"""

import importlib.metadata
import json
import re
from pathlib import Path


def main() -> None:
    components = sorted([*debian(), *python()], key=lambda component: component["bom-ref"])
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    print(json.dumps(bom, indent=1))


def debian() -> list[dict[str, str]]:
    """The image has no dpkg to ask, so this reads the list that debian.py wrote as dpkg does."""
    entries = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    return [debian_component(dict(re.findall(r"^(\S+): (.*)$", entry, re.MULTILINE))) for entry in entries]


def debian_component(fields: dict[str, str]) -> dict[str, str]:
    name, version = fields["Package"], fields["Version"]
    return component(name, version, f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}")


def python() -> list[dict[str, str]]:
    found = {(d.name.lower().replace("_", "-"), d.version) for d in importlib.metadata.distributions()}
    return [component(name, version, f"pkg:pypi/{name}@{version}") for name, version in found]


def component(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main()
