"""What is known of English and German: words and their relations, numbers, how a text is read.

The cache's gate and the detection of contradictions read texts in the same way, so the reading is a
room below both. Words are data below `words`; docs/caches.md shows how one is added. Not here: what
follows from a difference between two texts, which each of the two decides for itself.
"""
