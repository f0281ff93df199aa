"""Atlases in folders of Parquet parts."""
