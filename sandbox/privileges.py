"""Giving up for ever what root may do beyond others; root without it is a user whose files happen to be root's."""

import ctypes
import os

_SET_NO_NEW_PRIVS = 38
_AMBIENT = 47
_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def give_up_capabilities() -> None:
    """Give up every capability of this process and of all that it starts. Raises `OSError`.

    A process that may gain no privileges gets none back by starting a program either, though it be root's
    (Linux: ``cap_bprm_creds_from_file``).
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def succeed(result: int, call: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")

    succeed(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    succeed(libc.prctl(_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT)")
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two halves each
    succeed(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), nothing), "capset")
