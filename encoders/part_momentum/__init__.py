"""The part-level bidirectional momentum text-motion encoder, and the whole-body baseline it is held against."""
