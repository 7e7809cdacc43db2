"""`python -m tulle`, the console scripts `tulle` and `kubectl-tulle`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it lacks: an image of the sidecar has no use for its libraries."""
    try:
        from tulle.cli import main as run  # noqa: PLC0415 - what it imports may be missing
    except ModuleNotFoundError as missing:
        sys.exit(f"tulle needs {missing.name}; pip install 'tulle[cli]'")
    run()


if __name__ == "__main__":
    main()
