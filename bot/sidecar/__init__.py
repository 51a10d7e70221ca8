"""The sidecar: a small proxy in front of a remote signer. It records what is signed, and can deny per key.

It runs beside the signer, away from the bot, so nothing of the bot is imported here but its errors. Two ports: the
validator client speaks Web3Signer's API to `gate`, and the bot speaks docs/node-api.yaml to `control`. What went
through is in `record`, what is denied is in `denials`, and both outlive the process.
"""
