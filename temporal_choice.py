"""The Temporal server that the settings choose."""

from lockstitch.config import Config
from lockstitch.starter.payloads import PayloadSettings
from lockstitch.starter.temporal_server import TemporalServer

_KIBIBYTE = 1024


def chosen_temporal(config: Config) -> TemporalServer:
    """Return the server of the settings, and how messages travel there; nobody has connected to it yet."""
    return TemporalServer(
        address=config.temporal_address,
        namespace=config.temporal_namespace,
        tls=config.temporal_tls,
        tls_ca=config.temporal_tls_ca,
        tls_cert=config.temporal_tls_cert,
        tls_key=config.temporal_tls_key,
        tls_server_name=config.temporal_tls_server_name,
        api_key=config.temporal_api_key,
        payloads=PayloadSettings(
            keys=config.payload_keys, store=config.payload_store, store_over=config.payload_store_over_kib * _KIBIBYTE
        ),
    )
