"""`python -m kurir.session_node`: how a supervisor starts its shards."""

from kurir.session_node.app import command

if __name__ == "__main__":
    command()
