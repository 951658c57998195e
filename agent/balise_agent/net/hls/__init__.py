"""Does a channel over HTTP come in time to be played?"""
