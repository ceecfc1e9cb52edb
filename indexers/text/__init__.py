"""Text: passages of books, articles and web pages."""
