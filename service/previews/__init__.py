"""What people are shown of references and captured contents: made in the sandbox, kept, and read here."""

from service.previews.making import PreviewMaker
from service.previews.reading import OpenPreview, PreviewReader

__all__ = ["OpenPreview", "PreviewMaker", "PreviewReader"]
