"""asv suites: `asv run --quick -E existing:same --set-commit-hash $(git rev-parse HEAD)`."""
