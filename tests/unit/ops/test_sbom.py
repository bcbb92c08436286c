"""The bill of materials names every package of the lock file, as it is locked."""

import re
from pathlib import Path

from bode_ops import sbom

LOCK = (Path(__file__).parents[3] / "requirements" / "run.txt").read_text("utf-8")


def test_every_locked_package_is_in_the_bill_with_its_version_and_hashes():
    bill = sbom.bill(LOCK)
    pinned = set(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.MULTILINE))
    assert {(one["name"], one["version"]) for one in bill["components"]} == {(n.lower(), v) for n, v in pinned}
    assert sum(len(one["hashes"]) for one in bill["components"]) == LOCK.count("--hash=sha256:")
    assert all(one["hashes"] for one in bill["components"])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert set(bill["dependencies"][0]["dependsOn"]) == {one["bom-ref"] for one in bill["components"]}


def test_licences_are_told_of_what_is_installed():
    told = {one["name"]: one.get("licenses") for one in sbom.components(LOCK)}
    assert told["sqlalchemy"]
    assert told["cryptography"]
