"""Widgets: what the screens are made of, one file each."""
