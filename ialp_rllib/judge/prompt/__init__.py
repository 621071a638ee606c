"""The judge's prompt, its labels, and corrections of letter bias. Imports neither Ray nor torch."""
