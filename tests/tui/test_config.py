"""What a person types becomes a configuration, or a message that names the field."""

import pytest

from tui.config import BY_DATA, FieldError, RunConfig, read_config, read_layers, read_rate

GOOD = {
    "data": "digits", "layers": "64 32", "activation": "relu", "init": "he", "optimizer": "sgd",
    "learning_rate": "0.001", "batch_size": "32", "epochs": "5000", "seed": "0", "cell": BY_DATA, "device": "cpu",
    "precision": "float",
}  # fmt: skip


def test_defaults_read_back():
    assert read_config(GOOD) == RunConfig()


def test_a_table_of_ones_own_is_told_apart_from_a_built_in_set():
    typed = {**GOOD, "data": "a.csv", "label": "", "task": BY_DATA, "standardize": "no"}
    assert read_config(typed).loader == ()
    chosen = read_config({**typed, "label": "-2", "task": "regression", "standardize": "yes"})
    assert chosen.loader == (("label", -2), ("task", "regression"), ("standardize", True))
    assert read_config({**typed, "label": " price "}).loader == (("label", "price"),)
    before = RunConfig(data="a.csv", loader=(("standardize", True), ("delimiter", ";")))
    assert read_config(typed).with_rest_of(before).loader == (("delimiter", ";"),)


@pytest.mark.parametrize(
    ("text", "widths"),
    [("64 32", (64, 32)), ("64,32", (64, 32)), ("64-32", (64, 32)), (" 8 ", (8,)), ("", ()), ("1, 2 3", (1, 2, 3))],
)
def test_layers(text, widths):
    assert read_layers(text) == widths


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("layers", "64 zwei", "'zwei'"),
        ("layers", "x", "'x'"),
        ("layers", "64 0", "0 is out of range"),
        ("layers", "1e3", "'1e3'"),
        ("layers", "99999999", "99,999,999"),
        ("layers", "4 " * 40, "40 layers"),
        ("layers", "\u0663", "not a width"),
        ("learning_rate", "fast", "'fast'"),
        ("learning_rate", "nan", "nan"),
        ("learning_rate", "-1", "-1"),
        ("learning_rate", "0", "0"),
        ("learning_rate", "inf", "inf"),
        ("batch_size", "0", "0 is out of range"),
        ("batch_size", "2.5", "'2.5'"),
        ("epochs", "", "''"),
        ("epochs", "-3", "-3"),
        ("seed", "abc", "'abc'"),
        ("data", "  ", "data"),
    ],
)
def test_bad_text_names_the_field_and_the_value(field, text, said):
    with pytest.raises(FieldError) as caught:
        read_config({**GOOD, field: text})
    assert caught.value.name == field
    assert said in str(caught.value)


def test_rates_in_every_notation():
    assert read_rate(" 1e-3 ") == 0.001
    assert read_rate("1e6") == 1e6
