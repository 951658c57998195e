"""How fast, how small, how exact is Balise, beside which peer? `python -m bench` prints the table."""
