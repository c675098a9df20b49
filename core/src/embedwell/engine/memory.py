"""How running out of memory looks to torch."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this failure is a lack of memory, in any of the ways torch reports it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text
    )
