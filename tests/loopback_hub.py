"""A Hub on 127.0.0.1 for tests: the calls that the real huggingface_hub client makes, on the standard library alone.

Create, preupload, LFS (basic and multipart), commit, resolve with ranges and redirects, tree, revision, model info,
private and gated repositories. Repositories live in memory; each commit keeps its own snapshot of files, so an old
revision stays what it was. Xet is not spoken: set HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.loopback import answering
from tests.loopback_handler import Handler


@dataclass
class Repo:
    """One repository: a snapshot of files per commit, newest last; `refs` are its tags and branches but main."""

    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)  # the tokens that open a private or gated one
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    @property
    def files(self) -> dict[str, bytes]:
        """What the newest commit holds."""
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes]) -> str:
        digest = hashlib.sha1(f"{len(self.commits)}".encode())
        for name, content in sorted(files.items()):
            digest.update(name.encode() + content)
        self.commits[digest.hexdigest()] = files
        return self.head

    def revision(self, name: str) -> str | None:
        """The commit of a branch, a tag, 40 hex digits, or the first seven and more where only one begins so."""
        if name == "main":
            return self.head
        if name in self.refs:
            return self.refs[name]
        begins = [commit for commit in self.commits if commit.startswith(name)] if len(name) >= 7 else []
        return begins[0] if len(begins) == 1 else None


class LoopbackHub:
    """The server, its state, and what it does wrong on purpose. `requests` counts calls by kind."""

    def __init__(self, *, redirect: bool = False, part_size: int | None = None) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # what LFS holds, by sha256
        self.parts: dict[str, dict[int, bytes]] = {}  # of uploads that are not complete
        self.claimed: dict[tuple[str, str], str] = {}  # the sha256 that a tampered file is still said to have
        self.moved: dict[str, str] = {}  # old name -> new name
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []  # the Range headers that came
        self.weights_sent = 0  # bytes of LFS files, as counted on the way out
        self.redirect = redirect  # LFS files are at another origin (302)
        self.part_size = part_size  # LFS uploads larger than this come in parts
        self.token: str | None = None  # when set, every call needs it
        self.cuts: list[int] = []  # after how many bytes the next downloads of LFS files break off
        self.statuses: dict[str, int] = {}  # by the handler's method that answers: the status it answers instead
        self.portal = False  # every call is answered 200 with a page, as by a network that wants a login first
        self.lacks = 0  # how many bytes at its end every download of an LFS file lacks, by its own word, too
        self.yaml_errors: list[str] = []  # what is wrong with any card
        self.before_commit: Callable[[], object] | None = None  # somebody else, a moment earlier
        self.before_weights: Callable[[], object] | None = None  # what an LFS file waits for
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.hub = self  # type: ignore[attr-defined]

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_url(self) -> str:
        """The same server under another name, hence another origin: where LFS files are."""
        return f"http://localhost:{self.port}"

    def add(self, repo_id: str, files: dict[str, bytes], **settings: Any) -> str:
        """Put a repository there without the client; returns its commit."""
        repo = self.repos.setdefault(repo_id, Repo(**settings))
        with self.lock:
            return repo.commit(dict(files))

    def rename(self, old: str, new: str) -> None:
        """Move a repository; its old name redirects to the new one, by a path without a host."""
        self.repos[new] = self.repos.pop(old)
        self.moved[old] = new

    def tamper(self, repo_id: str, filename: str) -> None:
        """Change one byte of a file in every commit: the same size, other contents, as a bad mirror would serve."""
        for files in self.repos[repo_id].commits.values():
            if filename not in files:
                continue
            content = files[filename]
            self.claimed[repo_id, filename] = hashlib.sha256(content).hexdigest()
            files[filename] = content[:-1] + bytes([content[-1] ^ 1])

    def total_requests(self) -> int:
        return sum(self.requests.values())


@contextmanager
def loopback_hub(**settings: Any) -> Iterator[LoopbackHub]:
    """A running hub; stopped on the way out."""
    hub = LoopbackHub(**settings)
    with answering(hub.server):
        yield hub
