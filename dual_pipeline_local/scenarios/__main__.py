"""`python -m dual_pipeline_local.scenarios NAME` is what `make local SCENARIO=NAME` calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from ..narrator import Narrator
from ..run import guarded, options_parser, request_of
from .catalog import SCENARIOS, scenario
from .play import play


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and play."""
    parser = options_parser("python -m dual_pipeline_local.scenarios")
    parser.add_argument("scenario", metavar="NAME", help=", ".join(SCENARIOS))
    options = parser.parse_args(arguments)

    def action() -> int:
        chosen = scenario(options.scenario)
        return play(chosen, request_of(options, environment=chosen.environment), Narrator())

    with suppress(BrokenPipeError):
        return guarded(action, die_with_parent=options.die_with_parent)
    return 1


if __name__ == "__main__":
    sys.exit(main())
