from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from soak.relay import Relay


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says what it hears, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    while said := connection.recv(100):
                        connection.sendall(said)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def said_back(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(100)


def is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_all_that_is_open_is_cut_and_what_comes_later_passes(echo: int) -> None:
    with Relay(echo) as relay, socket.create_connection(("127.0.0.1", relay.port), 10) as first:
        assert said_back(first, b"one") == b"one"
        assert relay.cut() == 1
        assert is_over(first)
        with socket.create_connection(("127.0.0.1", relay.port), 10) as second:
            assert said_back(second, b"two") == b"two"


def test_where_nobody_listens_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Relay(port) as relay, socket.create_connection(("127.0.0.1", relay.port), 10) as connection:
        assert is_over(connection)
