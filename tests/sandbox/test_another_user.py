"""Bubblewrap is refused to root; where tests run as root, all of them are run once more by somebody else."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

BECOME_NOBODY = """
hidden=$(mktemp -d) && mount --bind /root "$hidden" && mount -t tmpfs -o mode=0755 none /root || exit 77
for folder in "$@"; do
    case "$folder" in /root/*)
        mkdir -p "$folder" && mount --bind "$hidden/${folder#/root/}" "$folder" || exit 77 ;;
    esac
done
umount "$hidden" && rmdir "$hidden"
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
    "$PYTHON" -m pytest -q -p no:cacheprovider -k bwrap tests/sandbox
"""
"""In mounts of its own: a user cannot look into root's home, where Python may be; only Python is shown there."""

CANNOT = 77


@pytest.mark.skipif(os.geteuid() != 0, reason="bubblewrap is tried by the other tests already")
@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
@pytest.mark.timeout(200)
async def test_everything_holds_under_bubblewrap_for_another_user(tmp_path: Path) -> None:
    needed = [str(Path(sys.base_prefix).resolve()), sys.prefix, str(Path(__file__).parents[2])]
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", BECOME_NOBODY, "sh", *needed),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "HOME": "/tmp"},
    )
    output, _ = await process.communicate()
    told = output.decode(errors="replace")
    if process.returncode == CANNOT or told.startswith("unshare:"):
        pytest.skip("this machine lets nobody become another user")
    assert process.returncode == 0, told[-5000:]
    assert " passed" in told
    assert "skipped" not in told.splitlines()[-1], told[-5000:]
