"""Entry point of the `dual-pipeline` command."""

from __future__ import annotations

from .app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="dual-pipeline")


if __name__ == "__main__":
    main()
