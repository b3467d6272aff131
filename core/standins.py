"""What stands where a file's content should be: pointers of git-lfs and git-annex, web pages."""


def stand_in(head: bytes) -> tuple[str, str] | None:
    """What those first bytes of a file are instead of its content, and what to do; else None."""
    start = head.lstrip().lower()
    if not head:
        return "an empty file", "copy or fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return (
            "a pointer of git-lfs, not the file itself",
            "`git lfs pull` in its folder fetches it",
        )
    if b"/annex/objects/" in start[:200]:
        return "a pointer of git-annex, not the file itself", "`git annex get` fetches it"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "a web page, not the file itself",
            "fetch the file's own address, such as its raw link",
        )
    return None
