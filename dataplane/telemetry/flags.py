"""Why a response is what it is, in Envoy's short words (`response_flags`).

In: nothing. Out: small integers for the hot path and their names for labels and logs.
"""

from typing import Final

NONE: Final = 0
NO_HEALTHY: Final = 1
CONNECT_FAILED: Final = 2
OVERFLOW: Final = 3
NO_ROUTE: Final = 4
CONNECTION_ENDED: Final = 5
RESET: Final = 6
TIMEOUT: Final = 7
CLIENT_GONE: Final = 8
STREAM_IDLE: Final = 9
RETRIES_EXCEEDED: Final = 10
BAD_REQUEST: Final = 11
NO_CLUSTER: Final = 12
SHED: Final = 13
LOCAL: Final = 14
DENIED: Final = 15
BAD_RESPONSE: Final = 16
DURATION: Final = 17

NAMES: Final = (
    "-",
    "UH",
    "UF",
    "UO",
    "NR",
    "UC",
    "UR",
    "UT",
    "DC",
    "SI",
    "URX",
    "DPE",
    "NC",
    "OM",
    "LR",
    "UAEX",
    "UPE",
    "DT",
)
