"""The wire protocol between coordinator and worker, without I/O.

`messages` says what can be said, `codec` and `framing` turn it into bytes, `session` says who may say what and when,
`credit` keeps count of what the receiver can hold. No clock, socket or task in here.
"""

PROTOCOL_VERSION = 1
"""The newest protocol version this code speaks."""
PROTOCOL_OLDEST = 1
"""The oldest protocol version this code still speaks."""
ALPN = "gogrid/1"
"""The TLS application protocol both sides must name."""
