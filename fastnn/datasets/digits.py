"""The data set that is shipped: 1,797 handwritten digits of 8x8 pixels, as two IDX files in the folder data.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, CC BY 4.0; the test set of the original, the one that scikit-learn ships.
data/digits.txt tells what was changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastnn.datasets.dataset import Dataset, split_dataset
from fastnn.datasets.idx import read_idx

SOURCE = "Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998, UCI, doi.org/10.24432/C50P49, CC BY 4.0"
_FOLDER = Path(__file__).parent / "data"


def load_digits(*, test_share: float = 0.2, seed: int = 0) -> Dataset:
    """The digits, x (n, 64) float32 in [0, 1], an image row by row; y the digit.

    A pixel is the count, 0 to 16, of set pixels in a 4x4 block of the scanned 32x32 bitmap, divided by 16.

    test_share: share of the rows in the test part, stratified; the default gives 1,438 and 359 rows
    seed: the shuffle before the split; a given seed makes the same split in every process
    """
    labels = read_idx(_FOLDER / "digits-labels-idx1-ubyte.gz", (None,))
    images = read_idx(_FOLDER / "digits-images-idx3-ubyte.gz", (len(labels), 8, 8))
    return split_dataset(
        "digits",
        images.reshape(-1, 64) / np.float32(16),
        labels.astype(np.int64),
        classes=tuple("0123456789"),
        image_shape=(8, 8),
        source=SOURCE,
        test_share=test_share,
        seed=seed,
    )
