"""Ray's calls, answered in this process: nodes come, go and fail as a test says, in no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


@dataclass(eq=False)
class Ref:
    """A value, or the call that will give it."""

    node: str
    call: Callable[[], Any]


@dataclass
class Actor:
    node: str
    make: Callable[[], Any]
    made: Any = None
    ray: Any = None

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any) -> Ref:
            return Ref(self.node, lambda: self.ray.act(self, name, args))

        return SimpleNamespace(remote=remote)


@dataclass
class FakeRay:
    """A cluster of `alive` nodes (name -> resources). trouble(node, method): raises RayError where a call fails."""

    alive: dict[str, dict[str, int]]
    trouble: Callable[[str, str], None] = lambda node, method: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    exceptions = SimpleNamespace(RayError=RayError)
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    )

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        facts = {"NodeManagerAddress": "10.0.0.1", "Alive": True}
        return [{**facts, "NodeID": n, "NodeManagerHostname": n, "Resources": r} for n, r in self.alive.items()]

    def put(self, value: Any) -> Ref:
        return Ref("", lambda: value)

    def get(self, ref: Ref) -> Any:
        return ref.call()

    def wait(self, refs: Sequence[Ref], timeout: float) -> tuple[list[Ref], list[Ref]]:
        return [refs[0]], list(refs[1:])

    def kill(self, actor: Actor) -> None:
        self.calls.append((actor.node, "kill"))

    def remote(self, thing: Any) -> Any:
        ray = self

        class Remote:
            node = ""

            def options(self, scheduling_strategy: str, **_: Any) -> Remote:
                made = Remote()
                made.node = scheduling_strategy
                return made

            def remote(self, *args: Any) -> Any:
                def call() -> Any:
                    ray.enter(self.node, thing.__name__)
                    return thing(*[ray.get(arg) if isinstance(arg, Ref) else arg for arg in args])

                return Actor(self.node, call, ray=ray) if isinstance(thing, type) else Ref(self.node, call)

        return Remote()

    def act(self, actor: Actor, name: str, args: Sequence[Any]) -> Any:
        self.enter(actor.node, name)
        actor.made = actor.made or actor.make()
        return getattr(actor.made, name)(*[self.get(arg) if isinstance(arg, Ref) else arg for arg in args])

    def enter(self, node: str, method: str) -> None:
        """A call begins on a node; what is asked of a node that is gone fails."""
        self.calls.append((node, method))
        self.trouble(node, method)
        if node not in self.alive and node != "SPREAD":
            raise RayError("The actor died because its node has died.")
