"""python -m tracecorr."""

from __future__ import annotations

import sys

from tracecorr.cli import main

if __name__ == "__main__":
    sys.exit(main())
