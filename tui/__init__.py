"""The terminal UI of fastnn: watch a network learn, and steer it while it does.

`python -m tui` opens it, and so does `fastnn` without arguments. Nothing in here imports fastnn until the
training thread starts (`tui.engine` is the only door), so that the first screen is painted at once; but for
what reads the runs on disk (fastnn.runs, fastnn.runfile), which needs no kernels.
"""

import os

# Textual paints what was drawn with its next tick, of 60 a second. With 120 it is painted 4 ms earlier, and less often
# together with the next frame, or just when training needs Python's lock. Frames are as many as the screens draw.
os.environ.setdefault("TEXTUAL_FPS", "120")
