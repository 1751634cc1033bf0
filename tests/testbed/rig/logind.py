"""A stand-in for systemd-logind: enough of it for the kubelet's graceful node shutdown.

The kubelet takes a delay inhibitor lock and listens for ``PrepareForShutdown``; the machine stays on until it closes
the lock. Interface: https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.login1.html
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from rig.daemons import Daemon, answers

SOCKET = "/run/dbus/system_bus_socket"
_NAME = "org.freedesktop.login1"
_PATH = "/org/freedesktop/login1"
_INTERFACE = "org.freedesktop.login1.Manager"
# More than the kubelet's own 30 s: with less it would rewrite logind's configuration and ask for a reload.
_LONGEST_DELAY_SECONDS = 40.0

_BUS_CONFIG = f"""<busconfig>
  <type>system</type>
  <listen>unix:path={SOCKET}</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


def bus() -> Daemon:
    """The machine's system bus; writes its configuration into the machine's own /run."""
    config = Path(SOCKET).parent / "testbed.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(_BUS_CONFIG)
    return Daemon(
        name="dbus-daemon", argv=["/usr/bin/dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    )


class LoginManager:
    """Answers for ``org.freedesktop.login1`` on the machine's own system bus."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._locks: set[int] = set()  # read ends: end of file tells that the holder let go, or died
        self._released = asyncio.Event()
        self._released.set()

    @classmethod
    async def start(cls) -> LoginManager:
        """Wait for the bus, then serve on it."""
        while not answers(SOCKET):  # noqa: ASYNC110 (another program makes it, and tells nobody)
            await asyncio.sleep(0.02)
        bus = await MessageBus(
            bus_type=BusType.SYSTEM, bus_address=f"unix:path={SOCKET}", negotiate_unix_fd=True
        ).connect()
        manager = cls(bus)
        bus.add_message_handler(manager._answer)
        await bus.request_name(_NAME)
        return manager

    async def shut_down(self) -> None:
        """Announce the shutdown and wait until every lock is released, or until the longest delay is over."""
        await self._bus.send(Message.new_signal(_PATH, _INTERFACE, "PrepareForShutdown", "b", [True]))
        try:
            await asyncio.wait_for(self._released.wait(), _LONGEST_DELAY_SECONDS)
        except TimeoutError:
            print(f"{len(self._locks)} locks still held after {_LONGEST_DELAY_SECONDS:.0f} s", flush=True)

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type != MessageType.METHOD_CALL or message.path != _PATH:
            return None
        if message.member == "Inhibit":
            return self._inhibit(message)
        if message.member == "Get" and message.body[1] == "InhibitDelayMaxUSec":
            return Message.new_method_return(message, "v", [Variant("t", int(_LONGEST_DELAY_SECONDS * 1_000_000))])
        return None

    def _inhibit(self, message: Message) -> bool:
        ours, theirs = os.pipe()
        self._locks.add(ours)
        self._released.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._release, ours)
        sent = asyncio.ensure_future(self._bus.send(Message.new_method_return(message, "h", [0], unix_fds=[theirs])))
        # Only when it is on its way may our copy be closed: the lock ends with the last copy of that end.
        sent.add_done_callback(lambda _: os.close(theirs))
        return True

    def _release(self, lock: int) -> None:
        asyncio.get_running_loop().remove_reader(lock)
        os.close(lock)
        self._locks.discard(lock)
        if not self._locks:
            self._released.set()
