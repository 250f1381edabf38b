"""A file made of pieces, which counts reads."""

from camhd_access.formats.quicktime import Answer, Head, Tail


class CountedFile:
    """A file that counts reads. Pieces are bytes, or a number of zeros that take no memory."""

    def __init__(self, *pieces):
        self.pieces, self.size, self.requests, self.n_bytes = [], 0, [], 0
        for piece in pieces:
            n_bytes = piece if isinstance(piece, int) else len(piece)
            self.pieces.append((self.size, self.size + n_bytes, None if isinstance(piece, int) else piece))
            self.size += n_bytes

    def read(self, request):
        if isinstance(request, Tail):
            start, stop = max(0, self.size - request.n_bytes), self.size
        elif isinstance(request, Head):
            start, stop = 0, min(request.n_bytes, self.size)
        else:
            start, stop = request
            assert 0 <= start < stop <= self.size
        self.requests.append(request)
        self.n_bytes += stop - start
        parts = []
        for first, last, content in self.pieces:
            i, j = max(start, first) - first, min(stop, last) - first
            if i < j:
                parts.append(bytes(j - i) if content is None else content[i:j])
        return Answer(b"".join(parts), start, self.size)
