"""An API server in memory, with the methods of the operator's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from sweep_operator.kube.client import ApiError


class FakeApi:
    """Objects by path. `refuse` maps a path, or a method and a path, to the errors of its next requests."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse: dict[str, list[ApiError]] = {}
        self.lists: list[dict[str, Any] | ApiError] = []
        self.watches: list[list[dict[str, Any] | ApiError]] = []
        self.watched_from: list[str] = []
        self.on_create: Callable[[str], dict[str, Any]] | None = None
        self.admit: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
        """What admission makes of an object."""

    def _note(self, method: str, path: str) -> None:
        self.requests.append((method, path))
        for key in (f"{method} {path}", path):
            if self.refuse.get(key):
                raise self.refuse[key].pop(0)

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> dict[str, Any]:
        self._note("GET", path)
        if self.lists:
            answer = self.lists.pop(0)
            if isinstance(answer, ApiError):
                raise answer
            return answer
        if path not in self.objects:
            raise ApiError(404, f"{path} not found", reason="NotFound")
        return self.objects[path]

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        self._note("DRY-RUN" if dry_run else "POST", path)
        if self.on_create is not None:
            return self.on_create(body["spec"]["token"])
        body = self.admit(dict(body))
        name = f"{path}/{body['metadata']['name']}"
        if name in self.objects:
            raise ApiError(409, "already exists", reason="AlreadyExists")
        if dry_run:
            return body
        self.objects[name] = body
        return body

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._note("PUT", path)
        metadata = {**body["metadata"], "resourceVersion": str(int(body["metadata"]["resourceVersion"]) + 1)}
        return {**body, "metadata": metadata}

    async def delete(self, path: str, *, uid: str, grace_seconds: int | None = None) -> None:
        self._note("DELETE", path)

    async def watch(self, path: str, *, version: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        self.watched_from.append(version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            yield event

    def paths(self, method: str) -> list[str]:
        return [path for verb, path in self.requests if verb == method]
