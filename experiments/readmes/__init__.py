"""Tables and figures of the READMEs, made of the published results files."""
