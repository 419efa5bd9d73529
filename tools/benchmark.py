"""`dielectric-gnn benchmark` as a script."""

import sys

from dielectric_gnn.__main__ import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
