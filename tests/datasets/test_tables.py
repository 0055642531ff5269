"""CSV and NPY files: what is read, what the label column means, and every bad cell named by its place."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import Dataset, load
from fastnn.errors import DataError

IRIS = "".join(f"{i}.5,{i % 4},{'abc'[i % 3]}\n" for i in range(30))


def table(tmp_path: Path, text: str | bytes, **options: object) -> Dataset:
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, **options)


def by_first(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All rows of both parts in the order of the first feature."""
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    order = np.argsort(x[:, 0])
    return x[order], y[order]


def test_names_in_the_last_column(tmp_path: Path) -> None:
    data = table(tmp_path, IRIS)
    assert data.name == "table.csv" and str(tmp_path) in data.source
    assert data.classes == ("a", "b", "c") and data.features == 2
    assert (len(data.x_train), len(data.x_test)) == (24, 6)
    assert np.bincount(data.y_test).tolist() == [2, 2, 2]
    x, y = by_first(data)
    assert x.dtype == np.float32 and y.dtype == np.int64
    assert np.array_equal(x, np.array([[i + 0.5, i % 4] for i in range(30)], np.float32))
    assert np.array_equal(y, np.arange(30) % 3)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("width,height,kind\n" + IRIS, {}),
        ("width,height,kind\n" + IRIS, {"label": "kind"}),
        ("width,height,kind\n" + IRIS, {"label": 2, "header": True}),
        ("0,1,2\n" + IRIS, {"header": True}),
        ("\ufeffwidth,height,kind\n" + IRIS, {"label": "kind"}),
        (IRIS.replace(",", ";"), {}),
        (IRIS.replace(",", "\t"), {}),
        (IRIS.replace(",", "|"), {"delimiter": "|"}),
        (IRIS.replace(",", " , "), {}),
        (IRIS.replace("\n", "\r\n"), {}),
        (IRIS.replace("\n", "\n\n") + "\n,,\n", {}),
        (IRIS.rstrip("\n"), {}),
        ('"width, in mm",height,kind\n' + IRIS.replace("a", '"a"'), {"label": "kind"}),
    ],
)
def test_ways_to_write_it(tmp_path: Path, text: str, options: dict[str, object]) -> None:
    x, y = by_first(table(tmp_path, text, **options))
    assert x.shape == (30, 2) and np.array_equal(y, np.arange(30) % 3)


def test_label_in_another_column(tmp_path: Path) -> None:
    text = "kind,w,h\n" + "".join(f"{i % 2},{i},{2 * i}\n" for i in range(20))
    for label in ("kind", 0, -3):
        x, y = by_first(table(tmp_path, text, label=label))
        assert np.array_equal(x, [[i, 2 * i] for i in range(20)]) and np.array_equal(y, np.arange(20) % 2)


def test_numbered_columns_as_header(tmp_path: Path) -> None:
    # What pandas writes for a frame without column names: only the label's name is not a number.
    data = table(tmp_path, "0,1,target\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(20)))
    assert len(by_first(data)[0]) == 20


def test_whole_numbers_are_classes(tmp_path: Path) -> None:
    text = "".join(f"{i},{(10, -1, 9)[i % 3]}\n" for i in range(30))
    data = table(tmp_path, text)
    assert data.classes == ("-1", "9", "10")
    assert np.array_equal(by_first(data)[1][:3], [2, 0, 1])
    assert table(tmp_path, text.replace("\n", ".0\n")).classes == ("-1", "9", "10")


def test_regression(tmp_path: Path) -> None:
    text = "".join(f"{i},{i / 2}\n" for i in range(50))
    data = table(tmp_path, text)
    assert data.classes == () and data.y_train.shape == (40, 1) and data.y_train.dtype == np.float32
    x, y = by_first(data)
    assert np.array_equal(y[:, 0], x[:, 0] / 2)


def test_task(tmp_path: Path) -> None:
    whole = "".join(f"{i},{i}\n" for i in range(50))
    assert table(tmp_path, whole, task="regression").classes == ()
    assert table(tmp_path, "".join(f"{i},{i // 2}\n" for i in range(50)), task="classification").n_classes == 25
    mixed = "".join(f"{i},{'1a'[i % 2]}\n" for i in range(50))
    assert table(tmp_path, mixed, task="classification").classes == ("1", "a")


def test_standardize(tmp_path: Path) -> None:
    text = "".join(f"{1000 + 3 * i},7,{i % 2}\n" for i in range(50))
    plain, scaled = table(tmp_path, text), table(tmp_path, text, standardize=True)
    assert plain.x_train.min() >= 7
    assert np.allclose(scaled.x_train.mean(0), 0, atol=1e-5)
    assert np.allclose(scaled.x_train.std(0), [1, 0], atol=1e-5)
    # With the training part's numbers, not its own: the test part is not exactly standard.
    mean, std = plain.x_train.astype(np.float64).mean(0), plain.x_train.astype(np.float64).std(0)
    assert np.allclose(scaled.x_test[:, 0], (plain.x_test[:, 0] - mean[0]) / std[0], atol=1e-5)


def test_split_options(tmp_path: Path) -> None:
    half = table(tmp_path, IRIS, test_share=0.5)
    assert len(half.x_test) == 15 and np.bincount(half.y_test).tolist() == [5, 5, 5]
    assert np.array_equal(half.x_train, table(tmp_path, IRIS, test_share=0.5).x_train)
    assert not np.array_equal(half.x_train, table(tmp_path, IRIS, test_share=0.5, seed=1).x_train)


def test_a_class_of_one_row_is_for_training(tmp_path: Path) -> None:
    data = table(tmp_path, IRIS + "99,1,rare\n", test_share=0.9)
    assert data.classes[-1] == "rare" and np.bincount(data.y_train)[-1] == 1
    assert set(data.y_train) == {0, 1, 2, 3}


ROWS = "".join(f"{i},{i},{i % 2}\n" for i in range(1, 11))

# text, options, what the message must say after the file's name
BAD_CSV: dict[str, tuple[str | bytes, dict[str, object], str]] = {
    "empty": ("", {}, "empty; expected lines of numbers and a label"),
    "blank lines": ("\n\n ,\n", {}, "empty; expected lines of numbers and a label"),
    "header only": ("a,b,c\n", {}, "no line below the header"),
    "one column": ("1\n2\n", {}, "line 1 has 1 cell"),
    "one row": ("1,2,0\n", {}, "one class only"),
    "one row to regress": ("1,2,0.5\n", {}, "1 rows in 1 classes are too few"),
    "one row a class": ("1,0\n2,1\n", {}, "2 rows in 2 classes are too few"),
    "short row": (ROWS + "1,2\n", {}, "line 11 has 2 cells; expected 3, as in line 1"),
    "long row": ("a,b,c\n" + ROWS + "\n1,2,3,4\n", {}, "line 13 has 4 cells; expected 3, as in line 1"),
    "text": (ROWS + "1,x,0\n", {}, "line 11, column 2: 'x'; expected a number"),
    "text under a header": ("w,h,y\n" + ROWS + "1,x,0\n", {}, "line 12, column 2 ('h'): 'x'; expected a number"),
    "text after the label": ("y,w,h\n" + ROWS + "1,1,x\n", {"label": "y"}, "line 12, column 3 ('h'): 'x'"),
    "text before the label": ("x,1,0\n" + ROWS, {}, "line 1, column 1: 'x'; expected a number"),
    "missing cell": (ROWS + "1,,0\n", {}, "line 11, column 2: ''; expected a number"),
    "NaN": (ROWS + "nan,2,0\n", {}, "line 11, column 1: nan; expected a finite number"),
    "Inf": ("w,h,y\n" + ROWS + "1,-inf,0\n", {}, "line 12, column 2 ('h'): -inf; expected a finite number"),
    "beyond float32": (ROWS + "1,1e39,0\n", {}, "line 11, column 2: 1e+39; expected a finite number"),
    "NaN label": (ROWS + "1,2,NaN\n", {}, "line 11, column 3: label nan; expected a finite number"),
    "Inf label": ("w,h,y\n" + ROWS + "1,2,inf\n", {}, "line 12, column 3 ('y'): label inf"),
    "huge label": (ROWS + "1,2,1e99\n", {}, "line 11, column 3: label 1e+99"),
    "missing label": (ROWS + "1,2,\n", {}, "line 11, column 3: '' is no label"),
    "mistyped label": (ROWS + "1,2,O\n", {}, "line 11, column 3: label 'O', but line 1 has '1'"),
    "Python's number": (ROWS + "1_0,2,1\n", {}, "line 11, column 1: '1_0'; expected a number"),
    "Python's number as label": (ROWS + "1,2,1_0\n", {}, "line 11, column 3: label '1_0', but line 1 has '1'"),
    "name for regression": (IRIS, {"task": "regression"}, "line 1, column 3: label 'a'; expected a number"),
    "fraction for classes": (ROWS + "1,2,.5\n", {"task": "classification"}, "line 11, column 3: label 0.5"),
    "one class": ("1,2,0\n" * 9, {}, "every label is '0', one class only"),
    "one name": ("1,2,a\n" * 9, {}, "every label is 'a', one class only"),
    "a class a row": ("".join(f"1,{i}\n" for i in range(99)), {}, "99 different labels in 99 rows"),
    "UTF-16": (ROWS.encode("utf-16"), {}, "not UTF-8 text"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {}, "not UTF-8 text"),
    "zeros": (bytes(100), {}, "table.csv"),
    "a cell without end": (ROWS + '"' + "1" * 200_000, {}, "not a CSV file (field larger than"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv(case: str, tmp_path: Path) -> None:
    text, options, message = BAD_CSV[case]
    with pytest.raises(DataError) as error:
        table(tmp_path, text, **options)
    assert message in str(error.value)
    assert str(tmp_path / "table.csv") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lable": "y"}, "options of table.csv: unknown name 'lable'; did you mean 'label'"),
        ({"label": "hight"}, "label: unknown name 'hight'; did you mean 'height'? known: height, kind, width"),
        ({"label": 3}, "label: 3 is out of range; expected from -3 to 2"),
        ({"label": -4}, "label: -4 is out of range; expected from -3 to 2"),
        ({"label": True}, "label: expected a column's name or number, got True of type bool"),
        ({"label": 1.0}, "label: expected a column's name or number, got 1.0 of type float"),
        ({"label": "kind", "header": False}, "label: 'kind' is a name, but header is False"),
        ({"header": 1}, "header: expected True, False or None, got 1"),
        ({"delimiter": ", "}, "delimiter: ', '; expected one character"),
        ({"task": "clasification"}, "task: unknown name 'clasification'; did you mean 'classification'"),
        ({"task": 1}, "task: expected a name, got 1"),
        ({"standardize": 1}, "standardize: expected True or False, got 1"),
        ({"test_share": 1}, "test_share: 1 is out of range"),
        ({"seed": 0.5}, "seed: expected an integer, got 0.5"),
    ],
)
def test_bad_csv_options(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        table(tmp_path, "width,height,kind\n" + IRIS, **options)
    assert message in str(error.value)


def test_a_name_of_two_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label: 2 columns are named 'y'"):
        table(tmp_path, "y,y\n1,0\n2,1\n", label="y")


def saved(tmp_path: Path, values: object, **options: object) -> Dataset:
    path = tmp_path / "table.npy"
    np.save(path, values, allow_pickle=True)  # type: ignore[arg-type]
    return load(path, **options)


VALUES = np.array([[i, 2 * i, i % 3] for i in range(30)])


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "f4", "f2", "i8", ">i4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, dtype: str, order: str) -> None:
    data = saved(tmp_path, np.array(VALUES, dtype, order=order))
    assert data.classes == ("0", "1", "2") and data.name == "table.npy"
    x, y = by_first(data)
    assert x.dtype == np.float32 and data.x_train.flags.c_contiguous
    assert np.array_equal(x, VALUES[:, :2]) and np.array_equal(y, VALUES[:, 2])


def test_npy_options(tmp_path: Path) -> None:
    data = saved(tmp_path, VALUES[:, ::-1], label=0, test_share=0.5, standardize=True)
    assert data.n_classes == 3 and len(data.x_test) == 15
    assert np.allclose(data.x_train.mean(0), 0, atol=1e-6)
    assert saved(tmp_path, VALUES, task="regression").y_train.shape == (24, 1)
    assert saved(tmp_path, VALUES / 2).classes == ()


def with_cell(value: float, row: int, column: int) -> np.ndarray:
    values = VALUES.astype(np.float64)
    values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_cell(np.nan, 7, 1), "row 7, column 1: nan; expected a finite number"),
        (with_cell(-np.inf, 7, 0), "row 7, column 0: -inf; expected a finite number"),
        (with_cell(1e300, 29, 1), "row 29, column 1: 1e+300; expected a finite number"),
        (with_cell(np.nan, 3, 2), "row 3, column 2: label nan; expected a finite number"),
        (VALUES[:, 0], "an array of shape (30,); expected (rows, columns)"),
        (VALUES[:, :1], "an array of shape (30, 1); expected (rows, columns)"),
        (VALUES[:0], "an array of shape (0, 3)"),
        (np.float32(3), "an array of shape ()"),
        (VALUES.reshape(2, 15, 3), "an array of shape (2, 15, 3)"),
        (VALUES.astype(object), "an array of object; expected booleans, integers or real numbers"),
        (VALUES.astype(str), "expected booleans, integers or real numbers"),
        (VALUES.astype(complex), "an array of complex128"),
        (np.zeros(3, [("a", "f4"), ("b", "f4")]), "expected booleans, integers or real numbers"),
        (VALUES * 0, "every label is '0', one class only"),
    ],
    ids=lambda value: value if isinstance(value, str) else "array",
)
def test_bad_arrays(values: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        saved(tmp_path, values)
    assert message in str(error.value) and str(tmp_path / "table.npy") in str(error.value)


@pytest.mark.parametrize("options", [{"label": "kind"}, {"label": 3}, {"label": -4}, {"header": True}, {"seed": -1}])
def test_bad_npy_options(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        saved(tmp_path, VALUES, **options)


def npy(header: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(header)) + header.encode() + bytes(16)


DESCRIPTION = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }"
DAMAGED_NPY = {
    "empty": (b"", "not an NPY file, or a damaged one"),
    "a zip file": (b"PK\3\4" + bytes(100), "not an NPY file, or a damaged one"),
    "32 TB": (npy(DESCRIPTION % ("<f8", f"{10**12}, 4")), "but 16 follow"),
    "more than 64 bits": (npy(DESCRIPTION % ("<f8", "9" * 30 + ", 4")), "but 16 follow"),
    "negative sizes": (npy(DESCRIPTION % ("<f8", "-1, -2")), "an array of shape (-1, -2)"),
    "one column": (npy(DESCRIPTION % ("<f8", "1, 1")), "an array of shape (1, 1)"),
    "too long": (npy(DESCRIPTION % ("<f4", "1, 3")), "12 bytes, but 16 follow"),
    "objects": (npy(DESCRIPTION % ("|O", "1, 2")), "an array of object"),
    "no such type": (npy(DESCRIPTION % ("f99", "1, 2")), "not an NPY file, or a damaged one"),
    "deep header": (npy("[" * 3000), "not an NPY file, or a damaged one"),
    "long header": (npy(" " * 60000), "not an NPY file, or a damaged one"),
    "half a header": (npy("{'descr'"), "not an NPY file, or a damaged one"),
    "format 3": (npy("()", version=3), "NPY format 3.0; expected 1.0 or 2.0"),
}


@pytest.mark.parametrize("case", DAMAGED_NPY)
def test_damaged_npy(case: str, tmp_path: Path) -> None:
    content, message = DAMAGED_NPY[case]
    path = tmp_path / "table.npy"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        load(path)
    assert message in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(path)) + 200


def test_every_cut_and_every_changed_byte_of_an_npy_file(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    np.save(path, VALUES[:8].astype(np.int8))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(path)
    for position in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            # A changed number may also be a valid one.
            with contextlib.suppress(DataError):
                load(path)


def test_pickles_are_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    path = tmp_path / "table.npy"
    np.save(path, np.array([[Trap(), Trap()]] * 3, object), allow_pickle=True)
    with pytest.raises(DataError, match="an array of object"):
        load(path)
    assert not (tmp_path / "sprung").exists()
