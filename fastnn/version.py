"""The one place that states the version; the build and `fastnn --version` read it without importing the engine."""

__version__ = "0.1.0"
