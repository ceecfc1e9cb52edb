"""Which files of previews somebody is about to need, so that nobody erases them in that moment."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

_AT_ONCE: Final = 500


class Pins:
    """Files that were kept, and whose rows are not committed yet. For many threads at a time."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._changed = threading.Condition()
        self._held: Counter[bytes] = Counter()
        self._loose: set[bytes] = set()
        self._doomed: set[bytes] = set()

    @contextmanager
    def pinned(self) -> Iterator[Callable[[bytes], None]]:
        """Give a function that holds a digest, which is called before the file is kept.

        It waits where that very file is being erased. When the context is left, its digests are held no
        longer. They count as loose then: nobody may have noted that they are needed.
        """
        mine: list[bytes] = []

        def pin(sha256: bytes) -> None:
            with self._changed:
                self._changed.wait_for(lambda: sha256 not in self._doomed)
                self._held[sha256] += 1
            mine.append(sha256)

        try:
            yield pin
        finally:
            with self._changed:
                self._held -= Counter(mine)
                self._loose.update(mine)

    def take_loose(self) -> list[bytes]:
        """Digests that were held, and have not been asked for since; some hundred at a time."""
        with self._changed:
            some = [sha256 for sha256 in self._loose if sha256 not in self._held][:_AT_ONCE]
            self._loose.difference_update(some)
            return some

    def unless_held(
        self,
        sha256s: Collection[bytes],
        in_use: Callable[[Collection[bytes]], set[bytes]],
        erase: Callable[[bytes], None],
    ) -> list[bytes]:
        """Erase files that are not needed, while nobody can begin to need one of them. Blocking.

        Args:
            sha256s: Which, perhaps.
            in_use: Tells which of them are needed.
            erase: Erases one.

        Returns:
            Those that were looked at: all but the held ones.
        """
        with self._changed:
            free = [sha256 for sha256 in sha256s if sha256 not in self._held]
            self._doomed.update(free)
        try:
            used = in_use(free)
            for sha256 in free:
                if sha256 not in used:
                    erase(sha256)
        finally:
            with self._changed:
                self._doomed.difference_update(free)
                self._changed.notify_all()
        return free
