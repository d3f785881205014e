"""A hub on this machine: the few addresses of huggingface.co that fetching a commit uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Repositories by "models/org/name" or "datasets/org/name"; each file as bytes."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    served: list[str] = field(default_factory=list)
    """Paths of the files whose content was sent."""
    endpoint: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = unquote(urlparse(path).path).strip("/").split("/")
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        kind = parts[0] if parts[0] in ("models", "datasets") else "models"
        rest = parts[1:] if parts[0] == kind else parts
        name, verb, revision, file = "/".join(rest[:2]), *(rest[2:4] or ("", COMMIT)), "/".join(rest[4:])
        repository = self.repositories.get(f"{kind}/{name}")
        if repository is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if f"{kind}/{name}" in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if revision != COMMIT:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if api and not verb:
            return 200, {"Content-Type": "application/json"}, json.dumps({"id": name, "sha": COMMIT}).encode()
        if api and verb == "tree":
            listing = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in repository.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()
        if verb == "resolve" and file in repository:
            content = repository[file]
            return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content
        return 404, {"X-Error-Code": "EntryNotFound"}, b""


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        def _send(self, body: bool) -> None:
            status, headers, content = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                if status == 200 and "/resolve/" in self.path:
                    hub.served.append(self.path.partition(f"{COMMIT}/")[2])
                self.wfile.write(content)

        def do_GET(self) -> None:
            self._send(body=True)

        def do_HEAD(self) -> None:
            self._send(body=False)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
