"""Screens: the Train screen and the dialogs over it."""
