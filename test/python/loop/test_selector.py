"""CPython's own tests of the selectors module, on the selector of the VM."""

from __future__ import annotations

import unittest

import pytest
from loop_case import INSIDE_VM

if not INSIDE_VM:
    pytest.skip("only the VM has the selector", allow_module_level=True)

import _erlang

test_selectors = pytest.importorskip("test.test_selectors")


class Selector(_erlang.Selector):
    """A class of Python's, whose instances the tests may give methods."""


class TestSelector(test_selectors.BaseSelectorTestCase, unittest.TestCase):
    """Every test that is about no other class, needs no signal and compares no times."""

    SELECTOR = Selector

    test_modify_unregister = None
    test_select_interrupt_exc = None
    test_select_interrupt_noraise = None
    test_timeout = None

    test_register_file = test_selectors.EpollSelectorTestCase.test_register_file
