"""What docstrings show is so."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["arms", "layout", "presets", "stopped"])
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed
