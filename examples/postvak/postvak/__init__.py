"""An adapter for Postvak, an imagined box with a small REST API: the example of docs/adding-adapters.md."""

from postvak.box import PostvakBox, PostvakSettings

__all__ = ["PostvakBox", "PostvakSettings"]
