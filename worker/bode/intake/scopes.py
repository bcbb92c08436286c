"""What an application may do. Each route of the API names one of these."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right of an application, in the words of the configuration and of access tokens."""

    SEND = "berichten:versturen"
    """Hand in, withdraw and call back."""
    READ = "berichten:lezen"
    """Search, and see how a message stands."""
    CHANGES = "statuswijzigingen:lezen"
    """Read the feed."""
    EVIDENCE = "bewijs:lezen"
    """Get extracts of evidence."""
