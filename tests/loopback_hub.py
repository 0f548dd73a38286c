"""A Hub on 127.0.0.1 for tests: the calls that the real huggingface_hub client makes, on the standard library alone.

Create, preupload, LFS (basic), commit, resolve with ranges, tree, revision, model info. Repositories live in memory;
each commit keeps its own snapshot of files, so an old revision stays what it was. Xet is not spoken: set
HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pkl")
MIRROR = "/lfs-objects/"


@dataclass
class Repo:
    """One repository: a snapshot of files per commit, newest last."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def commit(self, files: dict[str, bytes]) -> str:
        digest = hashlib.sha1(f"{len(self.commits)}".encode())
        for name, content in sorted(files.items()):
            digest.update(name.encode() + content)
        self.commits[digest.hexdigest()] = files
        return self.head

    def revision(self, name: str) -> str | None:
        return self.head if name == "main" else name if name in self.commits else None


class LoopbackHub:
    """The server and its state. `requests` counts calls by kind; `redirect` sends LFS files elsewhere (302)."""

    def __init__(self, *, redirect: bool = False) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # what LFS holds, by sha256
        self.claimed: dict[tuple[str, str], str] = {}  # the sha256 that a tampered file is still said to have
        self.requests: Counter[str] = Counter()
        self.redirect = redirect
        self.token: str | None = None  # when set, every call needs it
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.hub = self  # type: ignore[attr-defined]

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, repo_id: str, files: dict[str, bytes], **settings: Any) -> str:
        """Put a repository there without the client; returns its commit."""
        repo = self.repos.setdefault(repo_id, Repo(**settings))
        with self.lock:
            return repo.commit(dict(files))

    def tamper(self, repo_id: str, filename: str) -> None:
        """Change one byte of a file in every commit: the same size, other contents, as a bad mirror would serve."""
        for files in self.repos[repo_id].commits.values():
            if filename not in files:
                continue
            content = files[filename]
            self.claimed[repo_id, filename] = _sha256(content)
            files[filename] = content[:-1] + bytes([content[-1] ^ 1])

    def total_requests(self) -> int:
        return sum(self.requests.values())


@contextmanager
def loopback_hub(**settings: Any) -> Iterator[LoopbackHub]:
    """A running hub; stopped on the way out."""
    hub = LoopbackHub(**settings)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    # (method, path pattern, name of the method here); `rev` may be a branch or a commit
    ROUTES = (
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/preupload/(?P<rev>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/commit/(?P<rev>[^/]+)", "commit"),
        ("POST", r"/(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", MIRROR + r"(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("GET", MIRROR + r"(?P<oid>[0-9a-f]{64})", "lfs_get"),
        ("HEAD", r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)/tree/(?P<rev>[^/]+).*", "tree"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)/revision/(?P<rev>[^/]+)", "model_info"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)", "model_info"),
    )

    @property
    def hub(self) -> LoopbackHub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                with self.hub.lock:
                    self.hub.requests[f"{method} {name}"] += 1
                if self.hub.token and not path.startswith(MIRROR) and not self.authorised():
                    return self.refuse(401, "RepoNotFound", "Invalid credentials")
                return getattr(self, name)(**match.groupdict())
        with self.hub.lock:
            self.hub.requests[f"{self.command} unknown"] += 1
        return self.refuse(404, "EntryNotFound", f"no route for {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def authorised(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {self.hub.token}"

    # writing

    def create_repo(self) -> None:
        body = json.loads(self.content)
        repo_id = f"{body.get('organization') or 'me'}/{body['name']}"
        known = repo_id in self.hub.repos
        if not known:
            repo = Repo(private=body.get("visibility") == "private" or bool(body.get("private")))
            repo.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
            self.hub.repos[repo_id] = repo
        self.answer(409 if known else 200, {"url": f"{self.hub.url}/{repo_id}", "error": "exists" if known else None})

    def validate_yaml(self) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def whoami(self) -> None:
        self.answer(200, {"name": "me", "type": "user", "orgs": []})

    def preupload(self, id: str, rev: str) -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return
        rows = []
        for file in json.loads(self.content)["files"]:
            path = file["path"]
            large = path.endswith(LFS_SUFFIXES)
            row = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}
            if path in files:
                row["oid"] = _sha256(files[path]) if large else _git_oid(files[path])
            rows.append(row)
        self.answer(200, {"files": rows})

    def lfs_batch(self, id: str) -> None:
        rows = []
        for item in json.loads(self.content)["objects"]:
            row = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                row["actions"] = {"upload": {"href": f"{self.hub.url}{MIRROR}{item['oid']}"}}
            rows.append(row)
        self.answer(200, {"transfer": "basic", "objects": rows}, content_type="application/vnd.git-lfs+json")

    def lfs_put(self, oid: str) -> None:
        if _sha256(self.content) != oid:
            return self.refuse(400, "BadRequest", "the bytes are not of that sha256")
        self.hub.objects[oid] = self.content
        return self.answer(200, {})

    def commit(self, id: str, rev: str) -> None:
        snapshot = self.snapshot(id, rev)
        if snapshot is None:
            return
        files = dict(snapshot)
        for line in self.content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        with self.hub.lock:
            oid = self.hub.repos[id].commit(files)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{id}/commit/{oid}", "commitOid": oid})

    # reading

    def resolve(self, id: str, rev: str, path: str) -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return None
        commit = self.hub.repos[id].revision(rev) or ""
        if path not in files:
            return self.refuse(404, "EntryNotFound", f"{path} is not in {id}", {"X-Repo-Commit": commit})
        content = files[path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git_oid(content)}"', "Accept-Ranges": "bytes"}
        if path.endswith(LFS_SUFFIXES):
            oid = self.hub.claimed.get((id, path)) or _sha256(content)
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
            if self.hub.redirect:
                # another origin, as the real Hub's storage is: the client must not send its token there
                self.hub.objects.setdefault(_sha256(content), content)
                target = f"http://localhost:{self.hub.port}{MIRROR}{_sha256(content)}"
                return self.send(302, b"", {**headers, "Location": target})
        return self.send_ranged(content, headers)

    def lfs_get(self, oid: str) -> None:
        if self.headers.get("authorization"):
            return self.refuse(400, "BadRequest", "a token was sent to another origin")
        return self.send_ranged(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def tree(self, id: str, rev: str) -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return
        rows: list[dict[str, Any]] = []
        for path, content in sorted(files.items()):
            row: dict[str, Any] = {"type": "file", "oid": _git_oid(content), "size": len(content), "path": path}
            if path.endswith(LFS_SUFFIXES):
                row["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
            rows.append(row)
        self.answer(200, rows)

    def model_info(self, id: str, rev: str = "main") -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return
        repo = self.hub.repos[id]
        info = {"id": id, "sha": repo.revision(rev), "private": repo.private, "gated": repo.gated, "tags": []}
        self.answer(200, {**info, "siblings": [{"rfilename": path} for path in sorted(files)]})

    # answering

    def snapshot(self, repo_id: str, rev: str) -> dict[str, bytes] | None:
        """The files of a revision; None after having answered that there are none."""
        repo = self.hub.repos.get(repo_id)
        if repo is None:
            self.refuse(404, "RepoNotFound", f"Repository {repo_id} not found")
            return None
        if repo.gated and not self.headers.get("authorization"):
            self.refuse(403, "GatedRepo", f"Access to {repo_id} is restricted")
            return None
        commit = repo.revision(rev)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
            return None
        return repo.commits[commit]

    def send_ranged(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted is None:
            return self.send(200, content, headers)
        start = int(wanted[1])
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return self.send(206, content[start:], {**headers, **span})

    def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        more = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self.send(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **more})

    def answer(self, status: int, content: Any, content_type: str = "application/json") -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": content_type})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: pytest's output is for failures."""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
