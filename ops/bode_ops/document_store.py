"""Makes the store of documents that `[documents]` names: a folder, or a bucket with the package of `bode[objects]`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from bode.settings import BucketSettings, ConfigError, Settings
from bode.store.documents import BucketDocuments, Elsewhere, FolderDocuments


def build_documents(settings: Settings) -> Elsewhere:
    """Make the store of documents. Raises `ConfigError` for a bucket that cannot be used."""
    found = settings.documents
    if found is None:
        return Elsewhere()
    if found.s3 is None:
        return Elsewhere(FolderDocuments(found.folder or Path("var/documents")), found.above_bytes)
    return Elsewhere(BucketDocuments(_bucket(found.s3), found.s3.prefix), found.above_bytes)


def _bucket(found: BucketSettings) -> Any:
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - only where a bucket is configured
    except ImportError as error:
        what = "install the package for it: pip install 'bode[objects]'"
        raise ConfigError(f"configuration: documents.s3: {what}") from error
    given: dict[str, Any] = {"endpoint": found.endpoint, "region": found.region}
    for name, secret in (("access_key_id", found.access_key_id), ("secret_access_key", found.secret_access_key)):
        given[name] = secret.get_secret_value() if secret is not None else None
    try:
        options: dict[str, Any] = {
            "timeout": f"{found.timeout_seconds:g}s",
            "allow_http": (found.endpoint or "").startswith("http://"),
        }
        if found.ca_file is not None:
            options["root_certificate"] = found.ca_file.read_bytes()
        make: Any = S3Store
        return make(
            found.bucket,
            config={key: value for key, value in given.items() if value is not None},
            client_options=options,
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=found.timeout_seconds)},
        )
    except Exception as error:  # noqa: BLE001 - of many kinds, and their own text names what was given
        raise ConfigError(f"configuration: documents.s3: cannot be used ({type(error).__name__})") from None
