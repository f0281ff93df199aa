"""The tables of each experiment's pages, a module an experiment."""
