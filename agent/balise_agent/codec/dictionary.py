"""What do both ends know of every body beforehand?

A preset dictionary of zlib (RFC 1950, section 2.3): texts as they stand in nearly every body, the most frequent last. A
body of a minute, four probes' records, takes 200 bytes with it and 460 without, on the line, on the card and in the
journal. A stream that needs it says so by its Adler-32, `DICTIONARY_ID`; one that needs none is read as well.

Rule 1: frozen. What was written with it can be read with it alone, and `docs/contract.md` prints it for other readers.
"""

from __future__ import annotations

import zlib

DICTIONARY = (
    b'{"m":"gap","at":0,"f":{"stream":"","from_seq":,"to_seq":,"messages":,"why":"size_bound"}},'
    b'{"m":"agent_event","at":0,"k":"probe_broken","f":{"detail":"'
    b'{"m":"agent_event","at":0,"k":"config_applied","f":{"detail":"","version":"'
    b'{"m":"agent_event","at":0,"k":"started","f":{"version":"0.1.0"}},'
    b'"k":"clock_set"}]}"k":"clock_stepped","f":{"step_ms":"failed":"no_answer","failed":"timeout","failed":"resolve",'
    b'"failed":"refused","failed":"unreachable","skipped":"still_running","skipped":"line_busy",'
    b'{"m":"web","at":-,"k":"target","f":{"af":6,"dns_ms":1,"connect_ms":9.1,"tls_ms":1,"ttfb_ms":1,"status":200,'
    b'"bytes":1024,"total_ms":3}},'
    b'{"m":"dns","at":-,"k":"box","f":{"af":4,"query_ms":1,"rcode":0,"tc":false,"answers":1,"name_kind":"cached"}},'
    b'{"m":"dns","at":-,"k":"box.unique","f":{"af":4,"query_ms":9,"rcode":3,"tc":false,"answers":0,'
    b'"name_kind":"unique"}},'
    b'{"m":"reach","at":-64,"k":"any1","f":{"method":"icmp","af":6,"window_s":60.001,"sent":6,"lost":1,"burst_max":1,'
    b'"min_us":1,"p50_us":1,"p95_us":1,"p99_us":1,"jitter_us":1,"kernel_stamped":6}},'
    b'{"m":"host","at":0,"f":{"cpu_pct":1.9,"agent_cpu_pct":0.2,"mem_available_kb":5,"mem_total_kb":948304,'
    b'"agent_rss_kb":33,"temp_c":48.5,"under_voltage":false,"throttled":false,"uptime_s":5,"rows_waiting":0,'
    b'"agent_uptime_s":4,"clock_ok":true,"disk_free_kb":2}},'
    b'{"m":"reach","at":-8,"k":"op","f":{"method":"stamp","af":4,"window_s":60.0,"sent":40,"lost":0,"burst_max":0,'
    b'"fwd_lost":0,"rev_lost":0,"min_us":8,"p50_us":9,"p95_us":1,"p99_us":2,"jitter_us":3,"kernel_stamped":40}},'
    b'{"m":"reach","at":-8,"k":"gw","f":{"method":"icmp","af":4,"window_s":60.0,"sent":6,"lost":0,"burst_max":0,'
    b'"min_us":4,"p50_us":5,"p95_us":6,"p99_us":7,"jitter_us":1,"kernel_stamped":6}},'
    b'"kernel_stamped":6}}]}{"nonce":"","bt":,"records":[{"m":"reach","at":0,"k":"'
)

DICTIONARY_ID = zlib.adler32(DICTIONARY)
