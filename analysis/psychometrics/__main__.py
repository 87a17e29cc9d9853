"""`python -m analysis.psychometrics`."""

import sys

from analysis.psychometrics.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
