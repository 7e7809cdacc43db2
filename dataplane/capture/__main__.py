"""The entry of `tulle-init`: arguments in, one line and an exit status out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataplane.capture import rules
from dataplane.capture.apply import CaptureError, apply
from dataplane.capture.settings import BadCaptureError, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the rules; 0 when they are in force, 1 when they cannot be, 2 for arguments that mean nothing."""
    try:
        settings = read(sys.argv[1:] if arguments is None else arguments)
        said = rules.transaction(settings) if settings.dry_run else f"tulle-init: {apply(settings)}\n"
    except BadCaptureError as problem:
        sys.stderr.write(f"tulle-init: {problem}\n")
        return 2
    except CaptureError as problem:
        sys.stderr.write(f"tulle-init: connections cannot be captured: {problem}\n")
        return 1
    sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
