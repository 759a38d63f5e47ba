"""Keeps collecting garbage cheap: what a file of tests has left is not looked at again.

TensorFlow keeps what it has traced, millions of objects in the end, and Python would go through all
of them again and again.
"""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def freeze_what_is_left():
    yield
    gc.collect()
    gc.freeze()
