"""Which execution mode this Python runs in."""

from erlang import ExecutionMode, detect_mode

mode = detect_mode()

if mode == ExecutionMode.FREE_THREADED:
    print("Running in free-threaded mode (no GIL)")
elif mode == ExecutionMode.SUBINTERP:
    print("Running in subinterpreter with per-interpreter GIL")
else:
    print("Running with shared GIL")
