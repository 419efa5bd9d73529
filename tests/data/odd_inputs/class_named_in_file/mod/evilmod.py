import sys

sys.stderr.write("OWNED\n")


class Evil:
    pass
