"""`python -m tui` opens the terminal UI."""

from tui.app import main

if __name__ == "__main__":
    raise SystemExit(main())
