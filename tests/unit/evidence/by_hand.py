"""A second verifier, written from docs/evidence.md alone: `openssl` and the standard library, nothing of Bode.

python by_hand.py EXTRACT.zip 'name+id+base64'
"""

import base64
import json
import subprocess
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

extract, vkey = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
names = extract.namelist()
assert len(names) == len(set(names)), "a name is there twice"
read = {name: extract.read(name) for name in names}
stated = json.loads(read["extract.json"])
last = len(stated["events"]) + 1
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)


def openssl(*arguments: str, **files: bytes) -> str:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments[0]} says no"
    return done.stdout.split()[-1]


# The checkpoint: the key's name and id, its signature, and the log that is stated.
name, key_id, key = vkey.split("+", 2)
text, _, lines = read["checkpoint"].decode().rpartition("\n\n")
mine = [base64.b64decode(line.split(" ")[2]) for line in lines.splitlines() if line.split(" ")[1] == name]
(signature,) = [line[4:] for line in mine if line[:4].hex() == key_id]
public = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(key)[1:]
verify = "pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in text -sigfile signature"
openssl(*verify.split(), key=public, text=(text + "\n").encode(), signature=signature)
origin, size, root = text.split("\n")
assert origin == name == stated["log"], "another log"

# Each event: its hash, its place in the message, the chain before it, its details.
chain = bytes(32)
for seq in range(1, last + 1):
    entry = stated["events"][seq - 1] if seq < last else {"open": True}
    if entry["open"]:
        data = read[f"events/{seq:06d}.json"]
        event = json.loads(data)
        assert entry.get("hash") in (None, sha256(b"\x00" + data).hexdigest()), f"event {seq}: its hash"
        assert (event["message"], event["seq"]) == (stated["message"], seq), f"event {seq}: its place"
        assert event["previous"] == chain.hex(), f"event {seq}: what came before"
        if "salt" in entry:
            hmac = ("dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{entry['salt']}", "details")
            details = read[f"details/{seq:06d}.json"]
            assert openssl(*hmac, details=details) == event["detail_commit"], f"event {seq}: its details"
    chain = sha256(b"\x02" + chain + bytes.fromhex(entry.get("hash", ""))).digest()
assert event["event"] == "copy.issued"
assert event["detail"]["extract"] == openssl("dgst", "-sha256", "stated", stated=read["extract.json"]), "extract.json"
assert all(sha256(read[name]).hexdigest() == hash_ for name, hash_ in stated["files"].items()), "a file"


def climb(position: int, count: int, proof: list[str], leaf: bytes) -> bytes:
    """Give the root that a proof leads to, by halving as RFC 6962 section 2.1.1 does."""
    if count == 1:
        assert not proof
        return leaf
    half = 1 << (count - 1).bit_length() - 1
    sibling = bytes.fromhex(proof[-1])
    if position < half:
        return sha256(b"\x01" + climb(position, half, proof[:-1], leaf) + sibling).digest()
    return sha256(b"\x01" + sibling + climb(position - half, count - half, proof[:-1], leaf)).digest()


proven = json.loads(read["proof.json"])["inclusions"]
assert [one["seq"] for one in proven] == [*(e["seq"] for e in stated["events"] if e["open"]), last], "proofs"
for one in proven:
    leaf = sha256(b"\x00" + read[f"events/{one['seq']:06d}.json"]).digest()
    assert one["position"] < int(size), "an old checkpoint"
    top = climb(one["position"], int(size), one["proof"], leaf)
    assert top == base64.b64decode(root), f"event {one['seq']}: the log"
sys.stdout.write(f"{last - 1} events, the log of {size} is signed by {name}\n")
