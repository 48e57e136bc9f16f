"""`python -m benchmarks.workflows [part …]`: every part, or those that are named."""

import sys

from benchmarks.parts import main

if __name__ == "__main__":
    sys.exit(main("workflows", sys.argv[1:]))
