"""The `model.py` files of repository entries, copied there by `convert`; each is Triton's view of one stage."""
