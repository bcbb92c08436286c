"""The example adapter: its own suite in place, and from its wheel, where Bode finds it by its entry point."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import toml_parts

from bode.store.vault import write_key_file

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "postvak"
CONFIG = (
    """
[database]
url = "sqlite:///{folder}/bode.db"
[keys]
file = "{folder}/bode.key"
[channels.postvak]
adapter = "postvak"
kind = "box"
label = "Postvak"
url = "https://postvak.example"
ceiling = "substantieel"
primary = true
[channels.postvak.settings]
base_url = "http://127.0.0.1:9"
token = "geheim"
[organisations.00000001999000010000]
name = "Gemeente Maasveld"
email = "noreply@gemeente.example"
contact = "14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
"""
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
)


def run(command, *, cwd, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_examples_own_suite_passes_in_place(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "postvak", ignore=shutil.ignore_patterns("__pycache__"))
    code, said = run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "postvak",
        PYTHONPATH=str(tmp_path / "postvak"),
    )
    assert code == 0, said
    assert "skipped" not in said


def test_the_example_knows_the_adapters_package_and_nothing_of_the_worker():
    files = sorted((EXAMPLE / "postvak").glob("*.py"))
    assert len(files) >= 4
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & {"bode", "bode_ops"}, file


@pytest.mark.slow
def test_the_examples_wheel_is_found_by_its_entry_point(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    code, said = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"], cwd=source)
    assert code == 0, said
    (wheel,) = (tmp_path / "dist").glob("*.whl")

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    offline = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    code, said = run([*offline, wheel], cwd=tmp_path)
    assert code == 0, said
    # What Bode itself needs is borrowed from where these tests run; `addsitedir` reads its .pth files too.
    borrowed = sysconfig.get_path("purelib")
    site = next((tmp_path / "venv" / "lib").glob("python3.*")) / "site-packages"
    (site / "borrowed.pth").write_text(f"import site; site.addsitedir({borrowed!r})\n")

    tests = tmp_path / "tests"
    shutil.copytree(EXAMPLE / "tests", tests)
    shutil.copy(EXAMPLE / "pyproject.toml", tmp_path / "pyproject.toml")
    shutil.rmtree(source)
    code, said = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path)
    assert code == 0, said
    assert "skipped" not in said

    (tmp_path / "print" / "in").mkdir(parents=True)
    write_key_file(tmp_path / "bode.key")
    config = tmp_path / "bode.toml"
    config.write_text(CONFIG.format(folder=tmp_path))
    bode = ["-c", "from bode_ops.cli import main; main()", "config", "check", "--config", config]
    code, said = run([python, *bode], cwd=tmp_path)
    assert code == 0, said
    assert "channel       postvak: postvak (box, up to substantieel, primary)" in said
    # Without the package the same configuration names an adapter that nobody has installed.
    code, said = run([sys.executable, *bode], cwd=tmp_path)
    assert code == 2, said
    assert "'postvak'" in said
    assert "installed are" in said
