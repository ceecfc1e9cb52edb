"""The process that workers are forked from: all libraries are loaded once, in it.

It is ``python -m service.sandbox.forkserver``. Standard input is a Unix socket to the service. Each message
asks for a worker: it comes with the worker's end of its socket and one end of its leash. The service writes
to a leash, or closes it, to have the worker killed; when the worker has ended, its exit status is written to
the leash. Workers end with this process, and this process ends with the service's end of its socket.

It reads no media. It forks, so that no second thread may run in it: what starts threads, such as the
network's runtime, is loaded by workers (`Modality.prepare`).
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Never

from indexers import registry
from service.sandbox import confine, wire, worker

_REQUEST_BYTES = 1024 * 1024


def main() -> None:
    """Fork workers until the socket is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the service, which ends its workers itself
        signal.signal(number, signal.SIG_IGN)
    confine.die_with_parent()
    for modality in registry.modalities():
        modality.load()
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise AssertionError("a library has started a thread, which does not survive a fork")
    gc.freeze()  # so that collections in workers leave the pages that they share alone
    with socket.socket(fileno=0) as control:
        _ForkServer(control).run()


class _ForkServer:
    """The loop: requests, ends of workers, leashes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._leashes: dict[int, socket.socket] = {}
        self._ended, waker = socket.socketpair()
        for one in (self._ended, waker):
            one.setblocking(False)
        signal.set_wakeup_fd(waker.detach())
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the service closes the socket."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    if not self._fork():
                        return
                elif key.fileobj is self._ended:
                    self._reap()
                else:
                    self._kill(key.data)

    def _fork(self) -> bool:
        """Answer a request; tell whether there was one."""
        message, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST_BYTES, 2)
        if not message:
            return False
        channel, leash = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        process = os.fork()
        if process == 0:
            leash.close()
            self._forget()
            _work(channel, json.loads(message))
        channel.close()
        self._leashes[process] = leash
        self._selector.register(leash, selectors.EVENT_READ, process)
        return True

    def _forget(self) -> None:
        """Leave to the parent what is the parent's."""
        os.close(signal.set_wakeup_fd(-1))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (self._control, self._ended, *self._leashes.values()):
            one.close()

    def _kill(self, process: int) -> None:
        """Kill a worker whose leash was pulled; it may have ended by itself in the same moment."""
        leash = self._leashes.get(process)
        if leash is not None:
            self._selector.unregister(leash)
            os.kill(process, signal.SIGKILL)  # it was not reaped yet: the number is its own

    def _reap(self) -> None:
        """Report workers that have ended."""
        self._ended.recv(4096)
        while self._leashes:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            leash = self._leashes.pop(process)
            if leash.fileno() in self._selector.get_map():
                self._selector.unregister(leash)
            code = os.waitstatus_to_exitcode(status)
            with leash:
                try:
                    leash.send(wire.STATUS.pack(code))
                except OSError:  # the service has closed its end: it does not want to know
                    continue


def _work(channel: socket.socket, arguments: list[str]) -> Never:
    """Be a worker, from the fork to the end."""
    code = 1
    try:
        os.dup2(channel.detach(), 0)
        worker.main(arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        with contextlib.suppress(OSError):  # a log in a file takes nothing from a confined process
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
