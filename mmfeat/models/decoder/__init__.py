"""Decoders: text generated from fused features.

`description_model.py` joins a fusion and a decoder. The decoder is the transformer of
`transformer.py`, or a frozen language model (`language_model.py`). `decoding.py` chooses the
tokens,
`text_codec.py` turns texts into tokens and back.
"""
