"""Which program is `python -m balise_collector.headend`?"""

from balise_collector.headend.sending import main

main()
