"""What can be wrong with media and fingerprints.

::

    IndexerError
    ├── MediaError                a media item cannot be read
    │   ├── UnsupportedMediaError   its format is not known, or not enabled
    │   ├── DamagedMediaError       its format is known, its bytes are broken
    │   ├── MediaLimitError         reading it would take more than the limits allow
    │   └── FeaturelessMediaError   nothing in it tells its copies from anything else
    ├── FingerprintError          descriptors do not fit their scheme
    ├── SnapshotError             an index file is damaged or of another scheme
    └── ModelError                a neural network's file cannot be used

Every message names what was wrong and what to do next.
"""


class IndexerError(Exception):
    """Root of this package's errors."""


class MediaError(IndexerError):
    """A media item cannot be read."""


class UnsupportedMediaError(MediaError):
    """The format is not known, or not enabled."""


class DamagedMediaError(MediaError):
    """The format is known, the bytes are broken."""


class MediaLimitError(MediaError):
    """Reading it would take more than the limits allow."""


class FeaturelessMediaError(MediaError):
    """It can be read, and holds nothing by which copies of it could be told: it is no reference."""


class FingerprintError(IndexerError, ValueError):
    """Descriptors do not fit their scheme."""


class SnapshotError(IndexerError):
    """An index file is damaged or belongs to another scheme."""


class ModelError(IndexerError):
    """A neural network's file cannot be read, or is not the one that its scheme names."""
