"""The channel between us and PostgreSQL: does a value arrive as it was sent, and on our terms?"""
