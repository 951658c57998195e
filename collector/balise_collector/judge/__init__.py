"""What is believed of each home and service, since when, and which one fault explains it?

Pure: rows and a clock in, facts, outages and incidents out. `docs/judge.md` has the rules as tables.

Rule 1: facts, outages and incidents are the same for any order in which the rows came; only `paged` is not.
Rule 2: silence is unknown; nothing is ok without something fresh that says so.
"""
