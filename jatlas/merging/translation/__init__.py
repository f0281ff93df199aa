"""Translations: one chart's rows in another chart's space."""
