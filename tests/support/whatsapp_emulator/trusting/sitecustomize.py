"""Python imports this at its start when this folder is on PYTHONPATH; child processes inherit that.

It replaces the trust root of the neonize library where the environment asks for it; see trust_root.py.
"""

from tests.support.whatsapp_emulator import trust_root

trust_root.install()
