"""Write a demo memOS folder: memOS's own SQLite layouts, its kinds of rows and its known defects.

Everything a reader of memOS's files must survive is in it at a count the manifest states, so a
migration of the demo can be proven without one row of anybody's data. The folder is a function of
scale, seed and factor: no clock, no host and no network go into it. Reading is not done here.
"""

from memos_assets.demo.folder import write_demo
from memos_assets.demo.manifest import (
    DemoManifest,
    FileManifest,
    TableManifest,
    read_manifest,
)
from memos_assets.demo.scales import Scale

__all__ = [
    "DemoManifest",
    "FileManifest",
    "Scale",
    "TableManifest",
    "read_manifest",
    "write_demo",
]
