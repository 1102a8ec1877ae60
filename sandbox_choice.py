"""The sandbox that the settings choose, with the limits that they say."""

from lockstitch.config import Config
from lockstitch.sandbox.port import Limits, Sandbox
from lockstitch.sandbox.sandboxes import SandboxName, sandbox_of

_KIBIBYTE = 1024
_MEBIBYTE = 1024 * 1024


def limits_of(config: Config) -> Limits:
    """Return what a session may take."""
    return Limits(
        memory=config.sandbox_memory_mib * _MEBIBYTE,
        processes=config.sandbox_processes,
        cpu=config.sandbox_cpu,
        wall=config.sandbox_wall,
        disk=config.sandbox_disk_mib * _MEBIBYTE,
        output=config.sandbox_output_kib * _KIBIBYTE,
        files=config.sandbox_files,
    )


def chosen_sandbox(config: Config) -> Sandbox:
    """Return the sandbox of the settings; it has not been tried yet."""
    return sandbox_named(config.sandbox, config, warm=config.sandbox_warm_kernels)


def sandbox_named(name: SandboxName, config: Config, warm: int = 0) -> Sandbox:
    """Return the sandbox of this name, with everything else as the settings say."""
    return sandbox_of(name, python=config.sandbox_python, limits=limits_of(config), warm=warm)
