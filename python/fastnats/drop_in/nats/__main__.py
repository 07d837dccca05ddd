"""``python -m nats``: as ``python -m fastnats``."""

import sys

from fastnats.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
