"""The vault: contents of evidence, the log's keys, packs that strangers verify, and who else holds the log.

    folder, bucket      contents named by their hash, written once: in a directory, or in S3 with Object Lock
    keys, signer        the key that signs checkpoints, and its successor
    pack, export        the format of an evidence pack, and how one is written; archive: as one file
    verify, live        what is wrong with a pack, and with the running vault
    anchors             signed checkpoints handed to others

What never lives here: decisions and the database. The format of leaves, trees and checkpoints is pure and lives in
`bot.domain`; the store hands journal rows over as `JournalRecord`.
"""
