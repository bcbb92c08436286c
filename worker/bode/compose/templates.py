"""Template files as the composers read them: once, at construction, with a version that follows from their text."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


class TemplateError(Exception):
    """A template file that cannot be used: `file` is which one, `fault` what is wrong with it."""

    def __init__(self, file: Path, fault: str) -> None:
        """Say both in one sentence."""
        super().__init__(f"template {file} cannot be used: {fault}")
        self.file = file
        self.fault = fault


def read_template(file: Path) -> str:
    """Give the text of a template. Raises `TemplateError` when it is missing or no UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TemplateError(file, "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(file, str(error)) from error


def versioned(name: str, *sources: str) -> str:
    """Give the name and version that evidence keeps, as `bericht@1a2b3c4d`: the version is a hash of the sources."""
    digest = sha256()
    for source in sources:
        digest.update(sha256(source.encode()).digest())
    return f"{name}@{digest.hexdigest()[:8]}"
