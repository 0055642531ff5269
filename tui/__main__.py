"""`python -m tui` opens the terminal UI."""

import sys

from tui.app import main

sys.exit(main(sys.argv[1:]))
