"""The routes of the loopback Hub: what each call of the huggingface_hub client is answered."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback_answers import Answers

LFS_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pkl")
STORAGE = "/lfs-objects/"
PARTS = "/lfs-parts/"


class Handler(Answers):
    # (method, path pattern, name of the method here); `rev` may be a branch, a tag or a commit
    ROUTES = (
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/preupload/(?P<rev>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/commit/(?P<rev>[^/]+)", "commit"),
        ("POST", r"/(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", STORAGE + r"(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("PUT", PARTS + r"(?P<oid>[0-9a-f]{64})/(?P<part>\d+)", "lfs_put_part"),
        ("POST", r"/lfs-complete/(?P<oid>[0-9a-f]{64})", "lfs_complete"),
        ("GET", STORAGE + r"(?P<oid>[0-9a-f]{64})", "lfs_get"),
        ("HEAD", r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)/tree/(?P<rev>[^/]+).*", "tree"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)/revision/(?P<rev>[^/]+)", "model_info"),
        ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)", "model_info"),
    )

    def handle_any(self) -> None:
        path = urlsplit(self.path).path  # still quoted: a branch may have a slash in its name
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                with self.hub.lock:
                    self.hub.requests[f"{method} {name}"] += 1
                if self.hub.portal:
                    return self.send(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
                if name in self.hub.statuses:
                    return self.send(self.hub.statuses[name], b"<Error><Code>AccessDenied</Code></Error>", {})
                at_storage = path.startswith((STORAGE, PARTS))
                if at_storage and self.token:
                    return self.refuse(400, "BadRequest", "a token was sent to another origin")
                if self.hub.token and not at_storage and self.token != self.hub.token:
                    return self.refuse(401, "RepoNotFound", "Invalid credentials")
                values = {key: unquote(value) for key, value in match.groupdict().items()}
                if new := self.hub.moved.get(values.get("id", "")):
                    return self.send(307, b"", {"Location": self.path.replace(values["id"], new, 1)})
                return getattr(self, name)(**values)
        with self.hub.lock:
            self.hub.requests[f"{self.command} unknown"] += 1
        return self.refuse(404, "EntryNotFound", f"no route for {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    # writing

    def create_repo(self) -> None:
        from tests.loopback_hub import Repo

        body = json.loads(self.content)
        repo_id = f"{body.get('organization') or 'me'}/{body['name']}"
        known = repo_id in self.hub.repos
        if not known:
            private = body.get("visibility") == "private" or bool(body.get("private"))
            repo = Repo(private=private, readers={self.token})
            repo.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
            self.hub.repos[repo_id] = repo
        self.answer(409 if known else 200, {"url": f"{self.hub.url}/{repo_id}", "error": "exists" if known else None})

    def validate_yaml(self) -> None:
        errors = [{"message": message} for message in self.hub.yaml_errors]
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

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
                row["oid"] = sha256(files[path]) if large else git_oid(files[path])
            rows.append(row)
        self.answer(200, {"files": rows})

    def lfs_batch(self, id: str) -> None:
        rows = []
        for item in json.loads(self.content)["objects"]:
            oid, size = item["oid"], item["size"]
            row: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.hub.objects:
                row["actions"] = {"upload": self.lfs_upload(oid, size)}
            rows.append(row)
        transfer = "basic" if self.hub.part_size is None else "multipart"
        self.answer(200, {"transfer": transfer, "objects": rows}, content_type="application/vnd.git-lfs+json")

    def lfs_upload(self, oid: str, size: int) -> dict[str, Any]:
        """Where to put an object: in one piece, or in numbered parts that are then declared complete."""
        part_size = self.hub.part_size
        if part_size is None or size <= part_size:
            return {"href": f"{self.hub.storage_url}{STORAGE}{oid}"}
        numbers = range(1, math.ceil(size / part_size) + 1)
        addresses = {str(number): f"{self.hub.storage_url}{PARTS}{oid}/{number}" for number in numbers}
        return {"href": f"{self.hub.url}/lfs-complete/{oid}", "header": {"chunk_size": str(part_size), **addresses}}

    def lfs_put(self, oid: str) -> None:
        self.store(oid, self.content)

    def lfs_put_part(self, oid: str, part: str) -> None:
        self.hub.parts.setdefault(oid, {})[int(part)] = self.content
        self.send(200, b"", {"ETag": f'"{hashlib.md5(self.content).hexdigest()}"'})

    def lfs_complete(self, oid: str) -> None:
        body = json.loads(self.content)
        parts = self.hub.parts.pop(oid, {})
        declared = [(part["partNumber"], part["etag"]) for part in body["parts"]]
        expected = [(number, f'"{hashlib.md5(part).hexdigest()}"') for number, part in sorted(parts.items())]
        if body["oid"] != oid or declared != expected:
            return self.refuse(400, "BadRequest", "the parts declared are not the parts that came")
        return self.store(oid, b"".join(parts[number] for number, _ in expected))

    def store(self, oid: str, content: bytes) -> None:
        if sha256(content) != oid:
            return self.refuse(400, "BadRequest", "the bytes are not of that sha256")
        self.hub.objects[oid] = content
        return self.answer(200, {})

    def commit(self, id: str, rev: str) -> None:
        if self.hub.before_commit is not None:
            self.hub.before_commit()
        snapshot = self.snapshot(id, rev)
        if snapshot is None:
            return None
        files = dict(snapshot)
        for line in self.content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit") not in (None, self.hub.repos[id].head):
                return self.refuse(412, "PreconditionFailed", "A commit has happened since. Please refresh.")
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        with self.hub.lock:
            oid = self.hub.repos[id].commit(files)
        return self.answer(200, {"commitUrl": f"{self.hub.url}/{id}/commit/{oid}", "commitOid": oid})

    # reading

    def resolve(self, id: str, rev: str, path: str) -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return None
        commit = self.hub.repos[id].revision(rev) or ""
        if path not in files:
            return self.refuse(404, "EntryNotFound", f"{path} is not in {id}", {"X-Repo-Commit": commit})
        content = files[path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_oid(content)}"', "Accept-Ranges": "bytes"}
        if not path.endswith(LFS_SUFFIXES):
            return self.send_ranged(content, headers)
        oid = self.hub.claimed.get((id, path)) or sha256(content)
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        if self.hub.redirect:
            # another origin, as the real Hub's storage is: the client must not send its token there
            self.hub.objects.setdefault(sha256(content), content)
            target = f"{self.hub.storage_url}{STORAGE}{sha256(content)}"
            return self.send(302, b"", {**headers, "Location": target})
        return self.send_weights(content, headers)

    def lfs_get(self, oid: str) -> None:
        self.send_weights(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def tree(self, id: str, rev: str) -> None:
        files = self.snapshot(id, rev)
        if files is None:
            return
        rows: list[dict[str, Any]] = []
        for path, content in sorted(files.items()):
            row: dict[str, Any] = {"type": "file", "oid": git_oid(content), "size": len(content), "path": path}
            if path.endswith(LFS_SUFFIXES):
                row["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
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
        """The files of a revision; None after having answered that there are none, or not for this token."""
        repo = self.hub.repos.get(repo_id)
        admitted = repo is not None and self.token in repo.readers
        if repo is None or (repo.private and not admitted):
            status = 404 if self.token else 401  # what is private and what is not there look the same from outside
            self.refuse(status, "RepoNotFound", f"Repository {repo_id} not found")
            return None
        if repo.gated and not admitted:
            self.refuse(403 if self.token else 401, "GatedRepo", f"Access to {repo_id} is restricted")
            return None
        commit = repo.revision(rev)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
            return None
        return repo.commits[commit]

    def send_weights(self, content: bytes, headers: dict[str, str]) -> None:
        """A large file, held back or broken off where the test wants it so; its bytes are counted."""
        if self.command == "HEAD":
            return self.send(200, content, headers)
        if self.hub.before_weights is not None:
            self.hub.before_weights()
        content = content[: len(content) - self.hub.lacks]
        with self.hub.lock:
            cut_after = self.hub.cuts.pop(0) if self.hub.cuts else None
        return self.send_ranged(content, headers, cut_after=cut_after, counted=True)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
