"""What people are shown of references and captured contents: made in the sandbox, kept in blobs, read here."""

from service.previews.reading import OpenPreview, PreviewReader

__all__ = ["OpenPreview", "PreviewReader"]
