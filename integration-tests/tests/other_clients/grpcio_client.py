"""One call by an ordinary grpcio client, as JSON: python3 grpcio_client.py HOST:PORT METHOD [CA [CERT KEY]].

Without a CA it speaks plaintext; without a certificate it shows none.
"""

import json
import sys

import grpc


def read(path):
    with open(path, "rb") as file:
        return file.read()


def channel(target, files):
    if not files:
        return grpc.insecure_channel(target)
    chain, key = (read(files[1]), read(files[2])) if len(files) == 3 else (None, None)
    credentials = grpc.ssl_channel_credentials(read(files[0]), private_key=key, certificate_chain=chain)
    return grpc.secure_channel(target, credentials)


def main(target, method, *files):
    with channel(target, files) as opened:
        try:
            opened.unary_unary(method)(b"", timeout=10)
            told = {"code": "OK", "details": ""}
        except grpc.RpcError as error:
            told = {"code": error.code().name, "details": error.details()}
    print(json.dumps(told))


main(*sys.argv[1:])
