"""How does a probe speak SIP? RFC 3261's client, with digest, record routes and SDP, over UDP and TCP.

`message`, `uri`, `digest`, `sdp`, `transaction` and `dialog` are pure; `channel` has the socket, `user_agent` waits.
"""
