"""`python -m tui` opens the terminal UI, as `fastnn` does: where there is a terminal."""

import sys

from fastnn.cli import main

sys.exit(main())
