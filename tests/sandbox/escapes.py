"""How code tries to get out of the sandbox, and what stops it."""

from __future__ import annotations

from typing import Final

from foresight_services.sandbox.port import TestStatus
from tests.sandbox.attempts import FILTER, NOTHING, Attempt, escape

ESCAPES: Final = (
    escape(
        "TCP to a server on the machine",
        "socket.create_connection(('127.0.0.1', @PORT@), timeout=5)",
        "ConnectionRefusedError",
        "network namespace",
    ),
    escape(
        "TCP to the world",
        "socket.create_connection(('1.1.1.1', 53), timeout=5)",
        r"OSError: \[Errno 101\]",
        "network namespace",
    ),
    escape(
        "looking up a name",
        "socket.getaddrinfo('example.org', 80)",
        "gaierror",
        "network namespace",
    ),
    escape(
        "abstract socket of the machine",
        "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0@ABSTRACT@')",
        "ConnectionRefusedError",
        "network namespace",
    ),
    escape(
        "socket to the hypervisor",
        "socket.socket(40, socket.SOCK_STREAM)",
        "PermissionError",
        FILTER,
    ),
    escape(
        "secrets of the service",
        "environ = open('/proc/1/environ').read() if os.access('/proc/1/environ', 4) else ''\n"
        "if '@SECRET@' not in environ + str(os.environ): raise KeyError('no secret')",
        "KeyError: 'no secret'",
        "empty environment",
    ),
    escape(
        "a file of the service",
        "open('@FILE@').read()",
        "FileNotFoundError|PermissionError",
        "mount namespace",
    ),
    escape(
        "the home folder",
        "found = set(os.listdir('@HOME@')) - set('@VISIBLE@'.split('/'))\n"
        "if not found: raise FileNotFoundError('@HOME@')",
        "FileNotFoundError|PermissionError",
        "mount namespace",
    ),
    escape("/etc/shadow", "open('/etc/shadow')", "FileNotFoundError", "mount namespace"),
    escape("writing to /", "open('/x', 'w')", r"Errno (13|30)", "read-only file system"),
    escape("writing to /usr", "open('/usr/x', 'w')", r"Errno (13|30)", "read-only file system"),
    escape("writing to /dev", "open('/dev/x', 'w')", r"Errno (13|30)", "read-only file system"),
    escape(
        "changing the standard library",
        "open(os.__file__, 'a')",
        r"Errno (13|30)",
        "read-only file system",
    ),
    escape(
        "symbolic link out of the scratch folder",
        "os.symlink('@FILE@', 'link')\nopen('link').read()",
        "FileNotFoundError|PermissionError",
        "mount namespace",
    ),
    escape(
        "hard link to a system file",
        "os.link(os.__file__, 'link')",
        r"Errno (1|18)\]",
        "scratch folder is a file system of its own",
    ),
    escape(
        "making a device",
        "os.mknod('disk', 0o60600, os.makedev(8, 0))",
        "PermissionError",
        FILTER,
    ),
    escape(
        "mounting",
        "call('mount', b'none', b'/scratch', b'tmpfs', 0, None)",
        "PermissionError",
        FILTER,
    ),
    escape("a user namespace of its own", "call('unshare', 0x10000000)", "PermissionError", FILTER),
    escape("chroot", "os.chroot('/scratch')", "PermissionError", FILTER),
    escape("becoming root", "os.setuid(0)", r"Errno (1|22)\]", "no capabilities"),
    escape(
        "setuid programs",
        "os.chmod(os.path.realpath(sys.executable), 0o4755)",
        "Errno (1|30)",
        "read-only file system, no new privileges",
    ),
    escape("killing the service", "os.kill(@PID@, 9)", "ProcessLookupError", "process namespace"),
    escape(
        "killing its supervisor",
        "os.kill(1, 9)\nos.kill(1, 2)\nraise RuntimeError('it lives')",
        "PermissionError|it lives",
        "it is process 1 of the namespace",
    ),
    Attempt(
        "killing every process",
        "import os, sys\nos.kill(-1, 9)\n",
        TestStatus.CODE_RAISED,
        "exception in the code",
        "ProcessLookupError|PermissionError",
        "process namespace: there is no other",
    ),
    escape("ptrace", "call('ptrace', 16, 1, None, None)", "PermissionError", FILTER),
    escape(
        "memory of its supervisor",
        "open('/proc/1/mem', 'rb')",
        "PermissionError",
        "it is not dumpable",
        TestStatus.TAMPERED,
        "changed: open of memory",
    ),
    escape("going before others", "os.nice(-5)", "PermissionError", "no capabilities"),
    escape("a kernel program", "call('syscall', @BPF@, 0, None, 0)", "PermissionError", FILTER),
    Attempt(
        "outliving the run as a daemon",
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '@MARK@'])\n"
        "    os._exit(0)\n" + NOTHING,
        TestStatus.FAILED,
        "tests",
        "",
        "process namespace dies with its first process",
    ),
)
