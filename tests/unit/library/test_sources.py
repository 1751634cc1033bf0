"""Sources to resume from: on this machine, on a real HTTP server on loopback, and in fsspec's memory file system."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._remote import SourceInvalid, SourceUnreachable, shown
from resumable_sweep._sources import Fetched, address_beside, fetched, fetched_beside, keep_aside, local_path
from resumable_sweep.contract.log_format import LogInvalid, line_of
from resumable_sweep.contract.manifest import Manifest, manifest_path

HEADER = line_of({"kind": "header", "schema_version": 2, "run_id": None, "shard": 0, "shards": 1, "created": 1.0})
LOG = HEADER + b"".join(line_of({"kind": "done", "key": key, "result": key}) for key in range(3))


def manifest_of(data: bytes, **fields: Any) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(**{"sha256": digest, "size_bytes": len(data), **fields}).to_json().encode()


class Server:
    """A server of `files` by their path as it came; `instead` holds answers that come before them, one a request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.instead: dict[str, list[Callable[[BaseHTTPRequestHandler], None]]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if outer.instead.get(self.path):
                    outer.instead[self.path].pop(0)(self)
                elif self.path in outer.files:
                    data = outer.files[self.path]
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., Fetched | None]:
    """`fetched` without waiting; the waits are in its attribute `waits`."""

    def call(source: str | os.PathLike[str], *, timeout_s: float = 10) -> Fetched | None:
        return fetched(source, tmp_path / "fetched" / "results", timeout_s=timeout_s, pause=waits.append)

    waits: list[float] = []
    call.waits = waits  # type: ignore[attr-defined]
    return call


def content(found: Fetched | None) -> bytes:
    assert found is not None
    assert found.damage is None
    return found.path.read_bytes()


def status(code: int, headers: dict[str, str] | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def short(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Half of what was promised, then the end."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])

    return answer


def short_chunked(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s" % (len(data), data[: len(data) // 2]))

    return answer


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


class Silence:
    """A server that takes the request and says nothing until the test is over."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self._over.wait(60)

    def end(self) -> None:
        self._over.set()


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/a/b.jsonl", "/a/b.jsonl"),
        ("file:///a/b.jsonl", "/a/b.jsonl"),
        ("file://localhost/a/b.jsonl", "/a/b.jsonl"),
        ("file:///a/50%25 of#it?.jsonl", "/a/50%25 of#it?.jsonl"),
    ],
)
def test_the_path_of_a_source(source: str, path: str) -> None:
    assert local_path(source) == Path(path)


def test_a_percent_encoded_url_is_read_where_only_that_names_a_file(tmp_path: Path) -> None:
    file = tmp_path / "with space.jsonl"
    file.touch()
    assert local_path(file.as_uri()) == file
    literal = tmp_path / "with%20space.jsonl"
    literal.touch()
    assert local_path(file.as_uri()) == literal


@pytest.mark.parametrize("form", [str, Path, Path.as_uri, lambda path: f"file://{path}"])
def test_a_file_of_this_machine_is_read_where_it_lies(
    tmp_path: Path, get: Callable[..., Fetched | None], form: Callable[[Path], str]
) -> None:
    file = tmp_path / "my results.jsonl"
    file.write_bytes(LOG)
    found = get(form(file))
    assert found is not None
    assert (found.path, found.damage, found.older) == (file, None, None)
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("name", ["missing", "missing/folder/log", "file/log"])
def test_what_is_missing_on_this_machine_is_a_fresh_start(
    tmp_path: Path, get: Callable[..., Fetched | None], name: str
) -> None:
    (tmp_path / "file").touch()
    assert get(tmp_path / name) is None
    assert get((tmp_path / name).as_uri()) is None


def test_what_this_machine_cannot_read_is_unreachable(
    tmp_path: Path, get: Callable[..., Fetched | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object, **__: object) -> None:
        raise OSError(116, "Stale file handle")

    file = tmp_path / "log"
    file.write_bytes(LOG)
    for name in ("stat", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, stale)
            with pytest.raises(SourceUnreachable, match="log cannot be read: Stale file handle"):
                get(file)


def test_a_folder_is_no_source(tmp_path: Path, get: Callable[..., Fetched | None]) -> None:
    with pytest.raises(SourceInvalid, match="is no file: name the log or progress file itself"):
        get(tmp_path)


def test_a_log_is_vouched_for_as_far_as_its_manifest_goes(tmp_path: Path, get: Callable[..., Fetched | None]) -> None:
    file = tmp_path / "log"
    file.write_bytes(LOG)
    manifest_path(file).write_bytes(manifest_of(HEADER))
    assert content(get(file)) == LOG
    file.write_bytes(LOG.replace(b'"run_id":null', b'"run_id":"ab"'))
    found = get(file)
    assert found is not None
    assert found.damage == "log does not hash to what its manifest says"
    assert get.waits == [1.0]  # type: ignore[attr-defined]
    file.write_bytes(HEADER[:50])
    found = get(file)
    assert found is not None
    assert found.damage == f"log has 50 bytes, its manifest says {len(HEADER)}"


def test_any_other_file_is_vouched_for_as_a_whole(tmp_path: Path, get: Callable[..., Fetched | None]) -> None:
    file = tmp_path / "state.npz"
    file.write_bytes(b"all of it")
    manifest_path(file).write_bytes(manifest_of(b"all of it"))
    assert content(get(file)) == b"all of it"
    for data in (b"all of it and more", b"all", b"all of us"):
        file.write_bytes(data)
        found = get(file)
        assert found is not None
        assert found.damage is not None
        assert "its manifest says" in found.damage


@pytest.mark.parametrize("text", [b"", b"{}", b"no JSON", b"[]", b'{"sha256": [], "size_bytes": {}}'])
def test_a_manifest_that_cannot_be_read_is_damage(
    tmp_path: Path, get: Callable[..., Fetched | None], text: bytes
) -> None:
    file = tmp_path / "log"
    file.write_bytes(LOG)
    manifest_path(file).write_bytes(text)
    found = get(file)
    assert found is not None
    assert found.damage == "the manifest of log cannot be read"


def test_a_newer_manifest_is_refused(tmp_path: Path, get: Callable[..., Fetched | None]) -> None:
    file = tmp_path / "log"
    file.write_bytes(LOG)
    manifest_path(file).write_bytes(manifest_of(LOG, schema_version=2))
    with pytest.raises(LogInvalid, match=r"schema version 2.*install a newer resumable-sweep"):
        get(file)


def test_a_writer_that_was_between_file_and_manifest_is_given_time(
    tmp_path: Path, get: Callable[..., Fetched | None]
) -> None:
    file = tmp_path / "state"
    file.write_bytes(b"new")
    manifest_path(file).write_bytes(manifest_of(b"old"))

    def writer_goes_on(_: float) -> None:
        manifest_path(file).write_bytes(manifest_of(b"new"))

    assert content(fetched(file, tmp_path / "into", pause=writer_goes_on)) == b"new"


def test_what_is_damaged_is_kept_aside(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    log = tmp_path / "results.jsonl"
    for number, text in enumerate(["one", "two"], start=1):
        damaged.write_text(text)
        kept = keep_aside(damaged, log)
        assert (kept.name, kept.read_text()) == (f"results.jsonl.corrupt-{number}", text)


def test_http_brings_the_file_and_its_manifest(server: Server, get: Callable[..., Fetched | None]) -> None:
    big = b"x" * (3 << 20)  # more than is read at once
    server.files = {"/a%20b/state%2Fx": big, "/a%20b/state%2Fx.manifest.json": manifest_of(big)}
    found = get(f"{server.url}/a%20b/state%2Fx")
    assert content(found) == big
    # As it was given: decoded and encoded anew it would be another address.
    assert set(server.asked) == set(server.files)
    server.files["/a%20b/state%2Fx"] = big[1:] + b"y"
    found = get(f"{server.url}/a%20b/state%2Fx")
    assert found is not None
    assert found.damage == "results does not hash to what its manifest says"


def test_a_manifest_from_before_does_not_speak_for_what_is_fetched_now(
    server: Server, get: Callable[..., Fetched | None]
) -> None:
    server.files = {"/log": b"old", "/log.manifest.json": manifest_of(b"old")}
    assert content(get(f"{server.url}/log")) == b"old"
    server.files = {"/log": b"new"}
    assert content(get(f"{server.url}/log")) == b"new"


@pytest.mark.parametrize("code", [404, 410])
def test_only_what_the_server_says_is_missing_is_a_fresh_start(
    server: Server, get: Callable[..., Fetched | None], code: int
) -> None:
    server.instead["/log"] = [status(code)]
    assert get(f"{server.url}/log") is None


PASSING = [status(500), status(502), status(503), status(429), status(408), reset, short(LOG), short_chunked(LOG)]


def test_what_may_pass_is_tried_again(server: Server, get: Callable[..., Fetched | None]) -> None:
    server.files["/log"] = LOG
    for trouble in PASSING:
        server.instead["/log"] = [trouble] * 4
        assert content(get(f"{server.url}/log")) == LOG
    assert get.waits == [0.5, 1.0, 2.0, 4.0] * len(PASSING)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/log", "/log.manifest.json"])
@pytest.mark.parametrize(
    ("trouble", "match"),
    [
        (status(503), "in 5 tries: the server answered 503 Service Unavailable"),
        (reset, "in 5 tries: .*[Rr]eset|in 5 tries: .*without response"),
        (short(LOG), f"in 5 tries: the answer ended after {len(LOG) // 2} of {len(LOG)} bytes"),
        (short_chunked(LOG), "in 5 tries: IncompleteRead"),
    ],
)
def test_what_does_not_pass_is_never_a_fresh_start(
    server: Server, get: Callable[..., Fetched | None], tmp_path: Path, trouble: Any, match: str, path: str
) -> None:
    server.files["/log"] = LOG
    server.instead[path] = [trouble] * 5
    with pytest.raises(SourceUnreachable, match=match):
        get(f"{server.url}/log")
    assert [file for file in (tmp_path / "fetched").glob("*") if file.name != "results.manifest.json"] == []


def test_a_server_that_says_nothing_is_unreachable(server: Server, get: Callable[..., Fetched | None]) -> None:
    silence = Silence()
    server.instead["/log"] = [silence] * 5
    try:
        with pytest.raises(SourceUnreachable, match=r"in 5 tries: .*timed out"):
            get(f"{server.url}/log", timeout_s=0.05)
    finally:
        silence.end()


def test_nobody_there_is_unreachable(get: Callable[..., Fetched | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but it does not listen: connections are refused
        with pytest.raises(SourceUnreachable, match=r"in 5 tries: .*refused"):
            get(f"http://127.0.0.1:{unused.getsockname()[1]}/log")
    with pytest.raises(SourceUnreachable, match="in 5 tries"):
        get("http://no-such-host.invalid/log")


def test_a_server_without_tls_is_unreachable_by_https(server: Server, get: Callable[..., Fetched | None]) -> None:
    with pytest.raises(SourceUnreachable, match=r"in 5 tries: .*SSL"):
        get(server.url.replace("http://", "https://") + "/log")


@pytest.mark.parametrize("code", [400, 401, 403, 204])
def test_a_refusal_is_not_tried_again_and_gives_no_secret_away(
    server: Server, get: Callable[..., Fetched | None], code: int
) -> None:
    server.instead["/log?signature=secret"] = [status(code)]
    with pytest.raises(SourceUnreachable, match=f"/log: the server answered {code}") as raised:
        get(f"{server.url}/log?signature=secret")
    assert "secret" not in str(raised.value)
    assert get.waits == []  # type: ignore[attr-defined]


def test_a_signed_url_needs_no_manifest(server: Server, get: Callable[..., Fetched | None], tmp_path: Path) -> None:
    server.files["/log?signature=secret"] = LOG
    server.instead["/log.manifest.json?signature=secret"] = [status(403), status(403)]
    assert fetched_beside(f"{server.url}/log?signature=secret", ".manifest.json", tmp_path / "manifest") is None
    found = get(f"{server.url}/log?signature=secret")
    assert content(found) == LOG
    assert found is not None
    assert found.origin == f"{server.url}/log"
    server.instead["/log.files/x?signature=secret"] = [status(403)]
    with pytest.raises(SourceUnreachable, match="403"):
        fetched_beside(f"{server.url}/log?signature=secret", ".files/x", tmp_path / "x")


def test_redirects_are_followed(server: Server, get: Callable[..., Fetched | None]) -> None:
    server.files = {"/there": LOG, "/there.manifest.json": manifest_of(LOG)}
    for name in ("/log", "/log.manifest.json"):
        server.instead[name] = [status(302, {"Location": name.replace("/log", "/there")})]
    assert content(get(f"{server.url}/log")) == LOG


def test_what_cannot_be_written_here_is_not_laid_on_the_source(server: Server, tmp_path: Path) -> None:
    server.files["/log"] = LOG
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists") as raised:
        fetched(f"{server.url}/log", tmp_path / "file" / "log", pause=lambda _: None)
    assert not isinstance(raised.value, SourceUnreachable)
    assert server.asked.count("/log") <= 1


def test_the_older_state_comes_from_the_same_place(
    server: Server, get: Callable[..., Fetched | None], tmp_path: Path
) -> None:
    progress = tmp_path / "out.progress.json"
    write_mime_progress(progress, [("a", 1)])
    write_mime_progress(progress, [("a", 1), ("b", 2)])
    server.files = {f"/{file.name}": file.read_bytes() for file in tmp_path.iterdir()}
    assert content(get(f"{server.url}/{progress.name}")) == progress.read_bytes()
    server.files[f"/{progress.name}"] = progress.read_bytes().replace(b"2", b"3")
    found = get(f"{server.url}/{progress.name}")
    assert found is not None
    assert found.damage == "results is not what its manifest says"
    assert found.older is not None
    assert json.loads(found.older.read_bytes()) == {"completed": [{"key": "a", "result": 1}]}
    # Without its own manifest nobody vouches for the older one.
    del server.files[f"/{progress.name}.previous.manifest.json"]
    found = get(f"{server.url}/{progress.name}")
    assert found is not None
    assert found.older is None


def test_a_pair_cut_off_elsewhere_is_vouched_for_by_what_lies_ready(
    server: Server, get: Callable[..., Fetched | None], tmp_path: Path
) -> None:
    progress = tmp_path / "out.progress.json"
    write_mime_progress(progress, [("a", 1)])
    server.files = {
        f"/{progress.name}": progress.read_bytes(),
        f"/{progress.name}.pending.manifest.json": manifest_path(progress).read_bytes(),
    }
    assert content(get(f"{server.url}/{progress.name}")) == progress.read_bytes()
    server.files[f"/{progress.name}"] = progress.read_bytes().replace(b"1", b"2")
    found = get(f"{server.url}/{progress.name}")
    assert found is not None
    assert found.damage == "results is none of those that the manifests beside it speak of"


def test_any_other_scheme_goes_by_fsspec(memory: Any, get: Callable[..., Fetched | None]) -> None:
    assert get("memory://bucket/log") is None
    memory.pipe("/bucket/log", LOG)
    assert content(get("memory://bucket/log")) == LOG
    memory.pipe("/bucket/log.manifest.json", manifest_of(LOG))
    assert content(get("memory://bucket/log")) == LOG
    memory.pipe("/bucket/log", LOG[:100])
    found = get("memory://bucket/log")
    assert found is not None
    assert found.damage == f"results has 100 bytes, its manifest says {len(LOG)}"


def test_what_a_file_system_fails_with_is_unreachable(
    memory: Any, get: Callable[..., Fetched | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no credentials")

    memory.pipe("/bucket/log", LOG)
    monkeypatch.setattr(type(memory), "open", fails)
    with pytest.raises(SourceUnreachable, match="memory://bucket/log: RuntimeError: no credentials"):
        get("memory://bucket/log")


def test_a_file_that_ends_early_is_unreachable(
    memory: Any, get: Callable[..., Fetched | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/bucket/log", LOG)
    monkeypatch.setattr(type(memory), "size", lambda *_: len(LOG) + 1)
    with pytest.raises(SourceUnreachable, match=f"in 5 tries: the file ended after {len(LOG)} of {len(LOG) + 1} bytes"):
        get("memory://bucket/log")


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("nonsense://bucket/log", "scheme that fsspec knows"),
        ("https:///log", "names no host"),
        ("http://[::1/log", "is no URL"),
        ("http://host/a b", "holds blanks or letters beyond ASCII: percent-encode it"),
        ("http://host/ü", "holds blanks or letters beyond ASCII: percent-encode it"),
        ("http://host:port/log", "is no URL"),
        ("file://x", "names no absolute path"),
    ],
)
def test_what_is_no_address_is_refused(get: Callable[..., Fetched | None], source: str, match: str) -> None:
    with pytest.raises(SourceInvalid, match=match):
        get(source)
    with pytest.raises(SourceInvalid, match=match):
        fetched_beside(source, ".files/x", Path("/nowhere"), pause=lambda _: None)


@pytest.mark.parametrize(
    ("source", "absent", "mend"),
    [
        ("gs://bucket/log", "fsspec", "pip install fsspec gcsfs"),
        ("s3://bucket/log", "s3fs", "pip install fsspec s3fs"),
        ("memory://bucket/log", "fsspec", "pip install fsspec"),
    ],
)
def test_without_the_package_the_message_says_what_to_install(
    get: Callable[..., Fetched | None], monkeypatch: pytest.MonkeyPatch, source: str, absent: str, mend: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(SourceInvalid, match=f"{mend}$"):
        get(source)


def test_a_file_beside_the_source(server: Server, memory: Any, tmp_path: Path) -> None:
    into = tmp_path / "into"
    log = tmp_path / "log"
    (tmp_path / "log.files").mkdir()
    side = tmp_path / "log.files" / "ab.npy"
    side.write_bytes(b"array")
    assert fetched_beside(log, ".files/ab.npy", into) == side
    assert fetched_beside(log.as_uri(), ".files/cd.npy", into) is None
    server.files["/log.files/ab.npy?x=1"] = b"by http"
    assert fetched_beside(f"{server.url}/log?x=1", ".files/ab.npy", into) == into
    assert into.read_bytes() == b"by http"
    assert fetched_beside(f"{server.url}/log?x=1", ".files/cd.npy", into) is None
    memory.pipe("/log.files/ab.npy", b"by fsspec")
    assert fetched_beside("memory://log", ".files/ab.npy", into) == into
    assert into.read_bytes() == b"by fsspec"


@pytest.mark.parametrize(
    ("source", "beside"),
    [
        ("gs://b/log", "gs://b/log.x"),
        ("gs://b/what?log", "gs://b/what?log.x"),
        ("https://h/log?a=b?c", "https://h/log.x?a=b?c"),
    ],
)
def test_the_address_beside(source: str, beside: str) -> None:
    assert address_beside(source, ".x") == beside


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("https://user:word@host/log?signature=x", "https://host/log"),
        ("https://host?signature=x", "https://host"),
        ("file:///a?b@c", "file:///a?b@c"),
        ("/a?b", "/a?b"),
    ],
)
def test_messages_give_no_secret_away(source: str, text: str) -> None:
    assert shown(source) == text
