"""Reads untrusted media in worker processes, so that a hostile file ends a worker and never the service.

A worker may take so much memory, time and pixels and no more; it sees one media item at a time through a
read-only file descriptor, and answers in a format (`wire`) that is checked as if the worker were hostile.
"""

from service.sandbox.pool import Pool
from service.sandbox.process import ForkServer
from service.sandbox.spool import spool
from service.sandbox.vouch import digest_of, vouched
from service.sandbox.wire import ReadMedia

__all__ = ["ForkServer", "Pool", "ReadMedia", "digest_of", "spool", "vouched"]
