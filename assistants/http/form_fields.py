"""What a browser sends when somebody presses a button."""

from urllib.parse import parse_qs

MOST_FIELDS = 12


def form_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form; raises `ValueError` for what is none.

    Of a field that is there twice, the last counts. Line breaks are as in a program, not as on the wire.
    """
    fields = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS, keep_blank_values=True)
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}
