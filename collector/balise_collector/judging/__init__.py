"""How does the judge live behind the journal, and what becomes of what it concludes?

Rule 1: `judge.db` is made again from the journal at will; only what people did with incidents is nowhere else.
"""
