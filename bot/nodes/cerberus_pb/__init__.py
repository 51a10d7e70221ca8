"""Messages of Cerberus' gRPC interface: two .proto files, and what protoc made of them.

The .proto files were written for Stopsign; name by name and number by number they describe the interface that
Layr-Labs/cerberus-api publishes (proto/admin.proto and proto/signer.proto, commit 128070a of 2025-02-20; the licence of
that text is the Business Source License 1.1, and MIT from its change date, 2026-10-15). After a change run, at the top
of the repository:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. bot/nodes/cerberus_pb/*.proto
"""
