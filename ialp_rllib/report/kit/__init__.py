"""Parts shared by the HTML pages: template, style, number formats, method names, figures, glossary."""
