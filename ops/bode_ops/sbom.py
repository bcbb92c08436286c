"""The software bill of materials (CycloneDX 1.6), read from the lock file: `python -m bode_ops.sbom`, `make sbom`."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Give what a lock file pins: each package with its version, its address (purl) and the hashes of its files."""
    found: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if pinned := _PINNED.match(line):
            name, number = pinned[1].lower(), pinned[2]
            found.append(
                {
                    "type": "library",
                    "bom-ref": f"pkg:pypi/{name}@{number}",
                    "name": name,
                    "version": number,
                    "purl": f"pkg:pypi/{name}@{number}",
                    **_licence(name),
                    "hashes": [],
                }
            )
        elif found and (one := _HASH.search(line)):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": one[1]})
    return found


def _licence(name: str) -> dict[str, Any]:
    """Give the licence that an installed package states; nothing for one that is for another platform."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return {}
    if "License-Expression" in said:
        return {"licenses": [{"expression": said["License-Expression"]}]}
    names = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License ::")]
    return {"licenses": [{"license": {"name": one}} for one in names]} if names else {}


def bill(lock: str) -> dict[str, Any]:
    """Write the bill. The same lock file gives the same bill: it holds no time and no serial number."""
    number = version("bode")
    listed = components(lock)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "bode", "name": "bode", "version": number},
        },
        "components": listed,
        "dependencies": [{"ref": "bode", "dependsOn": [one["bom-ref"] for one in listed]}],
    }


def main() -> None:
    """Print the bill of the run-time requirements."""
    lock = Path(__file__).parents[2] / "requirements" / "run.txt"
    sys.stdout.write(json.dumps(bill(lock.read_text("utf-8")), indent=2) + "\n")


if __name__ == "__main__":
    main()
