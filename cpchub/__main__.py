"""`python -m cpchub`, the same as the command `cpchub`."""

import sys

from cpchub.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
