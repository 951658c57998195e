"""A town whose faults are known: what would its probes say, and what was true?

Homes, buildings, PONs and all that they share (`topology`), their tenants' days (`calendar`), what breaks when
(`faults`, `script`), what that does to each home (`physics`, `timeline`), what a probe there would measure
(`readings`, `stream`), what was true and could be known (`truth`), and how right somebody was about it (`score`).

Rule 1: the same seed gives the same bytes: every draw comes from a generator that the seed and a name begin.
Rule 2: nothing here knows how a judge judges. No threshold and no rule is shared; `test_layering` refuses an import.
"""
