"""The package without a VM around it: what it offers there, and its exceptions."""

import copy
import pickle

import pytest

import erlang
from erlang import _native

if _native.INSIDE_VM:
    pytest.skip("this is about a plain interpreter", allow_module_level=True)


@pytest.mark.parametrize("name", sorted(_native.VM_FUNCTIONS))
def test_functions_say_what_they_need(name):
    with pytest.raises(RuntimeError, match=rf"erlang\.{name}\(\).*needs the Erlang VM"):
        getattr(erlang, name)()


def test_star_import_finds_every_name():
    namespace = {}
    exec("from erlang import *", namespace)
    assert set(erlang.__all__) <= set(namespace)


@pytest.mark.parametrize("name", ["no_such_function", "__path_of_nothing__", "_py_put_chars"])
def test_unknown_names_are_attribute_errors(name):
    assert not hasattr(erlang, name)


def test_types_can_be_named_but_not_made():
    with pytest.raises(RuntimeError, match=r"erlang\.ScheduleMarker"):
        erlang.ScheduleMarker()
    assert not isinstance(5, erlang.ScheduleMarker)


def test_erlang_error_has_what_erlang_said():
    error = erlang.ErlangError("exit: gone", "exit", "gone", "a stack")
    assert (str(error), error.error_class, error.reason, error.stack) == (
        "exit: gone",
        "exit",
        "gone",
        "a stack",
    )
    assert erlang.ErlangError("text").error_class == "error"


def test_not_registered_error_is_an_erlang_error_with_a_name():
    error = erlang.NotRegisteredError("compute")
    assert isinstance(error, erlang.ErlangError)
    assert error.name == "compute"
    assert "'compute'" in str(error)


@pytest.mark.parametrize(
    "error", [erlang.ErlangError("text", "exit", ["gone"], "stack"), erlang.NotRegisteredError("n")]
)
def test_errors_survive_pickle_and_copy(error):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.__dict__ == error.__dict__


@pytest.mark.parametrize("name", ["ErlangError", "NotRegisteredError", "ProcessError"])
def test_errors_name_the_package(name):
    assert getattr(erlang, name).__module__ == "erlang"


def test_channels_need_the_vm() -> None:
    from erlang.channel import ByteChannel, Channel, ChannelClosed, reply

    for kind in (Channel, ByteChannel):
        with pytest.raises(RuntimeError, match="needs the Erlang VM"):
            kind(None)
    with pytest.raises(RuntimeError, match="needs the Erlang VM"):
        reply("name", 1)
    assert issubclass(ChannelClosed, Exception)
