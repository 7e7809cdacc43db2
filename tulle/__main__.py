"""`python -m tulle`, the console scripts `tulle` and `kubectl-tulle`."""

from __future__ import annotations

from tulle.cli import main

if __name__ == "__main__":
    main()
