"""Files that mark a folder: their presence says what the folder is."""

#: Marks a folder of pinned copies, which are not sources.
PINS_MARKER = ".memos-assets-pins"
#: Marks the archive of retired files; its subfolders hold no sources either.
ARCHIVE_MARKER = ".memos-assets-archive"
#: Marks a demo folder, which ``write_demo`` may replace.
DEMO_MANIFEST = "demo_manifest.json"
