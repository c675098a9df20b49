"""A little Hub on the loopback: the parts of its HTTP interface that huggingface_hub uses."""

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

LARGE = 2_000  # files from this size on are LFS, addressed by sha256
SIGNATURE = "5e3c7e7"  # of where files are redirected to
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Repo:
    """A repository at one commit, which a test may move on; `token` makes it private."""

    def __init__(self, files: dict[str, bytes], *, token: str = "", gated: bool = False) -> None:
        self.files = files
        self.token = token
        self.gated = gated
        self.commit = COMMIT
        self.claims: dict[str, int] = {}  # file → the size that its listing has

    def entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        found: dict[str, Any] = {"size": len(data), "oid": git(data)}
        if len(data) >= LARGE:
            sha = hashlib.sha256(data).hexdigest()
            found["lfs"] = {"oid": sha, "sha256": sha, "size": len(data), "pointerSize": 134}
        return found

    def etag(self, name: str) -> str:
        found = self.entry(name)
        return str(found["lfs"]["oid"] if "lfs" in found else found["oid"])


class Hub:
    """`requests` are (method, path, authorization); faults are switched on by attributes."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.silent = threading.Event()  # set: accept and never answer
        self.status = 0  # answer everything with this
        self.hang_in: str = ""  # a file whose body stops half-way
        self.hanging = threading.Event()  # set once it did
        self.resume = threading.Event()  # set: the body goes on
        self.cut: dict[str, int] = {}  # file → how often its body is cut off half-way
        self.elsewhere = ""  # a server that files are redirected to
        self.corrupt: set[str] = set()  # files whose last byte is wrong
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> Repo:
        self.repos[name] = Repo(files, **options)
        return self.repos[name]

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        gets = [path for method, path, _ in self.requests if method == "GET"]
        return {path.split(f"/resolve/{COMMIT}/")[1] for path in gets if "/resolve/" in path}

    def close(self) -> None:
        self.closing.set()
        self.resume.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("authorization", "")))
        if self.hub.silent.is_set():
            self.hub.closing.wait()
            return
        if self.hub.status:
            self._refuse(self.hub.status, "")
            return
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) > 3:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "")

    do_HEAD = do_GET

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        given = self.headers.get("authorization", "")
        if repo is None or (repo.token and given != f"Bearer {repo.token}"):
            self._refuse(404, "RepoNotFound")
            return None
        if repo.gated:
            self._refuse(403, "GatedRepo")
            return None
        return repo

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        revision = "/".join(rest[1:]) or "main"
        if revision not in ("main", "refs/pr/1", repo.commit):
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._json([{"type": "file", "path": n, **repo.entry(n)} for n in repo.files])
        else:
            files = [{"rfilename": n, **_sibling(repo, n)} for n in repo.files]
            self._json({"id": name, "sha": repo.commit, "siblings": files})

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if revision != repo.commit or file not in repo.files:
            self._refuse(404, "EntryNotFound")
            return
        if self.hub.elsewhere:
            self.send_response(302)
            signed = f"{self.hub.elsewhere}{self.path}?X-Amz-Signature={SIGNATURE}"
            self.send_header("Location", signed)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", f'"{repo.etag(file)}"')
            self.send_header("X-Repo-Commit", repo.commit)
            self.send_header("X-Linked-Size", str(len(repo.files[file])))
            self.send_header("X-Linked-Etag", f'"{repo.etag(file)}"')
            self.end_headers()
            return
        self._file(repo, file)

    def _file(self, repo: Repo, name: str) -> None:
        data = repo.files[name]
        start = 0
        wanted = self.headers.get("range", "")
        if wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        sent = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(sent)))
        self.send_header("ETag", f'"{repo.etag(name)}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-Etag", f'"{repo.etag(name)}"')
        self.end_headers()
        if self.command == "GET":
            self._body(name, sent)

    def _body(self, name: str, data: bytes) -> None:
        half = len(data) // 2
        if self.hub.hang_in == name:
            self.wfile.write(data[:half])
            self.hub.hanging.set()
            self.hub.resume.wait()
            if self.hub.closing.is_set():
                self.close_connection = True
            else:
                self.wfile.write(data[half:])
        elif self.hub.cut.get(name):
            self.hub.cut[name] -= 1
            self.wfile.write(data[:half])
            self.close_connection = True
        elif name in self.hub.corrupt:
            self.wfile.write(data[:-1] + bytes([data[-1] ^ 1]))
        else:
            self.wfile.write(data)

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _sibling(repo: Repo, name: str) -> dict[str, Any]:
    entry = repo.entry(name)
    found = {"size": repo.claims.get(name, entry["size"]), "blobId": entry["oid"]}
    return found | ({"lfs": entry["lfs"]} if "lfs" in entry else {})


def git(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    """A model folder as a repository's files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def store(cache: Path, name: str, files: dict[str, bytes], commit: str = COMMIT) -> Path:
    """The files as a Hub cache keeps them, without a listing; returns the snapshot."""
    folder = cache / f"models--{name.replace('/', '--')}"
    for file, data in files.items():
        blob = folder / "blobs" / git(data)
        link = folder / "snapshots" / commit / file
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        up = "../" * (len(Path(file).parts) + 1)
        link.symlink_to(f"{up}blobs/{blob.name}")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


def bare_user(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """A user without a cache, a token or switches."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
