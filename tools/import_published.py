"""`dielectric-gnn import-published` as a script."""

import sys

from dielectric_gnn.__main__ import main

if __name__ == "__main__":
    main(["import-published", *sys.argv[1:]])
