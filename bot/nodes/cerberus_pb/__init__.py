"""Messages of Cerberus' gRPC interface: two .proto files, and what protoc made of them.

The .proto files here were written for Stopsign and describe, name by name and number by number, what Layr-Labs/cerberus-api
publishes (proto/admin.proto and proto/signer.proto, commit 128070a of 2025-02-20; its licence: Business Source License
1.1, MIT since its change date 2026-10-15). After a change run, at the top of the repository:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. bot/nodes/cerberus_pb/*.proto
"""
