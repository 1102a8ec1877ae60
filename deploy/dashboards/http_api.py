"""The dashboard of the HTTP API: do clients get answers, and do watchers see events in time."""

from lockstitch.deploy.dashboards.grafana import Dashboard, Row, heatmap, lines, quantile, stat, table

_REQUESTS = "lockstitch_http_requests_total{<api>}"
_ERRORS = 'lockstitch_http_requests_total{<api>, status=~"5.."}'
_SECONDS = "lockstitch_http_request_duration_seconds_bucket{<api>}"
_STREAM_LAG = "lockstitch_stream_lag_seconds_bucket{<here>}"

_FIRST = Row(
    "Do clients get answers?",
    (
        stat(
            "Requests",
            "Per second, over all servers.",
            "sum(rate(lockstitch_http_requests_total{<api>}[5m]))",
            "reqps",
        ),
        stat(
            "Server errors",
            "The share of requests of the last 5 minutes that were answered with 5xx. `request_failed` in the "
            "servers' log says which route and why.",
            "max(namespace:lockstitch_http_errors:ratio5m{<here>})",
            "percentunit",
            odd_from=0.001,
            bad_from=0.05,
        ),
        stat(
            "Time to the first byte (95 %)",
            "95 % of the requests of the last 5 minutes were answered within this time.",
            "max(namespace:lockstitch_http_request_duration_seconds:p95_5m{<here>})",
            "s",
            odd_from=0.5,
            bad_from=2,
        ),
        stat(
            "Open streams",
            "Event streams that clients read now. LOCKSTITCH_MAX_STREAMS limits them for each server.",
            "sum(lockstitch_open_streams{<here>})",
        ),
        stat(
            "Stream lag (95 %)",
            "95 % of the events of the last 5 minutes reached their watchers within this time after they were "
            "committed.",
            "max(namespace:lockstitch_stream_lag_seconds:p95_5m{<here>})",
            "s",
            odd_from=0.5,
            bad_from=2,
        ),
        stat(
            "Commands waiting",
            "What was accepted and not yet told to Temporal. Nothing is lost; it waits for Temporal.",
            "sum(max by (namespace) (lockstitch_waiting_commands{<here>}))",
            odd_from=1,
            bad_from=10,
        ),
    ),
)
_ANSWERS = Row(
    "Requests",
    (
        lines(
            "By status",
            "Requests per second. 401: keys; 404 and 400: clients; 429: limits of a key; 503: the store or Temporal "
            "is out of reach, or there are too many streams.",
            [(f"sum by (status) (rate({_REQUESTS}[$__rate_interval]))", "HTTP {{status}}")],
            "reqps",
            stacked=True,
        ),
        lines(
            "By operation",
            "The ten that are asked for most, per second.",
            [(f"topk(10, sum by (method, route) (rate({_REQUESTS}[$__rate_interval])))", "{{method}} {{route}}")],
            "reqps",
            stacked=True,
        ),
        lines(
            "Server errors, by operation",
            "Requests per second that were answered with 5xx.",
            [(f"sum by (method, route) (rate({_ERRORS}[$__rate_interval]))", "{{method}} {{route}}")],
            "reqps",
        ),
        lines(
            "Time to the first byte",
            "Over all operations. It includes the store and, for what starts or answers a run, Temporal.",
            [
                (quantile(0.5, _SECONDS), "half of them"),
                (quantile(0.95, _SECONDS), "95 %"),
                (quantile(0.99, _SECONDS), "99 %"),
            ],
            "s",
        ),
        heatmap("Times to the first byte", "How they are spread.", _SECONDS),
        lines(
            "Refused",
            "Requests per second that were refused for want of rights or room: 401, 403, 429 and 503.",
            [
                (
                    'sum by (status) (rate(lockstitch_http_requests_total{<api>, status=~"401|403|429|503"}'
                    "[$__rate_interval]))",
                    "HTTP {{status}}",
                )
            ],
            "reqps",
        ),
        table(
            "Operations in the last hour",
            "How often each was asked for, how many answers were 5xx, and how long 95 % took.",
            [
                (f"sort_desc(sum by (method, route) (increase({_REQUESTS}[1h])))", "requests"),
                (
                    f"(sum by (method, route) (increase({_ERRORS}[1h])) "
                    f"or 0 * sum by (method, route) (increase({_REQUESTS}[1h]))) "
                    f"/ sum by (method, route) (increase({_REQUESTS}[1h]))",
                    "5xx share",
                ),
                (f"histogram_quantile(0.95, sum by (le, method, route) (rate({_SECONDS}[1h])))", "95 % within (s)"),
            ],
            width=24,
        ),
    ),
)
_STREAMS = Row(
    "Streams and commands",
    (
        lines(
            "Open streams, by server",
            "A server at its limit answers 503 to one more.",
            [("sum by (instance) (lockstitch_open_streams{<here>})", "{{instance}}")],
            "short",
            stacked=True,
        ),
        lines(
            "Stream lag",
            "From an event's commit to its being handed to a watcher who was already connected. High on one server: "
            "it has too many streams; on all: the database.",
            [
                (quantile(0.5, _STREAM_LAG), "half of them"),
                (quantile(0.95, _STREAM_LAG), "95 %"),
                (quantile(0.99, _STREAM_LAG), "99 %"),
            ],
            "s",
            bad_from=2,
        ),
        lines(
            "Age of the oldest command",
            "Since when something that was accepted waits to be told to Temporal. A line that climbs: Temporal is out "
            "of reach.",
            [("max(lockstitch_oldest_command_age_seconds{<here>})", "oldest command")],
            "s",
            bad_from=30,
        ),
    ),
)

HTTP_API = Dashboard(
    "http",
    "HTTP API",
    "Do clients get answers, and do watchers see events in time?",
    (_FIRST, _ANSWERS, _STREAMS),
)
