"""Zip archives, read without trust and written as a stream.

In:    a ByteSource (a file, or an object in a bucket) that claims to be a zip; or names and bytes to write.
Out:   an Archive of checked entries, whose bytes are proven by their CRC-32; or the bytes of a zip in large chunks.
Never: extracts to disk, opens anything by a member's name, trusts a declared size, or reads a zip in two ways.
Spec:  PKWARE APPNOTE 6.3.10; codes `zip.*` of the Open Images reference, section 6; `reader.py` lists what is refused.
Start: `open_archive` in `reader.py`; `files.py` for zips in and beside a zip; `ArchiveWriter` in `writer.py`.
"""

from app.archive.ahead import read_ahead
from app.archive.files import FileRules, SentFile, open_files
from app.archive.limits import ArchiveLimits
from app.archive.reader import Archive, Entry, Members, open_archive
from app.archive.sources import ByteSource, BytesSource, FileSource, JoinedSource, PartSource
from app.archive.writer import ArchiveWriter, DeflatedMember

__all__ = [
    "Archive",
    "ArchiveLimits",
    "ArchiveWriter",
    "ByteSource",
    "BytesSource",
    "DeflatedMember",
    "Entry",
    "FileRules",
    "FileSource",
    "JoinedSource",
    "Members",
    "PartSource",
    "SentFile",
    "open_archive",
    "open_files",
    "read_ahead",
]
