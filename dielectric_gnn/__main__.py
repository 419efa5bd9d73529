"""`python -m dielectric_gnn` is the command `dielectric-gnn`."""

from dielectric_gnn.cli import main

if __name__ == "__main__":
    main()
