"""`dielectric-gnn fit-laws` as a script."""

import sys

from dielectric_gnn.__main__ import main

if __name__ == "__main__":
    main(["fit-laws", *sys.argv[1:]])
