"""Everything that the sandbox blocks: each function returns the name of the exception and its text."""

from __future__ import annotations

import concurrent.futures
import faulthandler
import fcntl
import multiprocessing
import os
import pty
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any


def _port_helper() -> int:
    """The VM's erl_child_setup."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    text = file.read()
            except OSError:
                continue
            comm, rest = text[text.index("(") + 1 :].rsplit(")", 1)
            if comm.startswith("erl_child_setup") and int(rest.split()[1]) == os.getpid():
                return int(name)
    raise LookupError("the VM has no port helper")


def _fresh_exit() -> None:
    del sys.modules["posix"]
    import posix

    posix._exit(7)


def _folder() -> int:
    return os.open("/tmp", os.O_RDONLY)


def _sigio() -> None:
    """Has the system send SIGIO, which ends a process that has no handler for it."""
    left, right = socket.socketpair()
    fcntl.fcntl(left, fcntl.F_SETFL, fcntl.fcntl(left, fcntl.F_GETFL) | os.O_ASYNC)


def _child() -> None:
    pass


CASES: dict[str, Callable[[], Any]] = {
    "fork": os.fork,
    "forkpty": os.forkpty,
    "system": lambda: os.system("true"),
    "popen": lambda: os.popen("true"),
    "execv": lambda: os.execv("/bin/true", ["true"]),
    "execvp": lambda: os.execvp("true", ["true"]),
    "execle": lambda: os.execle("/bin/true", "true", {}),
    "spawnv": lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]),
    "spawnlp": lambda: os.spawnlp(os.P_NOWAIT, "true", "true"),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "posix_spawnp": lambda: os.posix_spawnp("true", ["true"], {}),
    "subprocess_run": lambda: subprocess.run(["true"]),
    "subprocess_shell": lambda: subprocess.check_output("true", shell=True),
    "pty_spawn": lambda: pty.spawn("true"),
    "multiprocessing_fork": lambda: multiprocessing.get_context("fork")
    .Process(target=_child)
    .start(),
    "multiprocessing_spawn": lambda: multiprocessing.get_context("spawn")
    .Process(target=_child)
    .start(),
    "multiprocessing_forkserver": lambda: multiprocessing.get_context("forkserver")
    .Process(target=_child)
    .start(),
    "multiprocessing_default": lambda: multiprocessing.Process(target=_child).start(),
    "multiprocessing_pool": lambda: multiprocessing.Pool(2),
    "multiprocessing_manager": multiprocessing.Manager,
    "process_pool": lambda: concurrent.futures.ProcessPoolExecutor(1).submit(_child).result(10),
    "pty_fork": pty.fork,
    "getoutput": lambda: subprocess.getoutput("true"),
    "fork_exec": lambda: __import__("_posixsubprocess").fork_exec(),
    "_exit": lambda: os._exit(7),
    "_exit_keyword": lambda: os._exit(status=7),
    "_exit_reimported": _fresh_exit,
    "abort": os.abort,
    "kill_own": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill_group": lambda: os.kill(0, signal.SIGTERM),
    "kill_thread": lambda: os.kill(threading.get_native_id(), signal.SIGTERM),
    "kill_port_helper_group": lambda: os.kill(-_port_helper(), signal.SIGTERM),
    "killpg_zero": lambda: os.killpg(0, signal.SIGTERM),
    "kill_everyone": lambda: os.kill(-1, signal.SIGTERM),
    "killpg_everyone": lambda: os.killpg(1, signal.SIGTERM),
    "killpg": lambda: os.killpg(os.getpgrp(), signal.SIGTERM),
    "kill_port_helper": lambda: os.kill(_port_helper(), signal.SIGTERM),
    "raise_signal": lambda: signal.raise_signal(signal.SIGTERM),
    "pthread_kill": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM),
    "alarm": lambda: signal.alarm(1),
    "setitimer": lambda: signal.setitimer(signal.ITIMER_REAL, 0.01),
    "siginterrupt": lambda: signal.siginterrupt(signal.SIGTERM, False),
    "pidfd_send_signal": lambda: signal.pidfd_send_signal(
        os.pidfd_open(os.getpid()), signal.SIGTERM
    ),
    "sigwait": lambda: signal.sigwait([signal.SIGTERM]),
    "sigwaitinfo": lambda: signal.sigwaitinfo([signal.SIGTERM]),
    "sigtimedwait": lambda: signal.sigtimedwait([signal.SIGTERM], 0),
    "sigio": _sigio,
    "sigio_owner": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid()),
    "sigio_ioctl": lambda: fcntl.ioctl(0, 0x5452, struct.pack("i", 1)),
    "notify": lambda: fcntl.fcntl(_folder(), fcntl.F_NOTIFY, fcntl.DN_CREATE),
    "typed_input": lambda: fcntl.ioctl(0, termios.TIOCSTI, b"q"),
    "terminal": lambda: os.tcsetpgrp(0, os.getpgrp()),
    "faulthandler_register": lambda: faulthandler.register(signal.SIGUSR1),
    "faulthandler_exit": lambda: faulthandler.dump_traceback_later(0.01, exit=True),
    "faulthandler_crash": lambda: faulthandler._sigsegv(),  # type: ignore[attr-defined]
    "setrlimit": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20)),
    "prlimit": lambda: resource.prlimit(0, resource.RLIMIT_CPU, (1, 1)),
    "prlimit_own": lambda: resource.prlimit(os.getpid(), resource.RLIMIT_CPU, (1, 1)),
    "prlimit_thread": lambda: resource.prlimit(
        threading.get_native_id(), resource.RLIMIT_NOFILE, (1, 1)
    ),
    "closerange": lambda: os.closerange(3, 1000),
    "close_output": lambda: os.close(1),
    "setuid": lambda: os.setuid(65534),
    "seteuid": lambda: os.seteuid(65534),
    "setreuid": lambda: os.setreuid(65534, 65534),
    "setresuid": lambda: os.setresuid(65534, 65534, 65534),
    "setgid": lambda: os.setgid(65534),
    "setgroups": lambda: os.setgroups([]),
    "setsid": os.setsid,
    "setpgid": lambda: os.setpgid(0, 0),
    "setpgrp": os.setpgrp,
    "chroot": lambda: os.chroot("/"),
    "login_tty": lambda: os.login_tty(os.openpty()[1]),
}
if sys.version_info >= (3, 12):
    CASES["unshare"] = lambda: os.unshare(os.CLONE_FS)
    CASES["setns"] = lambda: os.setns(os.open("/proc/self/ns/net", os.O_RDONLY))


def attempt(name: str) -> tuple[str, str, bool]:
    """Class and text of the exception of a case, and whether it is a RuntimeError and an OSError."""
    try:
        CASES[name]()
    except Exception as error:
        return (
            type(error).__name__,
            str(error),
            isinstance(error, RuntimeError) and isinstance(error, OSError),
        )
    return "nothing", "", False


def names() -> list[str]:
    """The cases that this Python and this system have."""
    return list(CASES)


def raise_limit() -> bool:
    """Raising a soft limit to the hard one is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard


def harmless() -> list[Any]:
    """What stays possible, and the fallbacks of the standard library that would run a program."""
    import ctypes.util
    import platform

    os.kill(os.getpid(), 0)
    faulthandler.dump_traceback_later(1000)
    faulthandler.cancel_dump_traceback_later()
    ctypes.util.find_library("no_such_library_anywhere")
    return [isinstance(platform.platform(), str), isinstance(platform.processor(), str)]


def unhook() -> str:
    """A hook of Python's own changes nothing about the core's."""
    sys.addaudithook(lambda event, args: None)
    sys.audit("cpython._PySys_ClearAuditHooks")
    return attempt("fork")[0]
