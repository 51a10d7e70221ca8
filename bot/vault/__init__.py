"""The vault: evidence blobs, the checkpoint key, evidence folders, and their verification.

    folder   blobs in a directory, named by their content, written once      signer   the checkpoint key
    pack     the format of an evidence folder                                export   writes one
    verify   finds what is wrong with one                                    live     the same for the running vault

What never lives here: decisions, the database, the network. The format of leaves, trees and checkpoints is pure and
lives in `bot.domain`; the store hands journal rows over as `JournalRecord`.
"""
