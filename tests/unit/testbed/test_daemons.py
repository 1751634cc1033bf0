from __future__ import annotations

import socket
from pathlib import Path

from rig.daemons import answers, last_lines


def test_listening_port_answers_and_a_closed_one_does_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert not answers(address)
        server.listen()
        assert answers(address)


def test_unix_socket_answers_once_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not answers(str(path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert answers(str(path))


def test_url_without_a_server_does_not_answer() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert not answers(f"https://127.0.0.1:{reserved.getsockname()[1]}/readyz")


def test_end_of_a_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {i}\n" for i in range(5000)))

    assert last_lines(log, count=2) == "line 4998\nline 4999"
    assert "never written" in last_lines(tmp_path / "none")
