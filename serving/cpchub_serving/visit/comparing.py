"""Which encoders one visitor compares."""

from __future__ import annotations

from dataclasses import dataclass, field

SIDE_BY_SIDE = 3


@dataclass(eq=False)
class Comparing:
    """The encoders whose cards one visitor looks at, the last one chosen last, and the trial that is shown."""

    chosen: list[str] = field(default_factory=list)
    text: str = ""
    tried: str | None = None
    query: int | None = None

    def toggle(self, name: str) -> None:
        """Show the card of an encoder, or put it away; of more than three the oldest goes."""
        if name in self.chosen:
            self.chosen = [other for other in self.chosen if other != name]
        else:
            self.chosen = [*self.chosen, name][-SIDE_BY_SIDE:]
