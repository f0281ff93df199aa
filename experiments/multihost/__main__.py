"""`python -m experiments.multihost`."""

from experiments.multihost.launcher import main

if __name__ == "__main__":
    main()
