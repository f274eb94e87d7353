"""The system calls that untrusted code may not make, as a seccomp filter.

The filter takes away what namespaces and limits leave open: new user namespaces and mounts, memory
that no limit counts (memfd, System V), sockets that know no network namespace (vsock), looking into
other processes, and kernel interfaces that are large and rarely needed. A call that is taken away
fails with EPERM; clone3 fails with ENOSYS, whereupon the C library falls back to clone, whose flags
a filter can read. Everything else is allowed.

The program is classic BPF over `struct seccomp_data` (nr, arch, instruction pointer, six
arguments); see seccomp(2). Numbers are the kernel's own and never change.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

_CLONE_NEW: Final = 0x7E020000
"""CLONE_NEWCGROUP, NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET in the flags of clone."""
_FAMILIES: Final = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK: what a network namespace isolates."""

# (x86-64, AArch64); None where the architecture has no such call.
_DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265),
    "modify_ldt": (154, None),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_SOCKET: Final = (41, 198)
_PRLIMIT: Final = (302, 261)
_ARCHES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_DENY: Final = 0x00050000 | errno.EPERM
_ABSENT: Final = 0x00050000 | errno.ENOSYS
_NR, _ARCH, _ARG0 = 0, 4, 16


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def build_filter(machine: str) -> bytes | None:
    """Return the filter for `machine`, as `os.uname` names it, or None if there is none."""
    if machine not in _ARCHES:
        return None
    column, arch = _ARCHES[machine]
    ops = [
        _op(_LOAD, _ARCH),
        _op(_EQUAL, arch, 1),
        _op(_RETURN, _KILL),  # 32-bit calls, whose numbers mean something else
        _op(_LOAD, _NR),
        _op(_AT_LEAST, 0x40000000, 0, 1),
        _op(_RETURN, _DENY),  # the x32 calls of x86-64
        _op(_EQUAL, _CLONE3[column], 0, 1),
        _op(_RETURN, _ABSENT),
    ]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            ops += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _DENY)]
    ops += [
        _op(_EQUAL, _CLONE[column], 0, 4),
        _op(_LOAD, _ARG0),
        _op(_ANY_BIT, _CLONE_NEW, 0, 1),
        _op(_RETURN, _DENY),
        _op(_RETURN, _ALLOW),
        # The limits of another process, the supervisor's for instance.
        _op(_EQUAL, _PRLIMIT[column], 0, 4),
        _op(_LOAD, _ARG0),
        _op(_EQUAL, 0, 1),
        _op(_RETURN, _DENY),
        _op(_RETURN, _ALLOW),
        _op(_EQUAL, _SOCKET[column], 1),
        _op(_RETURN, _ALLOW),
        _op(_LOAD, _ARG0),
        *(_op(_EQUAL, family, len(_FAMILIES) - at) for at, family in enumerate(_FAMILIES)),
        _op(_RETURN, _DENY),
        _op(_RETURN, _ALLOW),
    ]
    return b"".join(ops)
