"""The one place where connections begin: only to addresses that may be connected to.

Names are resolved first and the resolved address is what `connectTCP` gets, so there is no moment between
looking and connecting in which a name could change its mind (DNS rebinding), and no way of writing an address
that is not seen here. It holds for every request, redirects and robots.txt among them.
"""

import asyncio
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor

from crawler.addresses import Network, refusal


class RefusedAddressError(Exception):
    """A name resolved to an address that must not be connected to."""


def refusal_in(error: BaseException | None) -> RefusedAddressError | None:
    """Return the refusal that led to an error; None: it was something else."""
    while error is not None and not isinstance(error, RefusedAddressError):
        error = error.__cause__ or error.__context__
    return error


class GuardedReactor(AsyncioSelectorReactor):
    """Twisted's reactor on asyncio, which refuses addresses."""

    def __init__(
        self, eventloop: asyncio.AbstractEventLoop | None = None, allowed: tuple[Network, ...] = ()
    ) -> None:
        """Use an event loop.

        Args:
            eventloop: None: a new one.
            allowed: Networks that may be connected to whatever they are.
        """
        super().__init__(eventloop)
        self._allowed = allowed

    def connectTCP(self, host: Any, port: int, factory: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        """Connect, if the address may be connected to.

        Raises:
            RefusedAddressError: If not.
        """
        reason = refusal(str(host), self._allowed)
        if reason:
            raise RefusedAddressError(reason)
        return super().connectTCP(host, port, factory, *args, **kwargs)


def install_guarded_reactor(allowed: tuple[Network, ...]) -> asyncio.AbstractEventLoop:
    """Make the guarded reactor the process's own; returns its event loop. Once in a process."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    install: Any = installReactor
    install(GuardedReactor(loop, allowed))
    return loop
