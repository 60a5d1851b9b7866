"""COPY in binary, both ways, and the Arrow schemas that rows travel in.

Nothing here opens a connection or decides what is loaded.
"""
