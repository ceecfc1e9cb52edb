"""How far reading a media item has come, for those who wait for it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Reading:
    """Filled in while an item is read.

    Attributes:
        seconds: Of a sound or a film: how much of it was read.
        parts: Of a container: how many of its parts were read.
        part_count: Of a container: how many parts it has; 0: it is none, or was not opened yet.
    """

    seconds: float = 0.0
    parts: int = 0
    part_count: int = 0

    def read(self, seconds: float) -> None:
        """Take note of how much was read; pictures and sound of a film come by turns."""
        self.seconds = max(self.seconds, seconds)
