"""Merged spaces without an oracle: how well do they hold up?"""
