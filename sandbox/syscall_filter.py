"""A seccomp program that refuses system calls for which analysed data needs none, and kernels have had holes.

It hides much of the machine's kernel from code, whatever else confines it. Sockets with names are refused with them:
sandlock allows those whose path looks as if it were the session's own, though it leads to the host's ``/tmp``.
"""

import errno
import platform
import struct
import sys

from lockstitch.errors import SandboxUnavailable

_REFUSED = """
    acct 163 89, add_key 248 217, bpf 321 280, chroot 161 51, clock_adjtime 305 266, clock_settime 227 112,
    delete_module 176 106, fanotify_init 300 262, finit_module 313 273, fork 57 -, fsconfig 431 431, fsmount 432 432,
    fsopen 430 430, fspick 433 433, init_module 175 105, io_uring_enter 426 426, io_uring_register 427 427,
    io_uring_setup 425 425, ioperm 173 -, iopl 172 -, kcmp 312 272, kexec_file_load 320 294, kexec_load 246 104,
    keyctl 250 219, lookup_dcookie 212 18, mbind 237 235, memfd_create 319 279, memfd_secret 447 447,
    migrate_pages 256 238, mknod 133 -, mknodat 259 33, mount 165 40, mount_setattr 442 442, move_mount 429 429,
    move_pages 279 239, mq_open 240 180, msgget 68 186, name_to_handle_at 303 264, open_by_handle_at 304 265,
    open_tree 428 428, perf_event_open 298 241, personality 135 92, pidfd_getfd 438 438, pivot_root 155 41,
    process_madvise 440 440, process_vm_readv 310 270, process_vm_writev 311 271, ptrace 101 117, quotactl 179 60,
    quotactl_fd 443 443, reboot 169 142, request_key 249 218, semget 64 190, set_mempolicy 238 237,
    setdomainname 171 162, sethostname 170 161, setns 308 268, settimeofday 164 170, shmget 29 194, swapoff 168 225,
    swapon 167 224, sysfs 139 -, syslog 103 116, umount2 166 39, unshare 272 97, uselib 134 -, userfaultfd 323 282,
    ustat 136 -, vhangup 153 58
"""
"""Names, and their numbers on x86_64 and aarch64, which lacks some of the old ones.

From Linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

_AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 1, "aarch64": 2}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080
_FAMILIES = (2, 10)  # those of the Internet, which are refused where they lead to, and programs expect to be there
_KIND = 0xF
_DATAGRAM = 2  # a pair of these can be turned to other addresses

_LOAD, _AND, _EQUALS, _AT_LEAST, _ANY_OF, _ANSWER = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(error: int) -> bytes:
    return _step(_ANSWER, _ERROR | error)


def syscall_filter(sandbox: str) -> bytes:
    """Return the program, in the instructions of the kernel.

    Raises `SandboxUnavailable`, in the name of the sandbox, for a processor that it is not written for.
    """
    machine = platform.machine()
    if machine not in _COLUMN or sys.byteorder != "little":
        raise SandboxUnavailable(
            sandbox, f"there is no system call filter for {machine} processors", "Run the worker on x86_64 or aarch64."
        )
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_EQUALS, _AUDIT_ARCHITECTURES[machine], yes=1),
        _step(_ANSWER, _KILL),
        _step(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        steps += [_step(_AT_LEAST, _X32, no=1), _refuse(errno.ENOSYS)]
    for number in _refused_numbers(machine):
        steps += [_step(_EQUALS, number, no=1), _refuse(errno.EPERM)]
    # Its flags are in memory, where no filter looks; libraries fall back to clone.
    steps += [_step(_EQUALS, _CLONE3, no=1), _refuse(errno.ENOSYS)]
    steps += [
        _step(_EQUALS, _CLONE[machine], no=4),
        _step(_LOAD, _ARGUMENT_AT),
        _step(_ANY_OF, _NEW_NAMESPACES, no=1),
        _refuse(errno.EPERM),
        _step(_ANSWER, _ALLOW),
        _step(_EQUALS, _SOCKETPAIR[machine], no=5),
        _step(_LOAD, _SECOND_ARGUMENT_AT),
        _step(_AND, _KIND),
        _step(_EQUALS, _DATAGRAM, no=1),
        _refuse(errno.EPERM),
        _step(_ANSWER, _ALLOW),
        _step(_EQUALS, _SOCKET[machine], no=len(_FAMILIES) + 2),
        _step(_LOAD, _ARGUMENT_AT),
        *(_step(_EQUALS, family, yes=len(_FAMILIES) - place) for place, family in enumerate(_FAMILIES)),
        _refuse(errno.EAFNOSUPPORT),
        _step(_ANSWER, _ALLOW),
    ]
    return b"".join(steps)


def _refused_numbers(machine: str) -> list[int]:
    numbers = [entry.split()[_COLUMN[machine]] for entry in _REFUSED.split(",")]
    return [int(number) for number in numbers if number != "-"]
