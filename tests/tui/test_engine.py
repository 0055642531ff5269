"""The UI on the real engine: digits are learned, choices come from the registries, bad input leaves the run as it is."""

import pytest
from driving import press_until, until
from test_session import reach

from fastnn.activations import ACTIVATIONS
from fastnn.datasets import DATASETS
from fastnn.initializers import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from tui.app import FastnnApp
from tui.config import RunConfig
from tui.engine import Engine
from tui.session import Session
from tui.widgets.drawer import Drawer
