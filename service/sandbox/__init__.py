"""Reads untrusted media in worker processes, so that a hostile file ends a worker and never the service.

A worker may take so much memory, time and pixels and no more; it sees one media item at a time through a
read-only file descriptor, and answers in a format (`wire`) that is checked as if the worker were hostile.
"""

from service.sandbox.pool import Pool, Received, read_twice
from service.sandbox.process import ForkServer
from service.sandbox.reading import Reading
from service.sandbox.spool import spool
from service.sandbox.vouch import digest_of, vouched
from service.sandbox.wire import Listing, ReadMedia

__all__ = [
    "ForkServer",
    "Listing",
    "Pool",
    "ReadMedia",
    "Reading",
    "Received",
    "digest_of",
    "read_twice",
    "spool",
    "vouched",
]
