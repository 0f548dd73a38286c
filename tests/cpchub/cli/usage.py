"""How a wrong command line ends."""

from __future__ import annotations

import pytest

from cpchub.cli.main import main


def usage_error(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(args)
    assert isinstance(end.value.code, int)
    return end.value.code
