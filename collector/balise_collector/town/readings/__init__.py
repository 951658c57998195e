"""What would a probe measure in such a condition? One file a part of the catalogue.

Each gives `Said`: a record without its date, which is ``before_ms`` before the end of the probe's minute.
"""
