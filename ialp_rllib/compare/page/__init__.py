"""The HTML page of a comparison, its figures, and its tables as Markdown and LaTeX."""
